// Data: what came in, what was corrected or dropped, by which rule, with examples; and how each stage ran.

import { h, icon } from "../dom.js";
import { bytes, number, seconds, t, when } from "../page.js";
import { flow, total } from "./overview.js";
import { empty, panel, spell, stageTitle } from "./parts.js";

// Media types by what people call such files; any other by its own last word.
const SHORT = {
  "text/markdown": "md", "text/plain": "txt", "text/tab-separated-values": "tsv", "message/rfc822": "eml", "application/x-subrip": "srt",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx", "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx", "audio/mpeg": "mp3", "audio/mp4": "m4a",
};
const short = (kind) => SHORT[kind] ?? kind.split(/[/.]/).at(-1).replace(/^x-/, "");

export const dataView = {
  needs: ["cleaning", "runs"],
  isLive: false,
  render: (cleaning, runs) =>
    h(
      "div.grid",
      cleaning.length ? cleaning.map(sourcePanel) : panel("", t("cleaning.title"), null, empty("cleaning.none")),
      panel("", t("runs.title"), runs.length ? h("span.small.soft", total(runs)) : null, runs.length ? runTable(runs) : empty("runs.none")),
    ),
};

function sourcePanel(source) {
  const kinds = Object.entries(source.by_media_type).sort((one, other) => other[1] - one[1]);
  const most = Math.max(1, ...source.rules.map((rule) => rule.count));
  const rules = [...source.rules].sort((one, other) => one.action.localeCompare(other.action) * -1 || other.count - one.count);
  return panel(
    "",
    null,
    null,
    flow([source]),
    h("div.legend.small", { style: { "margin-top": "4px" } }, kinds.map(([kind, count]) => h("span.faint", { title: kind }, `${short(kind)} ${number(count)}`))),
    rules.length ? h("div.scroll", { style: { "margin-top": "16px" } }, ruleTable(rules, most)) : null,
    source.failed.length ? h("div", { style: { "margin-top": "14px" } }, h("h2", t("cleaning.failed")), failures(source.failed)) : null,
  );
}

function ruleTable(rules, most) {
  const head = h("tr", h("th", t("cleaning.rule")), h("th"), h("th.num", t("cleaning.count")), h("th"), h("th.example", t("cleaning.example")));
  return h("table.rules", h("thead", head), h("tbody", rules.map((rule) => ruleRow(rule, most))));
}

function ruleRow(rule, most) {
  const tone = rule.action === "dropped" ? "brick" : "ochre";
  return h(
    "tr",
    h("td", h("strong", spell(rule.rule)), h("div.faint.small", spell(rule.step))),
    h("td", h(`span.chip.${tone}`, t(`cleaning.${rule.action}`))),
    h("td.num", number(rule.count)),
    h("td", h("div.meter", h(`i.${tone}`, { style: { width: `${(rule.count / most) * 100}%` } }))),
    h("td.example", rule.examples.slice(0, 2).map(example)),
  );
}

function example({ before, after }) {
  if (!after) return h("p", h("span.soft", before));
  return h("p", h("del", before), " → ", h("ins", after));
}

function failures(failed) {
  return h("ul.files", failed.map((file) => h("li", h("span.mono", icon("file"), file.uri), h("span.soft", file.reason))));
}

function runTable(runs) {
  const head = h("tr", h("th", t("runs.stage")), h("th", t("runs.state")), h("th.num", t("runs.time")), h("th.num", t("runs.memory")), h("th.num"));
  const row = (run) =>
    h(
      "tr",
      h("td", stageTitle(run), h("div.faint.small.mono", run.name), run.error ? h("p.notice.small", run.error) : null),
      h("td", h("span.state", h(`span.dot.${{ done: "moss", running: "ochre", failed: "brick" }[run.state] ?? "off"}`), t(run.is_cached ? "runs.cached" : `runs.${run.state}`))),
      h("td.num", seconds(run.seconds)),
      h("td.num", bytes(run.peak_rss_bytes)),
      h("td.num.soft", run.finished_at ? when(run.finished_at) : ""),
    );
  return h("div.scroll", h("table", h("thead", head), h("tbody", runs.map(row))));
}
