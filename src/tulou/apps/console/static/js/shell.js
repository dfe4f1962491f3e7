// The frame of the pages behind the sign-in: places to go, who is served, language, theme, the way out.

import { post } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { t } from "./page.js";

const PLACES = [
  ["/#overview", "home", "nav.overview"],
  ["/#data", "data", "nav.data"],
  ["/#models", "model", "nav.models"],
  ["/#service", "service", "nav.service"],
  ["/#conversations", "chat", "nav.conversations"],
  null,
  ["/content", "pen", "nav.content"],
];

export function frame(nav) {
  const leave = async () => {
    await post("/api/admin/logout", {});
    location.assign("/login");
  };
  replace(
    nav,
    h("a.brand", { href: "/" }, h("img", { src: "/static/tulou.svg", alt: "" }), h("span", h("span", { id: "project" }, "Tulou"), h("small", { id: "version" }))),
    PLACES.map((place) => (place ? h("a.item", { href: place[0] }, icon(place[1]), h("span", t(place[2]))) : h("hr"))),
    h("a.item.wide", { href: "/chat", target: "_blank", rel: "noopener" }, icon("out"), h("span", t("nav.chat"))),
    h(
      "div.foot",
      h("button.quiet", { "data-action": "language" }),
      h("button.quiet", { "data-action": "theme", "aria-label": t("theme"), title: t("theme") }, icon("moon")),
      h("button.quiet", { onclick: leave }, t("nav.out")),
    ),
  );
}

export function mark(nav, href) {
  for (const link of nav.querySelectorAll("a.item")) {
    if (link.getAttribute("href") === href) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

export function name(project) {
  document.getElementById("project").textContent = project.name;
  document.getElementById("version").textContent = `Tulou ${project.tulou_version}`;
}
