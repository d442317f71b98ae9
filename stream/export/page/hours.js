// The history of the live numbers, since this server was started.

import { chart } from "./chart.js";
import { h, say } from "./dom.js";
import { length, time, windowName } from "./text.js";

const USERS = "engagement_active_users";
const OPEN = "engagement_open_sessions";
const HOUR = 3_600_000;
const RANGES = [
  ["1 h", HOUR],
  ["6 h", 6 * HOUR],
  ["24 h", 24 * HOUR],
];

/** Returns what renders the chart. */
export function hours(root, note, range) {
  let span = 24 * HOUR;
  let again = () => {};
  let drawn = null;
  range.append(h("legend", { class: "unseen" }, "Span of the chart"));
  for (const [name, length] of RANGES) {
    const button = h("input", { type: "radio", name: "span", checked: length === span ? "" : undefined });
    button.addEventListener("change", () => {
      span = length;
      again();
    });
    range.append(h("label", {}, button, h("span", {}, name)));
  }

  function build(numbers) {
    const { activity } = numbers.about.windows;
    const windows = ["5m", "1h"].filter((window) => activity.includes(window));
    const lines = [
      { colour: "--line-1", width: 2, fill: true },
      { colour: "--line-2", width: 1.5, dash: [7, 4] },
    ];
    const users = windows.map((window, place) => ({
      label: `active, ${windowName(window)}`,
      metric: USERS,
      ...lines[place],
    }));
    const made = chart({
      title: "Active now",
      kind: "count",
      series: [...users, { label: "open sessions", metric: OPEN, colour: "--line-3", width: 1.5, dash: [2, 3] }],
      zone: () => numbers.zone,
      note: "The first points come within seconds.",
    });
    root.append(made.element);
    return { ...made, windows };
  }

  return (numbers, past) => {
    if (numbers.about.windows.activity.length === 0) return;
    drawn ??= build(numbers);
    again = () => {
      const { windows, draw } = drawn;
      const columns = [...windows.map((window) => past.series(USERS, { window })), past.series(OPEN)];
      const all = columns[0].map(([at]) => at);
      const first = all.findIndex((at) => at >= all.at(-1) - span);
      draw(all.slice(Math.max(0, first)), columns.map((points) => points.slice(Math.max(0, first)).map(([, value]) => value)));
    };
    again();
    const since = past.sinceMs;
    if (since === undefined || numbers.atMs === null) {
      say(note, "");
      return;
    }
    const watched = (numbers.atMs - since) / 1_000;
    say(note, `Watching since ${time(since, numbers.zone)} (${length(watched)}): this server remembers at most a day, and nothing from before it started.`);
  };
}
