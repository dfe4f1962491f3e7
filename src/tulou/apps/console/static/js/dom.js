// Elements from code: everything that comes from people or models goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** h("div.card", {title: "…", onclick: f}, child, [child, …]); null children are left out. */
export function h(spec, ...rest) {
  return build(document.createElement.bind(document), spec, rest);
}

/** The same for SVG. */
export function s(spec, ...rest) {
  return build((tag) => document.createElementNS(SVG, tag), spec, rest);
}

export function replace(parent, ...children) {
  parent.replaceChildren(...flat(children));
  return parent;
}

const ICONS = {
  up: "M7 11v9H4v-9h3Zm0 0 4-8a2 2 0 0 1 3 2l-1 5h5a2 2 0 0 1 2 2.4l-1.2 6A2 2 0 0 1 16.8 20H7",
  down: "M17 13V4h3v9h-3Zm0 0-4 8a2 2 0 0 1-3-2l1-5H6a2 2 0 0 1-2-2.4l1.2-6A2 2 0 0 1 7.2 4H17",
  send: "M12 19V5m0 0-6 6m6-6 6 6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  plus: "M12 5v14M5 12h14",
  check: "m5 12 5 5 9-10",
  quote: "M9 7H5v6h4v-2a4 4 0 0 1-3 4M19 7h-4v6h4v-2a4 4 0 0 1-3 4",
  moon: "M20 14A8 8 0 1 1 10 4a6.5 6.5 0 0 0 10 10Z",
  home: "M4 11 12 4l8 7v9H4zM10 20v-6h4v6",
  data: "M5 6c0-3 14-3 14 0s-14 3-14 0Zm0 0v12c0 3 14 3 14 0V6M5 12c0 3 14 3 14 0",
  curve: "M4 4v16h16M7 8c2 7 5 9 12 9",
  model: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
  service: "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01",
  usage: "M5 20v-8M12 20V4M19 20v-5",
  chat: "M4 5h16v11H9l-5 4z",
  pen: "M4 20l1-5L16 4l4 4L9 19zM13 7l4 4",
  out: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
};

export function icon(name) {
  return s("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}

function build(create, spec, rest) {
  const [tag, ...classes] = spec.split(".");
  const element = create(tag || "div");
  if (classes.length) element.setAttribute("class", classes.join(" "));
  const isAttributes = rest[0] && Object.getPrototypeOf(rest[0]) === Object.prototype;
  const attributes = isAttributes ? rest.shift() : {};
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, each] of Object.entries(value)) element.style.setProperty(name, each);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...flat(rest));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
