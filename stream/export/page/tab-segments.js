// The tab Segments: any metric of closed days that is counted by segment. `segments.js` has the active users of now.

import { chart } from "./chart.js";
import { Unanswered, closedDays } from "./closed.js";
import { LINES } from "./day-chart.js";
import { describe } from "./definitions.js";
import { forest } from "./forest.js";
import { isClosedBySegment, isWhole, kindOf, titleOf, valuesOf } from "./metrics.js";
import { dayMs } from "./numbers.js";
import { placed } from "./place.js";
import { TITLES } from "./segments.js";
import { day, windowName } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { choice, chosen, chosenLabels, labelChoice, range, rangeControls, view } from "./view.js";

const USUAL = "engagement_segment_active_users_closed";

/** Returns what loads and draws the numbers of closed days. */
export function closedSegments(root) {
  const chartOf = chosen(chart);
  const tableOf = chosen((spec) => forest({ ...spec, labelled: String, rows: "value" }));

  async function load(numbers) {
    const counted = segmentsOf(numbers);
    if (counted.length === 0) throw new Unanswered("nothing is counted by segment; the setting segments.by names what is");
    const segment = placed("segment", counted[0]);
    return { segment, days: await closedDays(placed("number", USUAL), { ...range(numbers), segment }) };
  }

  return view(root, load, (numbers, { days, segment }) => {
    const metric = numbers.definitions[placed("number", USUAL)];
    const kind = kindOf(metric);
    const others = metric.labels.filter((label) => label !== "segment" && label !== "value");
    const values = Object.fromEntries(others.map((label) => [label, valuesOf(days, label)]));
    const labels = chosenLabels(others, values, kind);
    const newest = days.at(-1);
    const rows = (newest?.samples.named(metric.name) ?? [])
      .filter((sample) => others.every((label) => sample.labels[label] === labels[label]))
      .map(({ labels: { value } }) => ({ label: value, ...newest.samples.find(metric.name, { ...labels, segment, value }) }));
    const drawn = rows.slice(0, LINES.length).map(({ label }) => label);
    const made = chartOf({
      title: titleOf(metric.name),
      kind,
      x: "day",
      series: drawn.map((label, place) => ({ label, ...LINES[place] })),
      note: "No value on two of these days.",
    });
    const whole = days.filter((one) => isWhole(numbers.about, one.day, labels.window));
    const line = (value) => whole.map(({ samples }) => samples.find(metric.name, { ...labels, segment, value }).value ?? null);
    made.draw(whole.map((one) => dayMs(one.day)), drawn.map(line));
    const window = labels.window === undefined ? "" : `, ${windowName(labels.window)}`;
    const title = newest ? `${day(newest.day)}${window}` : "No day";
    const table = tableOf({ title, metric: metric.name, short: TITLES[segment] ?? segment, kind });
    table.render(rows, { reference: null });
    return html`
      <div class="controls">
        ${choice("Number", "number", metric.name, options(numbers))}
        ${choice("Segment", "segment", segment, segmentsOf(numbers).map((name) => [name, TITLES[name] ?? name]))}
        ${others.map((label) => labelChoice(label, values[label], labels[label]))}
        ${rangeControls(numbers)}
      </div>
      <div class="pair">${made.element} ${table.element}</div>
      <p class="about">${describe(metric.name)}</p>`;
  });
}

function options({ definitions }) {
  return Object.values(definitions).filter(isClosedBySegment).map(({ name }) => [name, titleOf(name)]);
}

/** The segments that this deployment counts. */
const segmentsOf = ({ live }) => [...new Set(live.named("engagement_segment_active_users").map(({ labels }) => labels.segment))];
