// Conversations: who asked what, how it was answered, what it rests on, and what they thought of it.

import { get } from "../api.js";
import { h, icon } from "../dom.js";
import { milliseconds, sentence, t, when } from "../page.js";
import { empty, panel } from "./parts.js";

const TONES = { generated: "moss", quoted: "earth", declined: "slate", filled: "earth" };

export const conversationsView = {
  needs: ["conversations"],
  isLive: true,
  render: (turns) => panel("", t("conversations.title"), null, turns.length ? [talk(turns), older(turns)] : empty("conversations.none")),
};

export function talk(turns) {
  return h("div.talk", turns.map(entry));
}

function entry(turn) {
  return h(
    "details",
    h(
      "summary",
      h("span.faint.small", when(turn.at)),
      h("span.asked.cut", turn.question),
      h(
        "span.tags",
        turn.rating ? h(`span.${turn.rating > 0 ? "up" : "down"}`, icon(turn.rating > 0 ? "up" : "down")) : null,
        turn.app === "content" ? h("span.chip", t("app.content")) : null,
        turn.intent ? h("span.chip.intent", turn.intent.replaceAll("_", " ")) : null,
        h(`span.chip.${TONES[turn.kind] ?? "off"}`, t(`kind.short.${turn.kind}`)),
      ),
    ),
    h("div.body", h("p.answer", turn.answer), meta(turn), said("conversations.comment", turn.comment), said("conversations.correction", turn.correction)),
  );
}

function meta(turn) {
  const cited = turn.passages.filter((passage) => passage.cited);
  return h(
    "div.meta",
    cited.map((passage) => h("span", { title: passage.text }, `${passage.title || passage.uri} · ${passage.uri}`)),
    h("span", `${turn.model}${turn.model_version ? ` ${turn.model_version}` : ""}`),
    h("span", milliseconds(turn.latency_ms)),
    h("span.mono", turn.id),
  );
}

function said(key, text) {
  return text ? h("p.small", h("span.soft", `${t(key)}: `), text) : null;
}

function older(turns) {
  const more = async (event) => {
    const button = event.currentTarget;
    try {
      const next = await get(`/api/admin/conversations?before=${turns.at(-1).at}`);
      button.replaceWith(next.length ? h("div", talk(next), older(next)) : "");
    } catch (error) {
      button.replaceWith(h("p.notice", sentence(error)));
    }
  };
  return turns.length >= 50 ? h("button.button", { onclick: more }, t("conversations.more")) : null;
}
