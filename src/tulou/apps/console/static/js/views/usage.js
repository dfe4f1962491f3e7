// Usage: what each key used of each model, day by day, with what it cost.

import { h } from "../dom.js";
import { compact, milliseconds, money, number, percent, t } from "../page.js";
import { empty, panel } from "./parts.js";

const ROWS = 200; // more of them are for a spreadsheet

export const usageView = {
  needs: ["usage"],
  isLive: false,
  render: ({ since, until, currency, usage }) => {
    if (!usage.length) return h("div.grid", panel("", t("usage.title"), null, empty("usage.none")));
    const csv = h("a", { href: `/api/admin/usage.csv?since=${since}&until=${until}`, download: "" }, t("usage.csv"));
    return h(
      "div.grid",
      h("div.card.tiles", tiles(usage, since, until, currency)),
      panel("", t("usage.keys"), h("span.small.soft", `${since} – ${until}`), keyTable(byKey(usage), currency)),
      panel("", t("usage.days"), csv, dayTable(usage.slice(0, ROWS), currency), usage.length > ROWS ? h("p.verdict", t("usage.more", { n: ROWS, m: number(usage.length) })) : null),
    );
  },
};

const SUMMED = ["requests", "failures", "cached", "prompt_tokens", "completion_tokens", "money"];

/** One row, the sums of many. */
function summed(rows) {
  return Object.fromEntries(SUMMED.map((name) => [name, rows.reduce((sum, row) => sum + row[name], 0)]));
}

function byKey(usage) {
  const keys = [...grouped(usage).values()].map((rows) => ({ key_id: rows[0].key_id, key_name: rows[0].key_name, ...summed(rows) }));
  return keys.sort((one, other) => other.prompt_tokens + other.completion_tokens - one.prompt_tokens - one.completion_tokens);
}

function grouped(usage) {
  const groups = new Map();
  for (const row of usage) groups.set(row.key_id, [...(groups.get(row.key_id) ?? []), row]);
  return groups;
}

function tiles(usage, since, until, currency) {
  const all = summed(usage);
  const span = `${since.slice(5)} – ${until.slice(5)}`;
  return [
    tile("usage.requests", compact(all.requests), span),
    tile("usage.read", compact(all.prompt_tokens), t("usage.tokens")),
    tile("usage.written", compact(all.completion_tokens), t("usage.tokens")),
    tile("usage.money", money(all.money), currency),
    tile("usage.failed", percent(all.failures / all.requests, 2), t("usage.cached.note", { share: percent(all.cached / all.requests, 0) })),
  ];
}

const tile = (key, value, note) => h("div.tile", h("span.label", t(key)), h("span.value", value), h("span.note.cut", note));

const who = (row) => (row.key_id ? [row.key_name || row.key_id, " ", h("span.faint.small.mono", row.key_id)] : h("span.soft", t("usage.apps")));

const numbers = (row) => SUMMED.map((name) => h("td.num", name === "money" ? money(row.money) : number(row[name])));

function heads(currency) {
  const names = ["usage.requests", "usage.failed", "usage.cached", "usage.read", "usage.written"];
  return [...names.map((name) => h("th.num", t(name))), h("th.num", currency)];
}

function keyTable(keys, currency) {
  const head = h("tr", h("th", t("usage.key")), heads(currency));
  return h("div.scroll", h("table", h("thead", head), h("tbody", keys.map((row) => h("tr", h("td", who(row)), numbers(row))))));
}

function dayTable(rows, currency) {
  const head = h("tr", h("th", t("usage.day")), h("th", t("usage.key")), h("th", t("live.model")), heads(currency), h("th.num", t("usage.latency")));
  const row = (one) => h("tr", h("td.nowrap", one.day), h("td", one.key_id ? one.key_name || one.key_id : h("span.soft", t("usage.apps"))), h("td", one.model), numbers(one), h("td.num", milliseconds(one.mean_latency_ms)));
  return h("div.scroll", h("table", h("thead", head), h("tbody", rows.map(row))));
}
