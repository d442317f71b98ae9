// Closed days: active users and stickiness over the last weeks.

import { chart } from "./chart.js";
import { say } from "./dom.js";
import { dayMs } from "./numbers.js";
import { day, windowName } from "./text.js";

const USERS = "engagement_active_users_closed";
const STICKINESS = "engagement_stickiness_closed_ratio";
const SMOOTHED = "engagement_stickiness_smoothed_closed_ratio";
const NAMES = { "1d": "DAU", "7d": "WAU", "30d": "MAU" };
const LINES = [
  { colour: "--line-1", width: 2.5, fill: true },
  { colour: "--line-2", width: 2, dash: [7, 4] },
  { colour: "--line-3", width: 2, dash: [2, 3] },
];

/** Returns what renders the two charts. */
export function days(root, note) {
  let charts = null;

  function build(numbers) {
    const windows = ["1d", "7d", "30d"].filter((window) => window === "1d" || numbers.about.windows.activity.includes(window));
    const month = numbers.window("activity", "30d");
    const weeks = numbers.window("activity", "28d");
    const users = chart({
      title: "Active users",
      kind: "count",
      x: "day",
      series: windows.map((window, place) => ({ label: NAMES[window], metric: USERS, ...LINES[place] })),
      note: "No whole day has closed yet: the first one that was seen may be a part. A day closes some time after the midnight that ends it.",
    });
    const stickiness = chart({
      title: "Stickiness",
      kind: "share",
      x: "day",
      series: [
        { label: `DAU / ${NAMES[month] ?? month}`, metric: STICKINESS, colour: "--line-1", width: 2.5 },
        { label: `smoothed, ${windowName(weeks)}`, metric: SMOOTHED, colour: "--line-2", dash: [7, 4] },
        {},
        {},
      ],
      bands: [{ upper: 3, lower: 2 }],
      note: `No closed day yet whose ${windowName(month)} are whole.`,
    });
    root.append(users.element, stickiness.element);
    return { windows, month, weeks, users, stickiness };
  }

  return (numbers) => {
    if (numbers.about.windows.activity.length === 0) return;
    charts ??= build(numbers);
    const { windows, month, weeks, users, stickiness } = charts;
    const moments = numbers.closed.map((one) => dayMs(one.day));
    const column = (series, end = "value") => series.map((one) => one[end] ?? null);
    const since = numbers.about.first_day;
    const isWhole = (at) => at > dayMs(since);
    users.draw(
      moments.filter(isWhole),
      windows.map((window) => column(numbers.closedSeries(USERS, window)).filter((_, place) => isWhole(moments[place]))),
    );
    const daily = numbers.closedSeries(STICKINESS, month);
    const smoothed = numbers.closedSeries(SMOOTHED, weeks);
    const first = [...daily, ...smoothed].filter((one) => one.value !== undefined).map((one) => one.day).sort()[0];
    const whole = (series) => series.filter((one) => first !== undefined && one.day >= first);
    stickiness.draw(
      whole(daily).map((one) => dayMs(one.day)),
      [column(whole(daily)), column(whole(smoothed)), column(whole(daily), "lower"), column(whole(daily), "upper")],
    );
    // After the state was reset no day is known, but this page may still have days from before.
    const told = numbers.closed.length && since !== null ? `Shaded: weekends, and the 95% interval. Each line begins where its days are whole; the first seen is ${day(since)}.` : "";
    say(note, told);
  };
}
