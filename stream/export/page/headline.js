// The eight most important numbers, each with its value, interval, trend and sparkline.

import { term } from "./definitions.js";
import { h, say } from "./dom.js";
import { moved } from "./intervals.js";
import { dayBefore, secondsOf } from "./numbers.js";
import { sparkline } from "./pictures.js";
import { KINDS, NO_DATA, counted, day, interval, length, shown, spelt, windowName } from "./text.js";

const ACTIVE = { name: "engagement_active_users", family: "activity", kind: "count", closed: "engagement_active_users_closed" };

// `closed` is the metric of the same number on closed days. A number without one is compared with another window.
const CARDS = [
  { ...ACTIVE, title: "Daily active users", short: "DAU", window: "1d" },
  { ...ACTIVE, title: "Weekly active users", short: "WAU", window: "7d" },
  { ...ACTIVE, title: "Monthly active users", short: "MAU", window: "30d" },
  {
    title: "Stickiness",
    short: "DAU/MAU",
    name: "engagement_stickiness_ratio",
    family: "activity",
    window: "30d",
    kind: "share",
    closed: "engagement_stickiness_closed_ratio",
  },
  {
    title: "Session time",
    short: "median",
    name: "engagement_session_duration_seconds",
    family: "sessions",
    window: "1d",
    labels: { quantile: "0.5" },
    kind: "duration",
    other: "7d",
  },
  {
    title: "Bounce",
    short: "GA4 rule",
    name: "engagement_bounce_ratio",
    family: "sessions",
    window: "1d",
    labels: { rule: "ga4" },
    kind: "share",
    other: "7d",
  },
  { title: "CSAT", short: "satisfied", name: "engagement_csat_ratio", family: "surveys", window: "30d", kind: "share", other: "7d" },
  { title: "NPS", short: "−100 to 100", name: "engagement_nps", family: "surveys", window: "30d", kind: "score", other: "7d" },
];

/** Fill the list; returns what renders it. */
export function headline(list) {
  const cards = CARDS.map(card);
  list.append(...cards.map(({ element }) => element));
  return (numbers, past) => {
    for (const { render } of cards) render(numbers, past);
  };
}

function card(spec) {
  const value = h("p", { class: "value" }, "–");
  const range = h("p", { class: "range" }, NO_DATA);
  const spark = h("div", { class: "sparkline" });
  const span = h("p", { class: "span" });
  const move = h("b");
  const on = h("span");
  const mark = h("span", { class: "mark", hidden: "" });
  const parts = h("p", { class: "parts" });
  const title = h("h3", {}, term(spec.title, spec.name), h("span", { class: "short" }, spec.short));
  const trend = h("p", { class: "trend" }, move, " ", on, " ", mark);
  const element = h("li", { class: "card", "data-card": spec.title }, title, value, range, spark, span, trend, parts);
  let drawn = "";

  function picture({ values, about }) {
    const told = JSON.stringify(values);
    say(span, about);
    if (told === drawn) return;
    drawn = told;
    spark.replaceChildren(...[sparkline(values, `${spec.title}: ${about}${ends(spec.kind, values)}`)].filter(Boolean));
  }

  function render(numbers, past) {
    const window = numbers.window(spec.family, spec.window);
    const found = numbers.live.find(spec.name, { window, ...spec.labels });
    say(value, shown(spec.kind, found.value));
    value.classList.toggle("undefined", found.value === undefined);
    say(range, under(spec, window, found, numbers));
    const told = spec.closed ? weekOnWeek(numbers, spec, window) : onOtherWindow(numbers, spec, window, found);
    say(move, told.move ?? "");
    say(on, told.isUnclear ? `${told.on}, no clear change` : told.on);
    say(mark, told.mark ?? "");
    mark.hidden = !told.mark;
    trend.classList.toggle("soft", !told.move);
    say(parts, told.parts ?? "");
    picture(spec.closed ? ofDays(numbers, spec, window) : ofHours(past, spec, window));
  }

  return { element, render };
}

const NOT_YET = "compared when the backlog is read";

const inLast = (window) => `last ${window === "1d" ? "24 hours" : windowName(window)}`;

function under({ kind }, window, { value, lower, upper, n }, { about, isCatchingUp }) {
  if (value === undefined) return NO_DATA;
  if (lower !== undefined) return `95% interval ${interval(kind, lower, upper)}`;
  if (kind === "duration") return `of ${counted(n, "session")}, ${inLast(window)}`;
  const exact = spelt(value);
  const isExact = about.state === "live" ? "exact" : isCatchingUp ? "read so far" : "not live";
  return `${exact === KINDS.count.show(value) ? isExact : exact}, ${inLast(window)}`;
}

/** The last closed day against the same day a week before. */
function weekOnWeek(numbers, { closed, kind }, window) {
  const series = numbers.closedSeries(closed, window);
  const now = series.at(-1);
  if (now === undefined) return { on: "no closed day yet" };
  if (numbers.isCatchingUp) return { on: NOT_YET };
  if (!now.isWhole) return { on: `no ${windowName(window)} of closed days yet` };
  if (now.value === undefined) return { on: `no data on ${day(now.day)}` };
  const lastWeek = dayBefore(now.day, 7);
  const before = series.find((one) => one.day === lastWeek);
  const told = `${day(now.day)}: ${shown(kind, now.value)}`;
  if (before?.value === undefined) return { on: `no trend yet: no data on ${day(lastWeek)}`, parts: told };
  return {
    move: KINDS[kind].differ(now.value, before.value),
    on: `vs ${day(lastWeek)}`,
    parts: `${told}, before ${shown(kind, before.value)}`,
    ...marked(now, before),
  };
}

/** A number without closed days, in its window against another one: the shorter is the newer. */
function onOtherWindow(numbers, { name, family, kind, labels, other }, window, found) {
  const otherWindow = numbers.window(family, other);
  const second = numbers.live.find(name, { window: otherWindow, ...labels });
  if (found.value === undefined || second.value === undefined || otherWindow === window) return { on: "" };
  if (numbers.isCatchingUp) return { on: NOT_YET };
  const isNewer = secondsOf(window) < secondsOf(otherWindow);
  const [now, before] = isNewer ? [found, second] : [second, found];
  return {
    move: KINDS[kind].differ(now.value, before.value),
    on: isNewer ? `vs the ${inLast(otherWindow)}` : `in the ${inLast(otherWindow)}`,
    parts: `${inLast(otherWindow)}: ${shown(kind, second.value)}`.replace("l", "L"),
    ...marked(now, before),
  };
}

function marked(now, before) {
  const move = moved(now, before);
  return move === "no clear change" ? { isUnclear: true } : { mark: move };
}

function ofDays(numbers, { closed }, window) {
  const values = numbers.closedSeries(closed, window).map((one) => one.value ?? null);
  const first = values.findIndex((value) => value !== null);
  const whole = first < 0 ? [] : values.slice(first);
  const isDrawn = whole.filter((value) => value !== null).length > 1;
  return { values: whole, about: isDrawn ? `${whole.length} closed days` : "" };
}

function ofHours(past, { name, labels }, window) {
  const all = past.series(name, { window, ...labels });
  const points = all.slice(Math.max(0, all.findIndex(([, value]) => value !== null)));
  const values = points.map(([, value]) => value);
  if (values.filter((value) => value !== null).length < 2) return { values: [], about: "" };
  return { values, about: `last ${length((points.at(-1)[0] - points[0][0]) / 1_000)}` };
}

function ends(kind, values) {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return "";
  return `, between ${shown(kind, Math.min(...known))} and ${shown(kind, Math.max(...known))}`;
}
