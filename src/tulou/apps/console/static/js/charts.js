// Small charts in SVG, drawn from numbers: no library, no animation, readable in both themes.

import { h, s } from "./dom.js";
import { milliseconds, number, t, when } from "./page.js";

const WIDTH = 600; // stretched to the width there is; only lines and bars are inside, letters are not
const HEIGHT = 160;
const PLOT = { top: 6, bottom: 122 }; // latency above, requests below
const FEW = 20; // points of a line that are marked one by one
const BARS = { top: 132, bottom: 160 };

/** Latency p50 and p99 over time, with the number of requests underneath. */
export function latencyChart(points) {
  const step = WIDTH / points.length;
  const x = (i) => step * (i + 0.5);
  const ceiling = roundUp(Math.max(1, ...points.map((point) => point.p99_ms ?? 0)));
  const y = (value) => PLOT.bottom - ((PLOT.bottom - PLOT.top) * value) / ceiling;
  const busiest = Math.max(1, ...points.map((point) => point.requests));
  const height = (count) => ((BARS.bottom - BARS.top) * count) / busiest;
  const levels = [0, ceiling / 2, ceiling];
  const svg = s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": t("live.latency") },
    levels.map((value) => s("line.grid-line", { x1: 0, x2: WIDTH, y1: y(value), y2: y(value), "vector-effect": "non-scaling-stroke" })),
    s("path.band", { d: band(points, x, y) }),
    s("path.p99", { d: path(points, x, y, "p99_ms"), "vector-effect": "non-scaling-stroke" }),
    s("path.p50", { d: path(points, x, y, "p50_ms"), "vector-effect": "non-scaling-stroke" }),
    points.map((point, i) => slot(point, x(i) - step / 2, step, height)),
  );
  const scale = levels.map((value) => h("span", { style: { top: `${(y(value) / HEIGHT) * 100}%` } }, value ? milliseconds(value) : "0"));
  const axis = [points[0], points[Math.floor(points.length / 2)], points.at(-1)].map((point) => h("span", when(point.at)));
  return h("figure.chart", h("div.scale", scale), h("div.plot", svg), h("div.axis", axis));
}

/** Curves over steps; each of `lines` is {key, tone, name}, and a point without its key is passed over. */
export function lineChart(points, lines, shown) {
  const steps = points.map((point) => point.step);
  const [first, last] = [steps[0], steps.at(-1)];
  const values = points.flatMap((point) => lines.map(({ key }) => point[key] ?? 0));
  const ceiling = roundUp(Math.max(1e-6, ...values));
  const x = (point) => (WIDTH * (point.step - first)) / Math.max(1, last - first);
  const y = (value) => PLOT.top + (HEIGHT - PLOT.top) * (1 - value / ceiling);
  const levels = [0, ceiling / 2, ceiling];
  const svg = s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": lines.map((line) => line.name).join(", ") },
    levels.map((value) => s("line.grid-line", { x1: 0, x2: WIDTH, y1: y(value), y2: y(value), "vector-effect": "non-scaling-stroke" })),
    points.filter((point) => point.kept).slice(-1).map((point) => s("line.kept", { x1: x(point), x2: x(point), y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" })),
    lines.map((line) => strokes(points.filter((point) => point[line.key] !== undefined), line, x, y)),
    points.map((point, i) => {
      const left = i ? (x(points[i - 1]) + x(point)) / 2 : 0;
      const right = i + 1 < points.length ? (x(point) + x(points[i + 1])) / 2 : WIDTH;
      const said = lines.filter(({ key }) => point[key] !== undefined).map(({ key, name }) => `${name} ${shown(point[key])}`);
      return s("g.slot", s("rect.hover", { x: left, width: right - left, y: 0, height: HEIGHT }, s("title", [t("training.step", { n: number(point.step) }), ...said].join(" · "))));
    }),
  );
  const scale = levels.map((value) => h("span", { style: { top: `${(y(value) / HEIGHT) * 100}%` } }, value ? shown(value) : "0"));
  return h("figure.chart", h("div.scale", scale), h("div.plot", svg), h("div.axis", h("span", number(first)), h("span", number(last))));
}

/** One line, with a dot at each point where the points are few. */
function strokes(points, { key, tone }, x, y) {
  const places = points.map((point) => `${x(point).toFixed(1)} ${y(point[key]).toFixed(1)}`);
  const dots = places.length <= FEW ? places.map((place) => `M${place}h0`).join("") : "";
  return [
    s(`path.line.${tone}`, { d: `M${places.join("L")}`, "vector-effect": "non-scaling-stroke" }),
    dots && s(`path.dots.${tone}`, { d: dots, "vector-effect": "non-scaling-stroke" }),
  ].filter(Boolean);
}

/** A bar of parts, widest first come first; each is {name, value, tone}. */
export function stack(parts) {
  return h("div.stack", parts.filter((part) => part.value > 0).map((part) => h(`i.${part.tone}`, { style: { flex: `${part.value} 0 0` }, title: `${part.name}: ${number(part.value)}` })));
}

export function legend(parts) {
  const shown = parts.filter((part) => part.value > 0);
  return h("div.legend", shown.map((part) => h("span", h(`i.${part.tone}`), `${part.name} ${part.shown ?? number(part.value)}`)));
}

function slot(point, left, width, height) {
  const title = `${when(point.at)} · ${t("live.requests")} ${number(point.requests)} · p50 ${milliseconds(point.p50_ms)} · p99 ${milliseconds(point.p99_ms)}`;
  const bar = (count, kind) => s(`rect.${kind}`, { x: left + width * 0.15, width: width * 0.7, y: BARS.bottom - height(count), height: height(count) });
  const failed = point.failed ? bar(point.failed, "failed") : null;
  return s("g.slot", bar(point.requests, "requests"), failed, s("rect.hover", { x: left, width, y: PLOT.top, height: BARS.bottom - PLOT.top }, s("title", title)));
}

/** Stretches of time without a pause, so that a pause does not look like a trend. */
function stretches(points) {
  const found = [];
  points.forEach((point, i) => {
    if (point.p99_ms === null) return;
    if (i > 0 && points[i - 1].p99_ms !== null) found.at(-1).push(i);
    else found.push([i]);
  });
  return found;
}

/** Corners of one stretch, left to right; a lone point becomes a dash as wide as its bar. */
function corners(points, x, y, key, stretch) {
  const half = 0.35 * (x(1) - x(0));
  const at = (i, shift) => `${(x(i) + shift).toFixed(1)} ${y(points[i][key] ?? 0).toFixed(1)}`;
  return [at(stretch[0], -half), ...stretch.map((i) => at(i, 0)), at(stretch.at(-1), half)];
}

function path(points, x, y, key) {
  return stretches(points).map((stretch) => `M${corners(points, x, y, key, stretch).join("L")}`).join("");
}

function band(points, x, y) {
  return stretches(points)
    .map((stretch) => {
      const over = corners(points, x, y, "p99_ms", stretch);
      const under = corners(points, x, y, "p50_ms", stretch).reverse();
      return `M${[...over, ...under].join("L")}Z`;
    })
    .join("");
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}
