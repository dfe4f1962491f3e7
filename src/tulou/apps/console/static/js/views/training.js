// Training: how each model learns or has learnt, point by point; a run in the terminal shows here while it goes on.

import { lineChart } from "../charts.js";
import { h } from "../dom.js";
import { bytes, compact, has, number, percent, seconds, t, when } from "../page.js";
import { empty, panel, stageTitle } from "./parts.js";

const TONES = { running: "ochre", silent: "brick", finished: "moss", failed: "brick" };
const METRIC = /^validation_/;

export const trainingView = {
  needs: ["trainings"],
  isLive: true,
  render: (trainings) => h("div.grid", trainings.length ? trainings.toSorted(byInterest).map(trainingPanel) : panel("", t("training.title"), null, empty("training.none"))),
};

/** What runs comes first, then the newest. */
const byInterest = (one, other) => (other.state === "running") - (one.state === "running") || other.started_at - one.started_at;

function trainingPanel(training) {
  const { points } = training;
  return panel(
    "",
    stageTitle({ name: training.stage, title: training.title }),
    h("span.small.soft", when(training.started_at)),
    h("div.model-facts", h(`span.chip.${TONES[training.state]}`, t(`training.${training.state}`)), facts(training).map((fact) => h("span.chip", fact))),
    points.length ? h("div.curves", curves(points)) : empty("training.no_points"),
  );
}

function facts({ state, points }) {
  const last = points.at(-1);
  if (!last) return [];
  const isRunning = state === "running" && last.progress > 0;
  const left = isRunning ? (last.seconds * (1 - last.progress)) / last.progress : null;
  return [
    t("training.step", { n: number(last.step) }) + (isRunning ? ` · ${percent(last.progress, 0)}` : ""),
    last.seconds ? seconds(last.seconds) : null,
    kept(points) ? t("training.kept", { n: number(kept(points).step) }) : null,
    left === null ? null : t("training.left", { s: seconds(left) }),
  ].filter(Boolean);
}

/** Loss first, then whatever else the model was validated by, pace and memory. */
function curves(points) {
  const measured = [...new Set(points.flatMap(Object.keys))].filter((key) => METRIC.test(key));
  const others = measured.length ? measured.filter((key) => key !== "validation_loss") : ["validation"];
  return [
    curve(points, t("training.loss"), plain, [
      { key: "loss", tone: "moss", name: t("training.train") },
      { key: "validation_loss", tone: "earth", name: t("training.validation") },
    ]),
    others.map((key) => curve(points, has(`training.${key}`) ? t(`training.${key}`) : key.replace(METRIC, "").replaceAll("_", " "), plain, [{ key, tone: "earth", name: t("training.validation") }])),
    curve(points, t("training.tokens"), compact, [{ key: "tokens_s", tone: "slate", name: t("training.tokens") }]),
    curve(points, t("training.memory"), bytes, [{ key: "memory_bytes", tone: "ochre", name: t("training.memory") }]),
  ];
}

function curve(points, title, shown, lines) {
  const drawn = lines.filter(({ key }) => points.some((point) => point[key] !== undefined));
  if (!drawn.length) return null;
  const latest = ({ key }) => shown(told(points, key));
  const names = drawn.map((line) => h("span", h(`i.${line.tone}`), `${drawn.length > 1 ? `${line.name} ` : ""}${latest(line)}`));
  return h("div.curve", h("div.line", h("strong.small", title), h("div.legend", names)), lineChart(points, drawn, shown));
}

/** The point whose weights are the model's; what was validated later is not what serves. */
const kept = (points) => points.findLast((point) => point.kept);

/** Of what was validated the kept point's, of all else the latest; of paces the middle one. */
function told(points, key) {
  const values = points.map((point) => point[key]).filter((value) => value !== undefined);
  if (key === "tokens_s") return values.toSorted((one, other) => one - other)[values.length >> 1];
  return kept(points)?.[key] !== undefined && key.startsWith("validation") ? kept(points)[key] : values.at(-1);
}

const plain = (value) => (value && value < 10 ? value.toPrecision(3) : number(value));
