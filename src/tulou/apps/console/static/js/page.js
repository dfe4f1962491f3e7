// What every page has: a language, a theme, and numbers written the way its reader writes them.

import { EN, ZH } from "./words.js";

const saved = localStorage.getItem("tulou.language");
export const language = saved ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
const dictionary = language === "zh" ? ZH : EN;
const locale = language === "zh" ? "zh-CN" : "en-GB";

/** The words for `key`, with {name} replaced; the key itself where nobody translated it. */
export function t(key, values = {}) {
  return (dictionary[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const has = (key) => key in dictionary;

const numbers = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const DASH = "–";

export const number = (value) => (value === null || value === undefined ? DASH : numbers.format(value));
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
export const compact = (value) => (value < 100_000 ? number(value) : short.format(value));

export function money(value) {
  const digits = value && value < 1 ? 4 : 2; // a single request costs less than a cent
  return value.toLocaleString(locale, { minimumFractionDigits: 2, maximumFractionDigits: digits });
}

export const percent = (value, digits = 1) =>
  value === null || value === undefined ? DASH : `${(value * 100).toFixed(value === 1 ? 0 : digits)}%`;

export function milliseconds(value) {
  if (value === null || value === undefined) return DASH;
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10000 ? 0 : 1)} s`;
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} ms`;
}

export function bytes(value) {
  if (!value) return DASH;
  const units = ["B", "KB", "MB", "GB", "TB"];
  const step = Math.min(Math.floor(Math.log10(value) / 3), units.length - 1);
  const scaled = value / 1000 ** step;
  return `${scaled >= 100 || step === 0 ? Math.round(scaled) : scaled.toFixed(1)} ${units[step]}`;
}

export function seconds(value) {
  const whole = Math.round(value);
  if (whole >= 60) return t("time.minutes", { m: Math.floor(whole / 60), s: String(whole % 60).padStart(2, "0") });
  return t("time.seconds", { s: value >= 10 ? whole : value.toFixed(1) });
}

export function when(epoch) {
  const at = new Date(epoch * 1000);
  const isToday = at.toDateString() === new Date().toDateString();
  return (isToday ? clock : date).format(at);
}

export const day = (epoch) => date.format(new Date(epoch * 1000));

/** Error to sentence, for people. */
export function sentence(error) {
  return error.code === "unreachable" ? t("error.unreachable") : error.message || t("error.unknown");
}

export function dress(titleKey) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  if (titleKey) document.title = t(titleKey);
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-placeholder]"))
    element.placeholder = t(element.dataset.tPlaceholder);
  for (const element of document.querySelectorAll("[data-t-label]"))
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of document.querySelectorAll("[data-action=language]")) {
    element.textContent = language === "zh" ? "English" : "中文";
    element.addEventListener("click", () => {
      localStorage.setItem("tulou.language", language === "zh" ? "en" : "zh");
      location.reload();
    });
  }
  for (const element of document.querySelectorAll("[data-action=theme]")) element.addEventListener("click", turnTheme);
}

function turnTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("tulou.theme", root.dataset.theme);
}
