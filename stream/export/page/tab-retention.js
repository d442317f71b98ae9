// The tab Retention: the triangle of cohorts as a heat map, and the curve of all cohorts beside that of one.

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
// The age that the cohort which is shown first must have reached: the curve of a younger one has too few points.
const OLD_ENOUGH = { day: 7, week: 2 };
// How far the curves may go. The longer they are, the fewer cohorts have all of it.
const LENGTHS = { day: [7, 14, 30, 60], week: [2, 4, 8, 12] };
const METRICS = { day: "engagement_retention_closed_ratio", week: "engagement_weekly_retention_closed_ratio" };
const SPAN = 91;
const SPANS = [[35, "5 weeks"], [91, "3 months"], [364, "1 year"]];

/** Returns what loads and draws the tab. */
export function retention(root) {
  const chartOf = chosen(chart);
  const load = (numbers) => cohorts({ ...range(numbers, SPAN), mode: placed("mode", "on_or_after"), by: placed("by", "week") });

  return view(root, load, (numbers, told) => {
    const unit = told.mode === "weekly" ? "week" : "day";
    const rows = told.cohorts.map((cohort) => ({ ...cohort, ...nameOf(cohort, told.by) }));
    const beside = chosenCohort(rows, unit);
    const lengths = LENGTHS[unit].filter((age) => sizeOf(complete(rows, age)) > 0);
    const length = lengths.find((age) => String(age) === placed("length")) ?? usualLength(rows, lengths);
    const ages = Array.from({ length: length + 1 }, (_, age) => age);
    const whole = complete(rows, length);
    const pooled = ages.map((age) => pool(whole, age));
    const made = chartOf({
      title: "Retention curves",
      kind: "share",
      x: "age",
      ageUnit: unit,
      series: [
        { label: "all cohorts", metric: METRICS[unit], colour: "--line-1", width: 2.5 },
        { label: beside ? `${beside.begins}${beside.ends}` : "one cohort", colour: "--line-2", dash: [7, 4] },
        {}, {},
      ],
      bands: [{ upper: 3, lower: 2 }],
      note: "No cohort is old enough yet.",
    });
    const column = (end) => pooled.map((one) => one[end] ?? null);
    const own = ages.map((age) => {
      const count = beside?.cells[age] ?? null;
      return count === null ? null : (wilson(count, beside.users).value ?? null);
    });
    made.draw(ages, [column("value"), own, column("lower"), column("upper")]);
    return html`
      <div class="controls">
        ${choice("Came back", "mode", told.mode, MODES)}
        ${choice("Cohorts of", "by", told.by, [["week", "a week"], ["day", "a day"]])}
        ${rangeControls(numbers, { usual: SPAN, spans: SPANS })}
      </div>
      ${rows.length ? heatMap({ rows, unit }) : html`<p class="empty">No cohort is known yet: nobody can be called new on the first day.</p>`}
      <p class="about">
        A row is a cohort: the users who were first active on these days. A column is the number of ${unit}s since then.
        Days are calendar days, so a user who comes at 23:59 and again at 00:01 came back on day 1. Cells are empty until
        their days are over.
      </p>
      ${rows.length ? html`
        <div class="controls">
          ${lengths.length > 1 ? choice("Curves to", "length", String(length), lengths.map((age) => [String(age), `${unit} ${age}`])) : ""}
          ${choice("Beside all cohorts", "cohort", beside.from, rows.map(optionOf))}
        </div>
        ${made.element}
        <p class="about">
          The line of all cohorts pools those that have reached ${unit} ${length}, ${shown("count", sizeOf(whole))} of
          ${shown("count", sizeOf(rows))} users, so that it does not move because cohorts drop out of it. Shaded is its 95% interval.
        </p>` : ""}`;
  });
}

const short = (iso) => day(iso).slice(4);

/** The name of a cohort in two parts, as the heat map needs it. */
function nameOf({ from, to }, by) {
  return by === "week" ? { begins: short(from), ends: ` – ${short(to)}` } : { begins: day(from), ends: "" };
}

const optionOf = ({ from, begins, ends, users }) => [from, `${begins}${ends}, ${shown("count", users)} users`];

/** The cohort that is shown beside all: the one in the address, or else the youngest with a curve worth showing. */
function chosenCohort(rows, unit) {
  const asked = placed("cohort");
  const isOldEnough = ({ users, cells }) => users > 0 && cells[OLD_ENOUGH[unit]] !== null;
  return rows.find(({ from }) => from === asked) ?? rows.findLast(isOldEnough) ?? rows[0];
}

/** The cohorts that have reached an age. */
const complete = (rows, age) => rows.filter(({ cells }) => (cells[age] ?? null) !== null);

const sizeOf = (rows) => rows.reduce((total, { users }) => total + users, 0);

/** The longest of some lengths that cohorts with half of the users have reached; of a young stream what any has reached. */
function usualLength(rows, lengths) {
  const longest = (rows[0]?.cells ?? []).findLastIndex((_, age) => sizeOf(complete(rows, age)) > 0);
  return lengths.findLast((age) => 2 * sizeOf(complete(rows, age)) >= sizeOf(rows)) ?? lengths[0] ?? Math.max(longest, 0);
}

/** The share of users of some cohorts who came back at an age. */
const pool = (rows, age) => wilson(rows.reduce((total, { cells }) => total + cells[age], 0), sizeOf(rows));
