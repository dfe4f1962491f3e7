// Overview: is it healthy, how does it answer, what ran last, what was cleaned, who asked.

import { latencyChart, legend, stack } from "../charts.js";
import { h } from "../dom.js";
import { milliseconds, number, percent, seconds, t } from "../page.js";
import { talk } from "./conversations.js";
import { empty, fate, panel, replicaState, spell, stageTitle } from "./parts.js";

const RECENT = 6;
const KIND_TONES = { generated: "moss", quoted: "earth", declined: "slate" };

export const overviewView = {
  needs: ["overview", "live", "replicas", "runs", "cleaning", "conversations"],
  isLive: true,
  render: (overview, live, replicas, runs, cleaning, turns) =>
    h(
      "div.grid",
      h("div.card.tiles", tiles(overview, live)),
      panel(".span-8", t("live.latency"), lines(), live.points.some((point) => point.requests) ? latencyChart(live.points) : empty("live.none")),
      panel(".span-4", t("replicas.title"), ready(replicas), replicas.length ? replicaList(replicas) : empty("replicas.none")),
      panel(".span-7", t("runs.title"), runs.length ? h("span.small.soft", total(runs)) : null, runs.length ? stages(runs) : empty("runs.none")),
      panel(".span-5", t("cleaning.title"), h("a", { href: "#data" }, t("cleaning.why")), cleaning.length ? [flow(cleaning), reasons(cleaning)] : empty("cleaning.none")),
      panel("", t("conversations.title"), h("a", { href: "#conversations" }, t("conversations.all")), turns.length ? talk(turns.slice(0, RECENT)) : empty("conversations.none")),
    ),
};

function tiles(overview, live) {
  const minutes = number(live.window_s / 60);
  const isBad = live.success_rate !== null && live.success_rate < 0.99;
  return [
    tile(t("live.success"), percent(live.success_rate, 2), t("live.success.note", { n: number(live.requests), m: minutes }), isBad ? ".bad" : ""),
    tile(t("live.p50"), milliseconds(live.p50_ms), t("live.note", { m: minutes })),
    tile(t("live.p99"), milliseconds(live.p99_ms), t("live.note", { m: minutes })),
    answers(overview.answers),
    thumbs(overview.answers),
  ];
}

function tile(label, value, note, tone = "") {
  return h("div.tile", h("span.label", label), h(`span.value${tone}`, value), h("span.note.cut", note));
}

function answers({ total, by_kind }) {
  const parts = Object.entries(KIND_TONES).map(([kind, tone]) => ({ name: t(`kind.short.${kind}`), value: by_kind[kind] ?? 0, tone }));
  const body = total ? [stack(parts), legend(parts)] : h("span.note", t("answers.none"));
  return h("div.tile", h("span.label", t("answers.title")), h("span.value", number(total)), body);
}

function thumbs({ up, down }) {
  const parts = [
    { name: t("feedback.up"), value: up, tone: "moss" },
    { name: t("feedback.down"), value: down, tone: "brick" },
  ];
  const body = up + down ? [stack(parts), legend(parts)] : h("span.note", t("feedback.none"));
  return h("div.tile", h("span.label", t("feedback.title")), h("span.value", up + down ? percent(up / (up + down), 0) : "–"), body);
}

export function lines() {
  return h("div.legend.small", h("span", h("i.moss"), "p50"), h("span", h("i.earth"), "p99"), h("span", h("i.slate"), t("live.requests")));
}

function ready(replicas) {
  return replicas.length ? h("span.small.soft", t("replicas.ready", { n: replicas.filter((one) => one.state === "ready").length, m: replicas.length })) : null;
}

function replicaList(replicas) {
  const row = (one) => h("tr", h("td", one.name), h("td", replicaState(one)), h("td.num.soft", one.restarts ? `${one.restarts}×` : ""));
  return h("table", h("tbody", replicas.map(row)));
}

export function total(runs) {
  const now = runs.find((run) => run.state === "running");
  if (now) return t("runs.now", { ...now.summary, stage: stageTitle(now), s: seconds(Date.now() / 1000 - now.summary.started_at) });
  const spent = runs.reduce((sum, run) => sum + run.seconds, 0);
  return t("runs.total", { n: runs.length, s: seconds(spent) });
}

const DOTS = { done: "moss", running: "ochre", failed: "brick", waiting: "off" };

function stages(runs) {
  const spent = runs.reduce((sum, run) => sum + run.seconds, 0) || 1;
  let begun = 0;
  const row = (run) => {
    const style = { left: `${(begun / spent) * 100}%`, width: `${(run.seconds / spent) * 100}%` };
    begun += run.seconds;
    const time = run.state === "waiting" ? t("runs.waiting") : seconds(run.seconds);
    return h(`div.stage${run.is_cached ? ".cached" : ""}`, { title: run.error || run.name }, h(`span.dot.${DOTS[run.state]}`), h("span.cut", stageTitle(run)), h("span.track", h("i", { style })), h("span.num.soft", time));
  };
  return h("div.stages", runs.map(row));
}

/** The rules that did the most, over all sources. */
function reasons(cleaning) {
  const rules = cleaning.flatMap((source) => source.rules).sort((one, other) => other.count - one.count);
  if (!rules.length) return null;
  const row = (rule) => [
    h("span.cut", spell(rule.rule), h("span.faint", ` · ${spell(rule.step)}`)),
    h(`span.chip.${rule.action === "dropped" ? "brick" : "ochre"}`, t(`cleaning.${rule.action}`)),
    h("span.num", number(rule.count)),
  ];
  return h("div.reasons", rules.slice(0, 7).map(row));
}

export function flow(cleaning) {
  const row = (source) => {
    const parts = fate(source);
    const size = source.files > 1 ? `${t("cleaning.files", { n: number(source.files) })} · ` : "";
    return h("div.flow-row", h("div.line", h("strong", source.source), h("span.soft.small", size + t("cleaning.records", { n: number(source.collected) }))), stack(parts), legend(parts));
  };
  return h("div.flow", cleaning.map(row));
}
