// Explain a message: its words coloured by what they say for the label, the training rows like it, the passages found.

import { post } from "../api.js";
import { h, replace } from "../dom.js";
import { percent, sentence, t } from "../page.js";
import { panel } from "./parts.js";

export function explainPanel() {
  const found = h("div.explained");
  const field = h("input.input", { type: "text", maxLength: 1000, required: true, placeholder: t("explain.hint"), "aria-label": t("explain.hint") });
  const button = h("button.button.primary", { type: "submit" }, t("explain.go"));
  const form = h("form.explain", { onsubmit: ask }, field, button);

  async function ask(event) {
    event.preventDefault();
    button.disabled = true;
    replace(found, h("p.small.soft", t("explain.busy")));
    try {
      replace(found, shown(await post("/api/admin/explain", { text: field.value })));
    } catch (error) {
      replace(found, h("p.notice", sentence(error)));
    }
    button.disabled = false;
  }

  return panel("", t("explain.title"), null, form, found);
}

function shown({ model, classification, neighbours, passages }) {
  return [
    classification ? h("p", t("explain.says", { model, label: classification.label, share: percent(classification.probability, 1) })) : null,
    classification ? coloured(classification.text, classification.tokens) : null,
    classification ? h("p.small.soft", t("explain.error", { error: percent(classification.relative_error, 2) })) : null,
    rows("explain.rows", neighbours, (row) => [row.cosine.toFixed(3), row.label, row.text, row.document_id]),
    rows("explain.passages", passages, (hit) => [hit.cosine.toFixed(2), hit.heading || hit.title, hit.text.slice(0, 200), hit.uri]),
  ];
}

/** Offsets count characters of Unicode, and so must the slices. */
function coloured(text, tokens) {
  const characters = [...text];
  const most = Math.max(...tokens.map((token) => Math.abs(token.score)), 1e-9);
  const parts = [];
  let place = 0;
  for (const { start, end, score } of tokens) {
    if (start < place || start === end) continue;
    const much = Math.round((Math.abs(score) / most) * 5);
    parts.push(characters.slice(place, start).join(""));
    parts.push(h(`span.${score < 0 ? "against" : "for"}-${much}`, { title: score.toFixed(3) }, characters.slice(start, end).join("")));
    place = end;
  }
  return h("p.words", parts, characters.slice(place).join(""));
}

function rows(title, list, cells) {
  if (!list.length) return null;
  return [h("h3.small.soft", t(title)), h("div.scroll", h("table", h("tbody", list.map((one) => h("tr", cells(one).map((cell) => h("td", cell)))))))];
}
