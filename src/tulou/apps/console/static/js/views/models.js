// Models: every precision side by side, measured, with the one that serves marked.

import { h } from "../dom.js";
import { bytes, has, milliseconds, number, percent, t, when } from "../page.js";
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
    model.has_page ? h("p.verdict", h("a", { href: `/api/admin/models/${encodeURIComponent(model.name)}/card`, target: "_blank", rel: "noopener" }, t("models.card"))) : null,
  );
}

function table(precisions) {
  const names = [...new Set(precisions.flatMap((one) => Object.keys(one.metrics)))].filter((name) => !SAID_ALREADY.includes(name));
  const base = precisions.find((one) => one.precision === "fp32") ?? precisions[0];
  const head = h("tr", h("th", t("models.precision")), h("th.num", t("models.size")), h("th.num", t("models.latency")), names.map((name) => h("th.num", has(`metric.${name}`) ? t(`metric.${name}`) : name.replaceAll("_", " "))));
  const row = (one) =>
    h(
      `tr${one.is_served ? ".served" : ""}`,
      h("td", h("strong", one.precision.toUpperCase()), " ", one.is_served ? h("span.chip.moss", t("models.served")) : null),
      h("td.num", bytes(one.size_bytes), times(base.size_bytes, one.size_bytes, one === base, "models.smaller")),
      h("td.num", milliseconds(one.latency_ms_p50), times(base.latency_ms_p50, one.latency_ms_p50, one === base, "models.faster")),
      names.map((name) => h("td.num", shown(name, one.metrics[name]))),
    );
  return h("table", h("thead", head), h("tbody", precisions.map(row)));
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
