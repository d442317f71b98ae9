// Whether the numbers can be trusted now, in words and with the server's reasons.

import { h, say } from "./dom.js";
import { length, time } from "./text.js";

const WORDS = {
  connecting: ["Connecting", () => "asking the server for its numbers"],
  live: ["Live", (numbers) => (numbers.atMs === null ? "no event yet" : `updated every second${waiting(numbers, 1_000)}`)],
  starting: ["Starting", () => "no number is shown before every partition has reported"],
  rebalancing: ["Rebalancing", (numbers) => `partitions change hands again and again, so little is read${waiting(numbers, 1)}`],
  recovering: ["Recovering", (numbers) => `state is being read back${remaining(numbers)}; until then numbers are missing or stand still`],
  behind: ["Catching up", (numbers) => `a backlog is being read${waiting(numbers, 1)}; numbers change until it is done`],
  ahead: ["Standing still", () => "part of the stream was counted by a wrong clock, and waits until that time comes"],
  stale: ["Stale", () => "part of the stream is silent or can't go on: what happens there is missing"],
  mismatch: ["Mismatch", () => "what the workers report does not fit, so no number is shown"],
};

/** Returns what renders the state. `cutSince` is when the connection to the server was lost, in milliseconds, or null;
 *  `isPaused` whether nothing is followed, for nobody looks. */
export function state(root) {
  // Screen readers announce changes of the words, but not those of the reasons, which may change every second.
  const title = root.querySelector("b");
  const explanation = root.querySelector("span");
  const list = root.querySelector("ul");
  let drawn = "";
  return (numbers, cutSince, isPaused) => {
    const { about, zone } = numbers;
    const word = isPaused ? "paused" : cutSince === null ? about.state : "cut";
    const reasons = word === about.state ? [...about.unready, ...about.notes] : [];
    const [head, text] = words();
    const told = JSON.stringify([word, head, text, reasons]);
    if (told === drawn) return;
    drawn = told;
    root.dataset.state = word;
    document.body.dataset.trusted = word === "live" ? "yes" : "no";
    document.title = word === "live" ? "Engagement, live" : `${head} – Engagement`;
    say(title, head);
    say(explanation, text);
    list.replaceChildren(...reasons.map((reason) => h("li", {}, reason)));

    function words() {
      if (word === "paused") return ["Paused", "nothing is read while nobody looks at this page"];
      if (word === "cut") return [`Not live since ${time(cutSince, zone, true)}`, "the stream of changes is cut; trying again"];
      const [name, explain] = WORDS[about.state] ?? [about.state, () => ""];
      return [name, explain(numbers)];
    }
  };
}

function waiting(numbers, least) {
  const left = numbers.health.named("engagement_lag_events").reduce((sum, sample) => sum + sample.value, 0);
  // It is rounded, because otherwise a screen reader would announce it each second.
  return left >= least ? `, about ${Number(left.toPrecision(1)).toLocaleString("en-US")} records to go` : "";
}

function remaining(numbers) {
  const seconds = numbers.health.named("engagement_recovery_remaining_seconds").map((sample) => sample.value);
  return seconds.length ? `, about ${length(10 * Math.ceil(Math.max(...seconds) / 10))} left` : "";
}
