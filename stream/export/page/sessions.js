// Sessions: their duration, the bounce ratio by both rules, and their page views.

import { term } from "./definitions.js";
import { forest } from "./forest.js";
import { h, say } from "./dom.js";
import { byLength } from "./numbers.js";
import { KINDS, NONE, clock, shown, windowShort } from "./text.js";
import { quantiles, times } from "./times.js";

const DURATION = "engagement_session_duration_seconds";
const BOUNCE = "engagement_bounce_ratio";
const spell = (value) => (value === undefined ? NONE : clock(value));
const count = (value) => shown("count", value);
const mean = (value) => shown("mean", value);
const share = (value) => shown("share", value);
const COUNTS = [
  ["New users", "engagement_new_users", count],
  ["Sessions", "engagement_sessions", count],
  ["Engaged sessions", "engagement_engaged_session_ratio", share],
  ["Unprompted sessions", "engagement_unprompted_session_ratio", share],
  ["Visitors who came again", "engagement_repeat_visit_ratio", share],
  ["Steps, an active user", "engagement_steps_per_active_user", mean],
  ["Views per session", "engagement_page_views_per_session", mean],
  ["Mean time", "engagement_session_duration_mean_seconds", spell],
  ["Mean engaged time", "engagement_session_engaged_mean_seconds", spell],
  ["Time on site, a visitor", "engagement_time_on_site_seconds", spell],
];

/** Returns what renders the panel. */
export function sessions(root, note) {
  const rules = [
    { rule: "ga4", made: forest({ title: "Bounce", short: "GA4 rule", metric: BOUNCE, kind: "share" }) },
    { rule: "single_page", made: forest({ title: "Bounce", short: "single-page rule", metric: BOUNCE, kind: "share" }) },
  ];
  const durations = times({
    title: "Session time",
    name: term("Session time", DURATION),
    short: "minutes:seconds; the line runs from the median to 99%",
    spell: clock,
  });
  const counts = countTable();
  root.append(durations.element, counts.element, ...rules.map(({ made }) => made.element));

  return (numbers) => {
    const windows = byLength(numbers.about.windows.sessions);
    if (windows.length === 0) return;
    durations.render(windows.map((window) => [windowShort(window), quantiles(numbers.live, DURATION, window)]));
    counts.render(numbers, windows);
    for (const { rule, made } of rules) {
      made.render(windows.map((window) => ({ label: window, ...numbers.live.find(BOUNCE, { window, rule }) })));
    }
    const open = numbers.live.find("engagement_open_sessions").value;
    say(note, open === undefined ? "" : `${KINDS.count.show(open)} open now. A session counts when it has closed, in the window it closed in.`);
  };
}

/** Made once, for its rows tell what they mean; then only the numbers change. */
function countTable() {
  const table = h("table", { class: "figures", "aria-label": "Visits" });
  const heading = h("h3", {}, "Visits", h("span", { class: "short" }, "times in minutes:seconds"));
  let cells = null;

  function build(windows) {
    const many = windows.length > 4 ? "many" : undefined;
    const heads = windows.map((window) => h("th", { scope: "col", class: many }, windowShort(window)));
    cells = COUNTS.map(() => windows.map((window) => h("td", { class: many, "data-of": windowShort(window) }, NONE)));
    const rows = COUNTS.map(([title, name], row) => h("tr", {}, h("th", { scope: "row" }, term(title, name)), ...cells[row]));
    table.append(h("thead", {}, h("tr", {}, h("td"), ...heads)), h("tbody", {}, ...rows));
  }

  function render(numbers, windows) {
    if (cells === null) build(windows);
    COUNTS.forEach(([, name, show], row) => {
      windows.forEach((window, column) => say(cells[row][column], show(numbers.live.find(name, { window }).value)));
    });
  }

  return { element: h("div", { class: "block" }, heading, table), render };
}
