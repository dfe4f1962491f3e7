// Models: every precision side by side, measured, with the one that serves marked.

import { h } from "../dom.js";
import { bytes, day, has, milliseconds, number, percent, t, when } from "../page.js";
import { explainPanel } from "./explain.js";
import { empty, panel } from "./parts.js";

const SHARES = ["accuracy", "macro_f1", "token_accuracy", "validation_accuracy"];
const SAID_ALREADY = ["size_ratio", "speed_ratio"];  // beside size and latency

export const modelsView = {
  needs: ["models"],
  isLive: false,
  render: (models) => h("div.grid", models.length ? [explainPanel(), ...models.map(modelPanel)] : panel("", t("models.title"), null, empty("models.none"))),
};

function modelPanel(model) {
  const facts = Object.entries(model.details).filter(([, value]) => ["string", "number"].includes(typeof value));
  return panel(
    "",
    model.name,
    h("span.small.soft", model.registered_at ? when(model.registered_at) : ""),
    h(
      "div.model-facts",
      h("span.chip.earth", has(`task.${model.task}`) ? t(`task.${model.task}`) : model.task),
      h("span.chip", t("models.base", { base: model.base })),
      model.version ? h("span.chip", t("models.version", { version: model.version })) : null,
      facts.map(([key, value]) => h("span.chip", `${key.replaceAll("_", " ")} ${typeof value === "number" ? number(value) : value}`)),
    ),
    h("div.scroll", table(model.precisions)),
    model.verdict ? h("p.verdict", model.verdict) : null,
    model.versions.length > 1 ? versions(model) : null,
    model.has_page ? h("p.verdict", h("a", { href: `/api/admin/models/${encodeURIComponent(model.name)}/card`, target: "_blank", rel: "noopener" }, t("models.card"))) : null,
  );
}

/** What was ever registered, the newest first, and the command that goes back. */
function versions({ name, versions: all }) {
  const head = h("tr", h("th", t("models.version.head")), h("th", t("models.when")), h("th", t("models.precision")), h("th.num", t("models.score")), h("th"));
  const row = (one) =>
    h(
      `tr${one.is_served ? ".served" : ""}`,
      h("td", number(one.version)),
      h("td.soft", day(one.registered_at)),
      h("td", parted(one.precision)),
      h("td.num", percent(one.score, 2)),
      h("td", one.is_served ? h("span.chip.moss", t("models.served")) : one.has_served ? h("span.chip", t("models.has_served")) : null),
    );
  const canGoBack = all.some((one) => one.has_served && !one.is_served);
  return h(
    "div.versions",
    h("h3.small.soft", t("models.versions")),
    h("div.scroll", h("table.precisions", h("thead", head), h("tbody", all.map(row)))),
    h("p.verdict", canGoBack ? [t("models.rollback"), " ", h("code.mono", `tulou models rollback ${name}`)] : [t("models.promote"), " ", h("code.mono", `tulou models promote ${name} VERSION`)]),
  );
}

/** A chain of methods that may be broken behind each plus sign. */
function parted(precision) {
  return precision.split("+").flatMap((part, place) => (place ? ["+", h("wbr"), part] : [part]));
}

function table(precisions) {
  const names = [...new Set(precisions.flatMap((one) => Object.keys(one.metrics)))].filter((name) => !SAID_ALREADY.includes(name));
  const base = precisions.find((one) => one.precision === "fp32") ?? precisions[0];
  const head = h("tr", h("th", t("models.precision")), h("th.num", t("models.size")), h("th.num", t("models.latency")), names.map(metricHead));
  const row = (one) =>
    h(
      `tr${one.is_served ? ".served" : ""}`,
      h("td", h("strong", parted(one.precision.toUpperCase())), " ", one.is_served ? h("span.chip.moss", t("models.served")) : null),
      h("td.num", bytes(one.size_bytes), times(base.size_bytes, one.size_bytes, one === base, "models.smaller")),
      h("td.num", milliseconds(one.latency_ms_p50), times(base.latency_ms_p50, one.latency_ms_p50, one === base, "models.faster")),
      names.map((name) => h("td.num", shown(name, one.metrics[name]))),
    );
  return h("table.precisions", h("thead", head), h("tbody", precisions.map(row)));
}

/** A short name over the column, the whole one where a pointer rests on it. */
function metricHead(name) {
  const whole = has(`metric.${name}`) ? t(`metric.${name}`) : name.replaceAll("_", " ");
  return h("th.num", { title: whole }, has(`metric.${name}.short`) ? t(`metric.${name}.short`) : whole);
}

/** "3.9× smaller" than the baseline, where that is so. */
function times(base, value, isBase, key) {
  if (isBase || !base || !value || base / value < 1.05) return null;
  return h("div.versus", t(key, { n: (base / value).toFixed(1) }));
}

function shown(name, value) {
  if (value === undefined || value === null) return "–";
  return SHARES.includes(name) ? percent(value, 2) : value.toFixed(name === "cosine" ? 4 : 2);
}
