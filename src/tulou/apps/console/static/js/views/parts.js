// Pieces that several views share.

import { h } from "../dom.js";
import { has, number, t } from "../page.js";

export function panel(spec, title, aside, ...children) {
  return h(`section.card.panel${spec}`, title ? h("header", h("h2", title), aside) : null, children);
}

export const empty = (key) => h("p.empty", t(key));

const REPLICA_TONES = { ready: "moss", starting: "ochre", restarting: "ochre", draining: "ochre", unready: "ochre", crash_loop: "brick", stopped: "" };

export function replicaState(replica) {
  return h("span.state", h(`span.dot.${REPLICA_TONES[replica.state] || "off"}`), t(`replica.${replica.state}`));
}

/** What a stage is called, by its kind and the name of its model or source. */
export function stageTitle({ name, title }) {
  const [kind, ...rest] = name.split(".");
  return has(`stage.${kind}`) ? t(`stage.${kind}`, { name: rest.join(".") }) : title || name;
}

export const spell = (key) => key.replaceAll("_", " ");

/** How records of one source fared: kept as they came, corrected, dropped. */
export function fate(source) {
  const dropped = source.collected - source.kept;
  const touched = source.rules.filter((rule) => rule.action === "changed").reduce((sum, rule) => sum + rule.count, 0);
  const changed = Math.min(touched, source.kept); // a record corrected twice counts once at most
  return [
    { name: t("cleaning.kept"), value: source.kept - changed, shown: number(source.kept), tone: "moss" },
    { name: t("cleaning.changed"), value: changed, tone: "ochre" },
    { name: t("cleaning.dropped"), value: dropped, tone: "brick" },
  ];
}
