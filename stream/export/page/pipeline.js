// The pipeline: how fast events are read, their outcomes, and how many wait.

import { chart } from "./chart.js";
import { term } from "./definitions.js";
import { h, say } from "./dom.js";
import { NONE, NO_DATA, ago, counted as many, shown } from "./text.js";

const EVENTS = "engagement_events_total";
const OUTCOMES = ["applied", "duplicate", "late", "future", "invalid", "bot", "rekeyed", "erased"];
// With more columns the table takes the whole width instead of standing beside the chart.
const MOST_BESIDE = 6;

/** Returns what renders the panel. */
export function pipeline(root, note) {
  const body = h("tbody");
  const table = h("table", { class: "figures stacks", "aria-label": "Events read" }, body);
  const facts = h("ul", { class: "facts" });
  const heading = h("h3", {}, term("Events read", EVENTS), h("span", { class: "short" }, "since the state began"));
  let zone = "UTC";
  const speed = chart({
    title: "Events a second",
    kind: "mean",
    series: [{ label: "mean of a minute", metric: EVENTS, colour: "--line-1", width: 1.5, fill: true }],
    zone: () => zone,
    note: "The first points come within seconds.",
  });
  const block = h("div", { class: "block" }, heading, table, facts);
  root.append(block, speed.element);
  let drawn = "";

  return (numbers, past) => {
    zone = numbers.zone;
    const points = past.rate(EVENTS);
    speed.draw(points.map(([at]) => at), [points.map(([, value]) => value)]);
    const made = rows(numbers);
    const told = made.map((row) => row.textContent).join();
    if (told !== drawn) {
      drawn = told;
      body.replaceChildren(...made);
      block.classList.toggle("across", made[0].cells.length > MOST_BESIDE);
    }
    const listed = waiting(numbers);
    if (facts.textContent !== listed.join("")) facts.replaceChildren(...listed.map((text) => h("li", {}, text)));
    const [owned, all] = ["engagement_partitions_owned", "engagement_partitions"].map((name) => numbers.health.find(name).value);
    say(note, all === undefined ? "" : `${owned} of ${all} partitions report.`);
  };
}

/** A row for each topic: there may be many of them, but never more outcomes than these. */
function rows(numbers) {
  const counted = numbers.health.named(EVENTS);
  const topics = [...new Set(counted.map((sample) => sample.labels.topic))];
  if (topics.length === 0) return [h("tr", {}, h("td", {}, NO_DATA))];
  const has = (outcome) => counted.some((sample) => sample.labels.outcome === outcome && sample.value > 0);
  const seen = OUTCOMES.filter((outcome) => outcome === "applied" || has(outcome));
  const countOf = (topic, outcome) => shown("count", numbers.health.find(EVENTS, { topic, outcome }).value);
  const cell = (name, text) => h("td", { "data-of": name }, text);
  return [
    h("tr", {}, h("td"), ...[...seen, "newest"].map((name) => h("th", { scope: "col" }, name))),
    ...topics.map((topic) => h(
      "tr",
      {},
      h("th", { scope: "row" }, topic),
      ...seen.map((outcome) => cell(outcome, countOf(topic, outcome))),
      cell("newest", newest(numbers, topic)),
    )),
  ];
}

function newest(numbers, topic) {
  const { value } = numbers.health.find("engagement_event_time_seconds", { topic });
  return value === undefined || numbers.atMs === null ? NONE : ago(numbers.atMs / 1_000 - value);
}

function waiting(numbers) {
  const facts = [];
  const lag = numbers.health.named("engagement_lag_events");
  if (lag.length) {
    const left = lag.reduce((sum, sample) => sum + sample.value, 0);
    facts.push(left ? `${many(left, "record")} ${left === 1 ? "waits" : "wait"} in Kafka` : "No record waits in Kafka");
  }
  for (const sample of numbers.health.named("engagement_dead_letters_total").filter(({ value }) => value > 0)) {
    facts.push(`${many(sample.value, "dead letter")} of ${sample.labels.topic}: ${sample.labels.reason.replaceAll("_", " ")}`);
  }
  return facts;
}
