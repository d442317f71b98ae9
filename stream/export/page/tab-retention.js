// Retention: the triangle of cohorts as a heat map, and the curve of all of them beside that of one.

import { chart } from "./chart.js";
import { cohorts } from "./closed.js";
import { heatMap } from "./heat.js";
import { wilson } from "./intervals.js";
import { placed } from "./place.js";
import { day, shown } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { choice, chosen, range, rangeControls, view } from "./view.js";

const MODES = [
  ["on_or_after", "that day or later"],
  ["exact", "exactly that day"],
  ["weekly", "in that week"],
];
// A younger cohort has no curve yet that could be seen.
const OLD_ENOUGH = { day: 7, week: 2 };
const SPAN = 91;
const SPANS = [[35, "5 weeks"], [91, "3 months"], [364, "1 year"]];

/** Returns what loads and draws the tab. */
export function retention(root) {
  const chartOf = chosen(chart);
  const load = (numbers) => cohorts({ ...range(numbers, SPAN), mode: placed("mode", "on_or_after"), by: placed("by", "week") });

  return view(root, load, (numbers, told) => {
    const unit = told.mode === "weekly" ? "week" : "day";
    const rows = told.cohorts.map((cohort) => ({ ...cohort, ...(told.by === "week" ? { begins: short(cohort.from), ends: ` – ${short(cohort.to)}` } : { begins: day(cohort.from), ends: "" }) }));
    const asked = placed("cohort");
    const beside = rows.find(({ from }) => from === asked) ?? rows.findLast(({ users, cells }) => users > 0 && cells[OLD_ENOUGH[unit]] !== null) ?? rows[0];
    const ages = rows.length ? rows[0].cells.map((_, age) => age).filter((age) => rows.some(({ cells }) => cells[age] !== null)) : [];
    const pooled = ages.map((age) => pool(rows, age));
    const made = chartOf({
      title: "Retention curves",
      kind: "share",
      x: "age",
      ageUnit: unit,
      series: [
        { label: "all cohorts", metric: unit === "week" ? "engagement_weekly_retention_closed_ratio" : "engagement_retention_closed_ratio", colour: "--line-1", width: 2.5 },
        { label: beside ? `${beside.begins}${beside.ends}` : "one cohort", colour: "--line-2", dash: [7, 4] },
        {}, {},
      ],
      bands: [{ upper: 3, lower: 2 }],
      note: "No cohort is old enough yet.",
    });
    const column = (end) => pooled.map((one) => one[end] ?? null);
    const own = ages.map((age) => (beside && beside.cells[age] !== null ? (wilson(beside.cells[age], beside.users).value ?? null) : null));
    made.draw(ages, [column("value"), own, column("lower"), column("upper")]);
    return html`
      <div class="controls">
        ${choice("Came back", "mode", told.mode, MODES)}
        ${choice("Cohorts of", "by", told.by, [["week", "a week"], ["day", "a day"]])}
        ${rangeControls(numbers, { usual: SPAN, spans: SPANS })}
      </div>
      ${rows.length ? heatMap({ rows, unit }) : html`<p class="empty">No cohort is known yet: nobody can be called new on the first day.</p>`}
      <p class="about">
        A row is of the users first active in those days, a column of the ${unit}s since. Days are calendar days: who comes at 23:59 and again at 00:01
        was there on day 1. What is not over yet is empty.
      </p>
      ${rows.length ? html`
        <div class="controls">${choice("Beside all cohorts", "cohort", beside?.from, rows.map(({ from, begins, ends, users }) => [from, `${begins}${ends}, ${shown("count", users)} users`]))}</div>
        ${made.element}
        <p class="about">All cohorts: at each age of those that have reached it, weighted by their size; shaded is the 95% interval.</p>` : ""}`;
  });
}

const short = (iso) => day(iso).slice(4);

/** Of the cohorts that have reached an age, the share that came back. */
function pool(rows, age) {
  const reached = rows.filter(({ cells }) => cells[age] !== null);
  const sum = (of) => reached.reduce((total, row) => total + of(row), 0);
  return wilson(sum(({ cells }) => cells[age]), sum(({ users }) => users));
}
