// Days: any number of closed days over any range, beside the same weekday of the week before, with its corrections.

import { chart } from "./chart.js";
import { closedDays } from "./closed.js";
import { moved } from "./intervals.js";
import { isClosedOfAll, isWhole, kindOf, labelText, labelTitle, titleOf, usualValue, valuesOf } from "./metrics.js";
import { dayBefore, dayMs } from "./numbers.js";
import { placed } from "./place.js";
import { KINDS, NONE, counted, day as dayText, interval, moment, shown } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { choice, chosen, range, rangeControls, view } from "./view.js";

const USUAL = "engagement_active_users_closed";
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const LINE = { label: "value", colour: "--line-1", width: 2.5 };
const BEFORE = { label: "a week before", colour: "--line-2", dash: [7, 4] };
const CORRECTED = { label: "corrected", colour: "--line-2", points: true };

/** Returns what loads and draws the tab. */
export function days(root) {
  const chartOf = chosen(chart);

  async function load(numbers) {
    const { from, to } = range(numbers);
    // A week more, for the first days are compared too.
    return closedDays(placed("metric", USUAL), { from: dayBefore(from, 7), to });
  }

  return view(root, load, (numbers, told) => {
    const metric = numbers.definitions[placed("metric", USUAL)];
    const kind = kindOf(metric);
    const labels = Object.fromEntries(metric.labels.map((label) => [label, chosenValue(told, label, kind)]));
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
        ${metric.labels.map((label) => {
          const values = valuesOf(told, label);
          return values.length ? choice(labelTitle(label), label, labels[label], values.map((value) => [value, labelText(label, value)])) : "";
        })}
        ${choice("Weekday", "weekday", placed("weekday", "all"), [["all", "every day"], ...WEEKDAYS.map((name, place) => [String(place), `${name}s`])])}
        ${rangeControls(numbers)}
      </div>
      ${made.element}
      <p class="about">${metric.definition}</p>
      <div class="scroll tall" tabindex="0" role="region" aria-label="The same days as a table">${table(numbers, rows, kind, hasIntervals)}</div>`;
  });
}

function options({ definitions }) {
  const names = Object.values(definitions).filter(isClosedOfAll).map(({ name }) => [name, titleOf(name)]);
  return names.sort(([, one], [, other]) => one.localeCompare(other, "en"));
}

function chosenValue(told, label, kind) {
  const values = valuesOf(told, label);
  const asked = placed(label);
  return values.includes(asked) ? asked : usualValue(label, values, kind);
}

/** What is shown of each day, oldest first. */
function rowsOf(numbers, told, metric, labels) {
  const found = new Map(told.map((one) => [one.day, isWhole(numbers.about, one.day, labels.window) ? one.samples.find(metric.name, labels) : {}]));
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
  const state = row.corrections
    ? `corrected ${row.corrections === 1 ? "once" : counted(row.corrections, "time")}, last ${moment(Date.parse(row.changed_at), numbers.zone).replace(/:\d\d .*/, "")}`
    : "";
  return html`
    <tr class=${row.corrections ? "corrected" : ""}>
      <th scope="row">${dayText(row.day)}<span class="narrow">${state}</span></th>
      <td><b>${shown(kind, row.value)}</b></td>
      ${hasIntervals ? html`<td class="wide soft">${interval(kind, row.lower, row.upper) || NONE}</td>` : ""}
      <td class="wide soft">${shown(kind, row.before.value)}</td>
      <td>${isCompared ? KINDS[kind].differ(row.value, row.before.value) : NONE}${isClear ? html` <span class="mark">${move}</span>` : ""}</td>
      <td class="wide soft">${[state, row.final ? "final" : "may still change"].filter(Boolean).join("; ")}</td>
    </tr>`;
}
