// The frame of the pages behind the sign-in: places to go, who is served, language, theme, the way out.

import { post } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { t } from "./page.js";

const PLACES = [
  ["/#overview", "home", "nav.overview"],
  ["/#data", "data", "nav.data"],
  ["/#training", "curve", "nav.training"],
  ["/#models", "model", "nav.models"],
  ["/#service", "service", "nav.service"],
  ["/#usage", "usage", "nav.usage"],
  ["/#conversations", "chat", "nav.conversations"],
  null,
  ["/content", "pen", "nav.content"],
];

export function frame() {
  replace(document.getElementById("top"), brand(), h("span.grow"), tools());
  const nav = document.getElementById("nav");
  replace(
    nav,
    brand(),
    PLACES.map((place) => (place ? h("a.item", { href: place[0] }, icon(place[1]), h("span", t(place[2]))) : h("hr"))),
    h("a.item.wide", { href: "/chat", target: "_blank", rel: "noopener" }, icon("out"), h("span", t("nav.chat"))),
    h("div.foot", tools()),
  );
}

function brand() {
  const image = h("img", { src: "/static/tulou.svg", alt: "" });
  return h("a.brand", { href: "/" }, image, h("span", h("span.project.cut", "Tulou"), h("small.version")));
}

function tools() {
  const leave = async () => {
    await post("/api/admin/logout", {});
    location.assign("/login");
  };
  return [
    h("button.quiet", { "data-action": "language" }),
    h("button.quiet", { "data-action": "theme", "aria-label": t("theme"), title: t("theme") }, icon("moon")),
    h("button.quiet", { onclick: leave }, t("nav.out")),
  ];
}

export function mark(href) {
  for (const link of document.querySelectorAll("nav a.item")) {
    if (link.getAttribute("href") === href) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

export function name(project) {
  for (const element of document.querySelectorAll(".project")) element.textContent = project.name;
  for (const element of document.querySelectorAll(".version")) element.textContent = `Tulou ${project.tulou_version}`;
}
