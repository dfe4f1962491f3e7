// The customer's page: ask, watch the answer arrive, see where it comes from, say whether it helped.

import { get, post, stream } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { dress, language, sentence, t } from "./page.js";

const KINDS = {
  generated: { chip: "chip.moss", icon: "check" },
  quoted: { chip: "chip.earth", icon: "quote" },
  declined: { chip: "chip", icon: null },
};
const byId = (id) => document.getElementById(id);
const [turns, form, question, send, scroll] = ["turns", "ask", "question", "send", "scroll"].map(byId);

let conversation = sessionStorage.getItem("tulou.conversation");
let isBusy = false;

dress("chat.title");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(question.value);
});
question.addEventListener("input", () => (send.disabled = isBusy || !question.value.trim()));
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask(question.value);
});
byId("new").addEventListener("click", () => {
  sessionStorage.removeItem("tulou.conversation");
  location.reload();
});
await Promise.all([introduce(), recall()]);
question.focus({ preventScroll: true });

async function introduce() {
  const about = await get("/api/support/about").catch(() => ({ name: "", suggestions: {} }));
  byId("name").textContent = about.name;
  const suggestions = about.suggestions[language] ?? [];
  replace(byId("suggestions"), suggestions.map((text) => h("button.button", { onclick: () => ask(text) }, text)));
}

async function recall() {
  if (conversation) {
    const past = await get(`/api/support/conversations/${encodeURIComponent(conversation)}`).catch(() => null);
    if (past === null) forget();
    for (const turn of past?.turns ?? []) {
      const reply = h("div.reply");
      turns.append(h("li.turn", h("p.asked", turn.question), reply));
      show(reply, { ...turn, text: turn.answer, turn_id: turn.id, sources: remembered(turn.passages) }, turn.rating);
    }
  }
  byId("welcome").hidden = turns.childElementCount > 0;
  byId("new").hidden = turns.childElementCount === 0;
  scroll.scrollTop = scroll.scrollHeight;
}

function forget() {
  conversation = null;
  sessionStorage.removeItem("tulou.conversation");
}

function remembered(passages) {
  const sources = passages.map((passage) => ({ ...passage, is_cited: passage.cited }));
  return sources.sort((one, other) => other.is_cited - one.is_cited);
}

async function ask(text) {
  text = text.trim();
  if (!text || isBusy) return;
  isBusy = send.disabled = true;
  question.value = "";
  byId("welcome").hidden = true;
  byId("new").hidden = false;
  const said = h("p.said");
  const reply = h("div.reply", h("p.waiting", h("i", h("b")), t("chat.searching")));
  turns.append(h("li.turn", h("p.asked", text), reply));
  reply.scrollIntoView({ block: "end", behavior: "smooth" });
  try {
    await follow(text, reply, said);
  } catch (error) {
    const again = h("button.quiet", { onclick: () => retry(reply, text) }, t("chat.again"));
    replace(reply, said.textContent ? said : null, h("p.notice", sentence(error)), again);
  }
  isBusy = false;
  send.disabled = !question.value.trim();
}

async function follow(text, reply, said) {
  let answer = null;
  for await (const { name, data } of stream("/api/support/ask", { question: text, conversation_id: conversation ?? "" })) {
    if (name === "started") {
      conversation = data.conversation_id;
      sessionStorage.setItem("tulou.conversation", conversation);
    } else if (name === "delta") {
      if (!said.isConnected) replace(reply, said);
      said.append(data.text);
    } else if (name === "answer") answer = data;
  }
  if (answer === null) throw new Error(t("error.cut"));
  show(reply, answer, null);
  reply.closest(".turn").scrollIntoView({ block: "end", behavior: "smooth" });
}

function retry(reply, text) {
  reply.closest(".turn").remove();
  ask(text);
}

function show(reply, answer, rating) {
  const kind = KINDS[answer.kind] ?? KINDS.declined;
  reply.classList.add(answer.kind);
  const how = h(`span.${kind.chip}`, kind.icon ? icon(kind.icon) : null, t(`kind.${answer.kind}`));
  const isDeclined = answer.kind === "declined";
  replace(
    reply,
    h("p.said", { lang: answer.language === "zh" ? "zh-CN" : "en" }, answer.text),
    isDeclined ? null : h("div.how", how),
    isDeclined ? null : sources(answer.sources),
    rate(answer, rating),
  );
}

function sources(all) {
  const cited = all.filter((source) => source.is_cited);
  const others = all.filter((source) => !source.is_cited);
  return h(
    "div.sources",
    h("ol.cited", { "aria-label": t("chat.sources") }, cited.map(card)),
    others.length ? h("details.related", h("summary", t("chat.related", { n: others.length })), h("ol", others.map(card))) : null,
  );
}

function card(source) {
  const heading = source.heading.split(" > ").filter((part) => part !== source.title);
  const file = source.uri.split("/").pop();
  const where = h(
    "span.where",
    h("span.title.cut", source.title || file),
    heading.length ? h("span.soft.cut", heading.join(" › ")) : null,
    h("span.file.faint.small.cut", { title: source.uri }, file),
  );
  return h("li", h("details.source", h("summary", icon("file"), where), h("p.passage", source.text)));
}

function rate(answer, rating) {
  const row = h("div.rate");
  const more = h("div");
  const press = async (value) => {
    row.querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", button.value === String(value)));
    replace(more, value < 0 ? better(answer, more) : null);
    if (await tell(more, { turn_id: answer.turn_id, rating: value }) && value > 0) replace(more, h("p.soft.small", t("rate.thanks")));
  };
  const thumb = (value, name) => {
    const label = t(value > 0 ? "rate.up" : "rate.down");
    return h("button.quiet", { value, title: label, "aria-label": label, "aria-pressed": String(rating === value), onclick: () => press(value) }, icon(name));
  };
  row.append(thumb(1, "up"), thumb(-1, "down"), copyButton(answer.text));
  return h("div", row, more);
}

function better(answer, more) {
  const comment = h("textarea.input", { placeholder: t("rate.better"), "aria-label": t("rate.better"), maxlength: "4000" });
  const submit = async () => {
    const isTold = await tell(more, { turn_id: answer.turn_id, rating: -1, comment: comment.value });
    if (isTold) replace(more, h("p.soft.small", t("rate.thanks")));
  };
  const row = h("div.row", h("button.button", { onclick: submit }, t("rate.send")));
  return h("div.better", comment, row);
}

async function tell(more, feedback) {
  try {
    await post("/api/support/feedback", feedback);
    return true;
  } catch (error) {
    more.append(h("p.notice", sentence(error)));
    return false;
  }
}

function copyButton(text) {
  const copy = async (event) => {
    const button = event.currentTarget;
    await navigator.clipboard.writeText(text);
    replace(button, icon("check"));
    setTimeout(() => replace(button, icon("copy")), 1500);
  };
  if (!navigator.clipboard) return null;
  return h("button.quiet", { title: t("copy"), "aria-label": t("copy"), onclick: copy }, icon("copy"));
}
