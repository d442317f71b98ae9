// Charts of closed days: some numbers over time, or one and its interval.

import { chart } from "./chart.js";
import { closedDays } from "./closed.js";
import { isWhole } from "./metrics.js";
import { dayMs } from "./numbers.js";
import { html } from "./vendor/lit-html.js";
import { range, rangeControls } from "./view.js";

// More lines could not be told apart.
export const LINES = [
  { colour: "--line-1", width: 2.5 },
  { colour: "--line-2", dash: [7, 4] },
  { colour: "--line-4" },
  { colour: "--line-5", dash: [2, 3] },
  { colour: "--line-3", dash: [10, 3, 2, 3] },
];

/** `lines` are {label, metric, labels}. */
export function dayChart({ title, kind = "share", lines, note = "No value on two of these days." }) {
  const ends = lines.length === 1 ? ["lower", "upper"] : [];
  const made = chart({
    title,
    kind,
    x: "day",
    series: [...lines.map((line, place) => ({ ...LINES[place], ...line })), ...ends.map(() => ({}))],
    bands: ends.length ? [{ upper: 2, lower: 1 }] : [],
    note,
  });

  /** Draw days that have the numbers; `labels` are those that all lines have. */
  function draw(numbers, days, labels) {
    const whole = days.filter(({ day }) => isWhole(numbers.about, day, labels.window));
    const found = whole.map(({ samples }) => lines.map(({ metric, labels: own }) => samples.find(metric, { ...labels, ...own })));
    // Days of which nothing is known yet are left out, and not drawn as 0.
    const first = found.findIndex((values) => values.some(({ value }) => value !== undefined));
    const known = first < 0 ? [] : found.slice(first);
    const column = (place, end = "value") => known.map((values) => values[place][end] ?? null);
    made.draw(
      whole.slice(whole.length - known.length).map(({ day }) => dayMs(day)),
      [...lines.map((_, place) => column(place)), ...ends.map((end) => column(0, end))],
    );
  }

  return { ...made, draw };
}

/** Returns what loads the days that some charts show, and returns a template of them; all have the same `labels`. */
export function dayCharts(specs) {
  const charts = specs.map(({ lines, ...spec }) => ({ lines, made: dayChart({ lines, ...spec }) }));
  return async (numbers, labels) => {
    if (numbers.about.last_closed_day === null) return "";
    const days = range(numbers);
    await Promise.all(charts.map(async ({ lines, made }) => {
      const metrics = [...new Set(lines.map(({ metric }) => metric))];
      const [first, ...others] = await Promise.all(metrics.map((metric) => closedDays(metric, days)));
      for (const other of others) other.forEach(({ samples }, place) => first[place]?.samples.put(samples.all()));
      made.draw(numbers, first, labels);
    }));
    return html`
      <div class="controls">${rangeControls(numbers)}</div>
      <div class="pair">${charts.map(({ made }) => made.element)}</div>`;
  };
}
