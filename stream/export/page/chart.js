// A chart over time with its legend, and the same numbers as a table for people who can't see it.

import { term } from "./definitions.js";
import { colour, h, s, say } from "./dom.js";
import { KINDS, NONE, brief, day, short, shown, time } from "./text.js";

const { uPlot } = window;
const DAY = 86_400_000;
const MOST_ROWS = 48;
const FONT = "12px system-ui, sans-serif";

// Between two ticks of an axis of lengths of time, in seconds: round numbers of minutes, hours and days.
const LENGTHS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 172_800, 432_000, 864_000];
const STEPS = { day: [1, 2, 7, 14, 28].map((days) => days * DAY), age: [1, 2, 5, 7, 10, 14] };

const charts = new Set();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of charts) chart.redraw();
});

/**
 * `series` are {label, metric, colour, dash, width, fill, points}. A series without a label is an end of one of the
 * `bands`, which name the indexes of two series. `x` is "day", "time" or "age", a number of `ageUnit`. `zone()` is the
 * time zone of times. With `isStack` each value is a bar that stands on the bars of the series after it; the bars of a
 * series that `isBelow` hang below zero.
 */
export function chart({
  title,
  kind,
  series,
  x = "time",
  ageUnit,
  bands = [],
  zone = () => "UTC",
  note = "",
  isStack = false,
  hasTable = true,
}) {
  const isDay = x === "day";
  const named = series.map((one, place) => ({ ...one, place: place + 1 })).filter((one) => one.label);
  const when = (at) => {
    if (x === "age") return `${ageUnit} ${at}`;
    return isDay ? day(new Date(at).toISOString().slice(0, 10)) : time(at, zone(), true);
  };
  const values = named.map(() => h("b", {}, NONE));
  const moment = h("span", { class: "when" });
  const legend = h(
    "ul",
    { class: "legend" },
    ...named.map((one, place) => {
      const label = one.metric ? term(one.label, one.metric) : one.label;
      return h("li", {}, swatch(one, isStack), label, values[place]);
    }),
  );
  const plot = h("div", { class: "plot", role: "img", "aria-label": title });
  const empty = h("p", { class: "empty" }, note);
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` });
  const details = h("details", {}, h("summary", {}, "As a table"), table);
  const heading = h("div", { class: "title" }, h("h3", {}, title), moment);
  const element = h("figure", { class: "chart" }, heading, legend, plot, empty, hasTable ? details : undefined);
  let data = [[], ...series.map(() => [])];
  let drawn = null;

  function tell(place) {
    const at = place ?? data[0].length - 1;
    say(moment, at >= 0 ? when(data[0][at]) : "");
    named.forEach((one, number) => say(values[number], shown(kind, data[one.place][at])));
  }

  function options() {
    const axis = { stroke: () => colour("--soft"), font: FONT, grid: { show: false }, ticks: { show: false } };
    return {
      ms: 1,
      width: plot.clientWidth,
      height: plot.clientHeight,
      padding: [10, 24, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: !isStack, size: 7, width: 2 }, y: false },
      tzDate: (at) => uPlot.tzDate(new Date(at), isDay ? "Etc/UTC" : zone()),
      scales: {
        x: { time: x !== "age", range: ends },
        y: { range: (_, low, high) => [Math.min(0, low * 1.06), high > 0 ? high * 1.06 : 1] },
      },
      axes: [
        { ...axis, space: 64, size: 28, incrs: STEPS[x], values: ticks },
        {
          ...axis,
          size: kind === "duration" ? 56 : 46,
          gap: 6,
          space: 36,
          incrs: kind === "duration" ? LENGTHS : undefined,
          grid: { stroke: () => colour("--grid"), width: 1 },
          values: (_, splits) => splits.map((value) => tick(kind, isStack ? Math.abs(value) : value)),
        },
      ],
      bands: bands.map(({ upper, lower }) => ({ series: [upper + 1, lower + 1], fill: () => colour("--band") })),
      series: [{}, ...series.map(line)],
      hooks: {
        setCursor: [(u) => tell(u.cursor.idx)],
        drawAxes: isDay ? [weekends] : [],
      },
    };
  }

  function ends(_, low, high) {
    if (x === "age") return [low, high];
    return isDay ? [low - DAY / 2, high + DAY / 2] : [Math.min(low, high - 120_000), high];
  }

  /** What uPlot draws. In a stack, these are sums of the values: each bar covers the ones after it, from zero on. */
  function drawable() {
    if (!isStack) return data;
    const sums = data[0].map(() => 0);
    const add = (value, at) => (sums[at] += value ?? 0);
    const below = (value) => value && -value;
    const columns = data.slice(1).map((values, place) => [values, series[place].isBelow ? below : add]).reverse();
    return [data[0], ...columns.map(([values, drawn]) => values.map(drawn)).reverse()];
  }

  function line(one) {
    if (!one.label) return { stroke: "transparent", points: { show: false } };
    const stroke = () => colour(one.colour);
    if (isStack) return { fill: stroke, width: 0, paths: uPlot.paths.bars({ size: [0.8, 40] }), points: { show: false } };
    const points = { show: true, size: 9, width: 2, stroke, fill: () => colour("--paper") };
    if (one.points) return { paths: () => null, points };
    return {
      stroke,
      width: one.width ?? 2,
      dash: one.dash,
      fill: one.fill ? () => colour("--fill") : undefined,
      points: { show: false },
    };
  }

  function ticks(_, splits, __, ___, step) {
    if (x === "age") return splits.map(String);
    if (isDay || step >= DAY) return splits.map((at) => day(new Date(at).toISOString().slice(0, 10)).slice(4));
    return splits.map((at) => time(at, zone(), step < 60_000));
  }

  function size() {
    if (plot.clientWidth === 0) return; // it is not shown
    if (drawn !== null) drawn.setSize({ width: plot.clientWidth, height: plot.clientHeight });
    else if (data[0].length > 1) drawn = new uPlot(options(), drawable(), plot);
  }

  function fillTable() {
    if (!details.open) return;
    const [moments] = data;
    const step = Math.max(1, Math.ceil(moments.length / MOST_ROWS));
    const rows = moments.map((at, place) => [at, place]).filter(([, place]) => (moments.length - 1 - place) % step === 0);
    const head = ["", ...named.map((one) => one.label)].map((label) =>
      label ? h("th", { scope: "col" }, label) : h("td", {}),
    );
    const cells = (place) => named.map((one) => h("td", {}, shown(kind, data[one.place][place])));
    const body = rows.reverse().map(([at, place]) => h("tr", {}, h("th", { scope: "row" }, when(at)), ...cells(place)));
    table.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body)));
  }

  function draw(moments, columns) {
    data = [moments, ...columns];
    element.classList.toggle("is-empty", moments.length < 2);
    if (drawn === null) size();
    else drawn.setData(drawable());
    tell(drawn?.cursor.idx);
    plot.setAttribute("aria-label", `${title}. ${named.map((one) => summary(one)).join(" ")}`);
    fillTable();
  }

  function summary(one) {
    const known = data[one.place].filter((value) => value !== null && value !== undefined);
    if (known.length === 0) return `${one.label}: no data yet.`;
    const [low, high] = [Math.min(...known), Math.max(...known)].map(KINDS[kind].show);
    return `${one.label}: last ${KINDS[kind].show(known.at(-1))}, between ${low} and ${high}.`;
  }

  details.addEventListener("toggle", fillTable);
  const sizes = new ResizeObserver(size);
  sizes.observe(plot);
  const own = { redraw: () => drawn?.redraw() };
  charts.add(own);

  function remove() {
    sizes.disconnect();
    charts.delete(own);
    drawn?.destroy();
  }

  return { element, draw, remove };
}

function tick(kind, value) {
  if (kind === "duration") return brief(value).replace(".0", "");
  if (kind === "share") return `${Math.round(1_000 * value) / 10}%`;
  return value < 10_000 ? value.toLocaleString("en-US") : short(value);
}

function swatch({ colour: name, dash, width = 2, points }, isStack) {
  const path = points
    ? s("path", { d: "M7 5a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", "stroke-width": 2 })
    : s("path", { d: "M1 5H21", "stroke-width": isStack ? 10 : width, "stroke-dasharray": dash?.join(" ") });
  return s("svg", { class: `swatch ${name.slice(2)}`, viewBox: "0 0 22 10", "aria-hidden": "true" }, path);
}

/** Saturdays and Sundays a shade darker: a week has its shape, and a weekend is no fall. */
function weekends(u) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.fillStyle = colour("--weekend");
  for (const at of u.data[0]) {
    if (![0, 6].includes(new Date(at).getUTCDay())) continue;
    const [from, to] = [at - DAY / 2, at + DAY / 2].map((edge) => Math.round(u.valToPos(edge, "x", true)));
    ctx.fillRect(from, bbox.top, to - from, bbox.height);
  }
  ctx.restore();
}
