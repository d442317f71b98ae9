// Sessions: how long, how many bounce under either rule, how many views.

import { term } from "./definitions.js";
import { forest } from "./forest.js";
import { h, say } from "./dom.js";
import { byLength } from "./numbers.js";
import { interval, scale } from "./pictures.js";
import { KINDS, NONE, clock, shown, windowShort } from "./text.js";

const DURATION = "engagement_session_duration_seconds";
const BOUNCE = "engagement_bounce_ratio";
const QUANTILES = ["0.5", "0.75", "0.9", "0.95", "0.99"];
const PER_SESSION = [
  ["Sessions", "engagement_sessions", (value) => shown("count", value)],
  ["Views per session", "engagement_page_views_per_session", (value) => shown("mean", value)],
  ["Mean time", "engagement_session_duration_mean_seconds", (value) => (value === undefined ? NONE : clock(value))],
  ["Mean engaged time", "engagement_session_engaged_mean_seconds", (value) => (value === undefined ? NONE : clock(value))],
];

/** Returns what renders the panel. */
export function sessions(root, note) {
  const rules = [
    { rule: "ga4", made: forest({ title: "Bounce", short: "GA4 rule", metric: BOUNCE, kind: "share" }) },
    { rule: "single_page", made: forest({ title: "Bounce", short: "single-page rule", metric: BOUNCE, kind: "share" }) },
  ];
  const durations = table("Session time", "minutes:seconds; the line runs from the median to 99%", DURATION);
  const counts = table("Per session", "times in minutes:seconds", "engagement_sessions");
  root.append(durations.element, counts.element, ...rules.map(({ made }) => made.element));

  return (numbers) => {
    const windows = byLength(numbers.about.windows.sessions);
    if (windows.length === 0) return;
    durations.render(durationRows(numbers, windows));
    counts.render(countRows(numbers, windows));
    for (const { rule, made } of rules) {
      made.render(windows.map((window) => ({ label: window, ...numbers.live.find(BOUNCE, { window, rule }) })));
    }
    const open = numbers.live.find("engagement_open_sessions").value;
    say(note, open === undefined ? "" : `${KINDS.count.show(open)} open now. A session counts when it has closed, in the window it closed in.`);
  };
}

function table(title, short, metric) {
  const made = h("table", { class: "figures", "aria-label": title });
  const heading = h("h3", {}, term(title, metric), h("span", { class: "short" }, short));
  let drawn = "";
  return {
    element: h("div", { class: "block" }, heading, made),
    render({ told, rows }) {
      if (told === drawn) return;
      drawn = told;
      made.replaceChildren(...rows());
    },
  };
}

function durationRows(numbers, windows) {
  const found = windows.map((window) => QUANTILES.map((quantile) => numbers.live.find(DURATION, { window, quantile }).value));
  const known = found.flat().filter((value) => value !== undefined);
  const names = ["median", ...QUANTILES.slice(1).map((quantile) => `${Math.round(100 * quantile)}%`)];
  const heads = names.map((name) => h("th", { scope: "col" }, name));
  const rows = () => {
    const at = scale(Math.max(1, Math.min(...known)), Math.max(2, ...known), true);
    return [
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "window")), h("td", { class: "drawn" }), ...heads)),
      h("tbody", {}, ...windows.map((window, place) => durationRow(window, found[place], at))),
    ];
  };
  return { told: JSON.stringify([windows, found]), rows };
}

function durationRow(window, values, at) {
  const [median, ...rest] = values;
  const isKnown = median !== undefined;
  const picture = isKnown ? interval(at, { value: median, lower: median, upper: rest.at(-1), ticks: rest }) : "";
  const cells = values.map((value) => h("td", {}, value === undefined ? NONE : clock(value)));
  return h("tr", {}, h("th", { scope: "row" }, windowShort(window)), h("td", { class: "drawn" }, picture), ...cells);
}

function countRows(numbers, windows) {
  const found = PER_SESSION.map(([, name, show]) => windows.map((window) => show(numbers.live.find(name, { window }).value)));
  const many = windows.length > 4 ? "many" : undefined;
  const rows = () => [
    h("thead", {}, h("tr", {}, h("td"), ...windows.map((window) => h("th", { scope: "col", class: many }, windowShort(window))))),
    h(
      "tbody",
      {},
      ...PER_SESSION.map(([title], row) =>
        h("tr", {}, h("th", { scope: "row" }, title), ...found[row].map((text) => h("td", { class: many }, text))),
      ),
    ),
  ];
  return { told: JSON.stringify([windows, found]), rows };
}
