// The writing desk: pick a template, fill in its fields, watch the text arrive, see what it rests on.

import { get, stream } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { dress, language as reader, milliseconds, sentence, t } from "./page.js";
import { frame, mark, name } from "./shell.js";

const ids = ["form", "template", "language", "description", "fields", "write", "sheet"];
const [form, picker, languages, description, fields, button, sheet] = ids.map((id) => document.getElementById(id));
const CHIPS = { generated: "chip.moss", filled: "chip.earth", declined: "chip" };
const SPOKEN = { zh: "中文", en: "English" };

let templates = [];
let work = null; // the AbortController of what is being written

frame();
mark("/content");
dress("content.title");
replace(sheet, h("p.empty", t("content.empty")));
get("/api/admin/overview").then(name, () => null);
picker.addEventListener("change", chooseTemplate);
languages.addEventListener("change", drawFields);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (work) work.abort();
  else write();
});
await load();

async function load() {
  try {
    templates = await get("/api/content/templates");
  } catch (error) {
    replace(sheet, h("p.notice", sentence(error)));
  }
  const names = [...new Set(templates.map((template) => template.name))];
  if (!names.length) replace(description, t("content.none"));
  button.disabled = !names.length;
  replace(picker, names.map((each) => h("option", { value: each }, titleOf(each))));
  chooseTemplate();
}

function titleOf(each) {
  return (templates.find((one) => one.name === each && one.language === reader) ?? templates.find((one) => one.name === each)).title;
}

function chooseTemplate() {
  const spoken = templates.filter((template) => template.name === picker.value).map((template) => template.language);
  const wanted = spoken.includes(languages.value) ? languages.value : spoken.includes(reader) ? reader : spoken[0];
  replace(languages, spoken.map((each) => h("option", { value: each, selected: each === wanted }, SPOKEN[each])));
  drawFields();
}

function drawFields() {
  const template = templates.find((one) => one.name === picker.value && one.language === languages.value);
  if (!template) return;
  const typed = values();
  replace(description, template.description);
  replace(fields, template.fields.map((field) => input(field, typed[field.name] ?? field.default)));
}

function input(field, value) {
  const settings = { name: field.name, placeholder: field.placeholder, required: field.required, maxlength: "500", value };
  const control = field.long ? h("textarea.input", { ...settings, rows: "3" }) : h("input.input", { ...settings, autocomplete: "off" });
  const label = h("span", field.label, field.required ? h("span.faint.small", ` · ${t("content.required")}`) : null);
  return h("label", label, control);
}

function values() {
  return Object.fromEntries([...fields.querySelectorAll("[name]")].map((control) => [control.name, control.value]));
}

async function write() {
  work = new AbortController();
  replace(button, t("content.stop"));
  const text = h("p.text.is-writing", { lang: languages.value === "zh" ? "zh-CN" : "en" });
  replace(sheet, h("p.soft", t("content.writing")));
  const request = { template: picker.value, language: languages.value, values: values() };
  try {
    for await (const { name: event, data } of stream("/api/content/write", request, work.signal)) {
      if (event === "delta") {
        if (!text.isConnected) replace(sheet, text);
        text.append(data.text);
      } else if (event === "written") finish(text, data);
    }
  } catch (error) {
    if (error.name !== "AbortError") replace(sheet, text.textContent ? text : null, h("p.notice", sentence(error)));
  }
  text.classList.remove("is-writing");
  work = null;
  replace(button, t("content.write"));
}

function finish(text, written) {
  text.textContent = written.text;
  const cited = written.sources.filter((source) => source.is_cited);
  replace(
    sheet,
    text,
    h(
      "div.how",
      written.kind === "declined" ? null : h(`span.${CHIPS[written.kind]}`, { title: written.reason }, t(`kind.${written.kind}`)),
      h("span.faint.small", milliseconds(written.latency_ms)),
      h("span.grow"),
      navigator.clipboard ? h("button.quiet", { type: "button", onclick: () => navigator.clipboard.writeText(written.text) }, icon("copy"), t("copy")) : null,
    ),
    cited.length ? h("div.sources", h("span.soft", t("content.sources")), h("ul.sources", cited.map(sourceLine))) : null,
  );
}

function sourceLine(source) {
  return h("li", icon("file"), h("span.cut", source.title || source.uri), h("span.faint.small.cut", source.uri));
}
