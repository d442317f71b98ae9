// The tab Days: any metric of closed days over any range, compared with the same weekday of the week before. Days that
// late events have corrected are marked.

import { chart } from "./chart.js";
import { closedDays } from "./closed.js";
import { describe } from "./definitions.js";
import { moved } from "./intervals.js";
import { isClosedOfAll, isWhole, kindOf, titleOf, valuesOf } from "./metrics.js";
import { dayBefore, dayMs } from "./numbers.js";
import { placed } from "./place.js";
import { KINDS, NONE, counted, day as dayText, interval, moment, shown } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { choice, chosen, chosenLabels, labelChoice, range, rangeControls, view } from "./view.js";

const USUAL = "engagement_active_users_closed";
const WEEKDAYS = [
  ["all", "every day"],
  ...["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"].map((name, day) => [String(day), `${name}s`]),
];
const LINE = { label: "value", colour: "--line-1", width: 2.5 };
const BEFORE = { label: "a week before", colour: "--line-2", dash: [7, 4] };
const CORRECTED = { label: "corrected", colour: "--line-2", points: true };

/** Returns what loads and draws the tab. */
export function days(root) {
  const chartOf = chosen(chart);

  async function load(numbers) {
    const { from, to } = range(numbers);
    // A week more, because the first days are compared with the week before too.
    return closedDays(placed("metric", USUAL), { from: dayBefore(from, 7), to });
  }

  return view(root, load, (numbers, told) => {
    const metric = numbers.definitions[placed("metric", USUAL)];
    const values = Object.fromEntries(metric.labels.map((label) => [label, valuesOf(told, label)]));
    const labels = chosenLabels(metric.labels, values, kindOf(metric));
    const kind = kindOf(metric, labels.currency);
    const rows = rowsOf(numbers, told, metric, labels);
    const isCorrected = rows.some((row) => row.corrections);
    const hasIntervals = rows.some((row) => row.lower !== undefined);
    const made = chartOf({
      title: titleOf(metric.name),
      kind,
      x: "day",
      series: [LINE, BEFORE, ...(hasIntervals ? [{}, {}] : []), ...(isCorrected ? [CORRECTED] : [])],
      bands: hasIntervals ? [{ upper: 3, lower: 2 }] : [],
      note: "No value on two of these days.",
      hasTable: false,
    });
    const column = (of) => rows.map((row) => of(row) ?? null);
    const columns = [
      column((row) => row.value),
      column((row) => row.before.value),
      ...(hasIntervals ? [column((row) => row.lower), column((row) => row.upper)] : []),
      ...(isCorrected ? [column((row) => (row.corrections ? row.value : null))] : []),
    ];
    made.draw(rows.map((row) => dayMs(row.day)), columns);
    return html`
      <div class="controls">
        ${choice("Number", "metric", metric.name, options(numbers))}
        ${metric.labels.map((label) => labelChoice(label, values[label], labels[label]))}
        ${choice("Weekday", "weekday", placed("weekday", "all"), WEEKDAYS)}
        ${rangeControls(numbers)}
      </div>
      ${made.element}
      <p class="about">${describe(metric.name)}</p>
      <div class="scroll tall" tabindex="0" role="region" aria-label="The same days as a table">${table(numbers, rows, kind, hasIntervals)}</div>`;
  });
}

function options({ definitions }) {
  const names = Object.values(definitions).filter(isClosedOfAll).map(({ name }) => [name, titleOf(name)]);
  return names.sort(([, one], [, other]) => one.localeCompare(other, "en"));
}

/** What is shown of each day, oldest first: {day, value, lower, upper, before, corrections, changed_at, final}. */
function rowsOf(numbers, told, metric, labels) {
  const valueOf = ({ day, samples }) => (isWhole(numbers.about, day, labels.window) ? samples.find(metric.name, labels) : {});
  const found = new Map(told.map((one) => [one.day, valueOf(one)]));
  const { from } = range(numbers);
  const weekday = placed("weekday", "all");
  return told
    .filter(({ day }) => day >= from && (weekday === "all" || new Date(dayMs(day)).getUTCDay() === Number(weekday)))
    .map((one) => ({ ...one, ...found.get(one.day), before: found.get(dayBefore(one.day, 7)) ?? {} }));
}

function table(numbers, rows, kind, hasIntervals) {
  const column = (text, isWide) => html`<th scope="col" class=${isWide ? "wide" : ""}>${text}</th>`;
  return html`
    <table class="days" aria-label="Days">
      <thead>
        <tr>
          ${column("day")} ${column("value")} ${hasIntervals ? column("95% interval", true) : ""} ${column("a week before", true)}
          ${column("change")} ${column("state", true)}
        </tr>
      </thead>
      <tbody>${[...rows].reverse().map((row) => rowOf(numbers, row, kind, hasIntervals))}</tbody>
    </table>`;
}

function rowOf(numbers, row, kind, hasIntervals) {
  const isCompared = typeof row.value === "number" && typeof row.before.value === "number";
  const move = isCompared ? moved(row, row.before) : undefined;
  const isClear = move !== undefined && move !== "no clear change";
  const state = [row.corrections && corrected(row, numbers.zone), row.final ? "final" : "may still change"].filter(Boolean).join("; ");
  const range = interval(kind, row.lower, row.upper);
  const before = shown(kind, row.before.value);
  return html`
    <tr class=${row.corrections ? "corrected" : ""}>
      <th scope="row">${dayText(row.day)}<span class="narrow">${state}</span></th>
      <td><b>${shown(kind, row.value)}</b><span class="narrow">${range}</span></td>
      ${hasIntervals ? html`<td class="wide soft">${range || NONE}</td>` : ""}
      <td class="wide soft">${before}</td>
      <td>${isCompared ? KINDS[kind].differ(row.value, row.before.value) : NONE}${isClear ? html` <span class="mark">${move}</span>` : ""}<span class="narrow">${before === NONE ? "" : `from ${before.replace("\u00a0", " ")}`}</span></td>
      <td class="wide soft">${state}</td>
    </tr>`;
}

/** How often a day was corrected, and when last: to the minute, and without the zone, which the page names. */
function corrected({ corrections, changed_at: changedAt }, zone) {
  const often = corrections === 1 ? "once" : counted(corrections, "time");
  return `corrected ${often}, last ${moment(Date.parse(changedAt), zone).replace(/:\d\d .*/, "")}`;
}
