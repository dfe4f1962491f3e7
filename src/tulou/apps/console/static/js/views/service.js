// Service: latency and success by model, and every replica with what it costs.

import { latencyChart } from "../charts.js";
import { h } from "../dom.js";
import { bytes, milliseconds, number, percent, t } from "../page.js";
import { lines } from "./overview.js";
import { empty, panel, replicaState } from "./parts.js";

export const serviceView = {
  needs: ["live", "replicas"],
  isLive: true,
  render: (live, replicas) =>
    h(
      "div.grid",
      panel("", t("live.latency"), lines(), live.points.some((point) => point.requests) ? latencyChart(live.points) : empty("live.none"), live.models.length ? byModel(live.models) : null),
      panel("", t("replicas.title"), null, replicas.length ? replicaTable(replicas) : empty("replicas.none")),
    ),
};

function byModel(models) {
  const head = h("tr", h("th", t("live.model")), h("th.num", t("live.requests")), h("th.num", t("live.success")), h("th.num", "p50"), h("th.num", "p99"), h("th.num", t("live.tokens")));
  const row = (one) =>
    h("tr", h("td", one.model), h("td.num", number(one.requests)), h("td.num", percent(one.success_rate, 2)), h("td.num", milliseconds(one.p50_ms)), h("td.num", milliseconds(one.p99_ms)), h("td.num", number(one.tokens_per_s)));
  return h("div.scroll", { style: { "margin-top": "14px" } }, h("table", h("thead", head), h("tbody", models.map(row))));
}

function replicaTable(replicas) {
  const head = h("tr", h("th", t("replicas.name")), h("th", t("replicas.state")), h("th.num", t("replicas.in_flight")), h("th.num", t("replicas.cpu")), h("th.num", t("replicas.memory")), h("th.num", t("replicas.restarts")), h("th.num", t("replicas.address")));
  const row = (one) =>
    h(
      "tr",
      h("td", one.name),
      h("td", replicaState(one)),
      h("td.num", number(one.in_flight)),
      h("td.num", `${Math.round(one.cpu_percent)}%`),
      h("td.num", bytes(one.rss_bytes)),
      h("td.num", number(one.restarts)),
      h("td.num.mono.soft", `${one.port ?? "–"} / ${one.pid ?? "–"}`),
    );
  return h("div.scroll", h("table", h("thead", head), h("tbody", replicas.map(row))));
}
