// The console: one view for each part of the house, drawn from what the server measured; live figures every 3 s.

import { get } from "./api.js";
import { h, replace } from "./dom.js";
import { dress, sentence, t } from "./page.js";
import { frame, mark, name } from "./shell.js";
import { conversationsView } from "./views/conversations.js";
import { dataView } from "./views/data.js";
import { modelsView } from "./views/models.js";
import { overviewView } from "./views/overview.js";
import { serviceView } from "./views/service.js";
import { trainingView } from "./views/training.js";
import { usageView } from "./views/usage.js";

// Each view says what it needs, draws it, and whether it changes by itself.
const VIEWS = { overview: overviewView, data: dataView, training: trainingView, models: modelsView, service: serviceView, usage: usageView, conversations: conversationsView };
const LIVE_MS = 3000;

const view = document.getElementById("view");
let timer = 0;

frame();
dress("console.title");
get("/api/admin/overview").then(name, () => null);
addEventListener("hashchange", open);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : open()));
open();

async function open() {
  clearTimeout(timer);
  const chosen = location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "overview";
  mark(`/#${chosen}`);
  document.title = `${t(`nav.${chosen}`)} · ${t("console.title")}`;
  await draw(chosen, true);
}

async function draw(chosen, isFirst) {
  const { needs, render, isLive } = VIEWS[chosen];
  try {
    const answers = await Promise.all(needs.map((path) => get(`/api/admin/${path}`)));
    if (!isCurrent(chosen)) return;
    // What a reader has opened or selected is not pulled from under them.
    const isBusy = !isFirst && (view.querySelector("details[open]") || String(getSelection()));
    if (!isBusy) replace(view, h("header.head", h("h1", t(`nav.${chosen}`))), render(...answers));
  } catch (error) {
    if (!isCurrent(chosen)) return;
    view.querySelector(":scope > .notice")?.remove();
    view.prepend(h("p.notice", sentence(error)));
  }
  if (isLive && !document.hidden) timer = setTimeout(() => draw(chosen, false), LIVE_MS);
}

function isCurrent(chosen) {
  return chosen === (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "overview");
}
