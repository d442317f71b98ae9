// The tab Lifecycle: users who are new, came back or stayed above zero, those who stay away below zero; and the ratios
// that follow from them.

import { chart } from "./chart.js";
import { closedDays } from "./closed.js";
import { labelText, valuesOf } from "./metrics.js";
import { dayMs } from "./numbers.js";
import { placed } from "./place.js";
import { windowName } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { choice, range, rangeControls, view } from "./view.js";

const USERS = "engagement_lifecycle_users_closed";
const QUICK = "engagement_quick_closed_ratio";
const RETURN = "engagement_return_closed_ratio";
const CHURN = "engagement_inactivity_churn_closed_ratio";
const STATES = ["new", "resurrected", "returning", "dormant"];

const DAY_MS = 86_400_000;

/** Whether a day has a bar: the last one has, and each that is whole windows before it, so that no two bars overlap. */
const isBar = (day, last, window) => ((dayMs(last) - dayMs(day)) / DAY_MS) % Number.parseInt(window, 10) === 0;

/** Returns what loads and draws the tab. */
export function lifecycle(root) {
  let charts = null;

  function build() {
    const users = chart({
      title: "Users by state",
      kind: "count",
      x: "day",
      isStack: true,
      series: STATES.map((state) => ({ label: state, metric: USERS, colour: `--${state}`, isBelow: state === "dormant" })),
      note: "Two bars are needed, each of which compares two windows after the first day. Choose more days or a shorter window.",
    });
    const quick = chart({
      title: "Quick ratio",
      kind: "ratio",
      x: "day",
      series: [
        { label: "new and resurrected over dormant", metric: QUICK, colour: "--line-1", width: 2.5 },
        { label: "as many come as go", colour: "--line-3", dash: [2, 3] },
      ],
      note: "No value on two of these days.",
    });
    const back = chart({
      title: "Return and churn",
      kind: "share",
      x: "day",
      series: [
        { label: "returned", metric: RETURN, colour: "--line-1", width: 2.5 },
        { label: "stayed away", metric: CHURN, colour: "--line-2", dash: [7, 4] },
        {}, {}, {}, {},
      ],
      bands: [{ upper: 3, lower: 2 }, { upper: 5, lower: 4 }],
      note: "No value on two of these days.",
    });
    return { users, quick, back };
  }

  function load(numbers) {
    return Promise.all([USERS, QUICK, RETURN, CHURN].map((metric) => closedDays(metric, range(numbers))));
  }

  return view(root, load, (numbers, [users, quick, returned, churned]) => {
    charts ??= build();
    const windows = valuesOf(users, "window");
    const asked = placed("window", "7d");
    const window = windows.includes(asked) ? asked : windows[0];
    const known = (days, name) => days.map(({ samples }) => samples.find(name, { window }));
    const column = (found, end = "value") => found.map((one) => one[end] ?? null);
    // Days on which it is not known yet who is new are left out, and not drawn as 0.
    const whole = users.filter(({ samples }) => samples.find(USERS, { window, state: "new" }).value !== undefined).map(({ day }) => day);
    const of = (days) => days.filter(({ day }) => whole.includes(day));
    const moments = whole.map(dayMs);
    const bars = of(users).filter(({ day }) => isBar(day, whole.at(-1), window));
    charts.users.draw(
      bars.map(({ day }) => dayMs(day)),
      STATES.map((state) => column(bars.map(({ samples }) => samples.find(USERS, { window, state })))),
    );
    charts.quick.draw(moments, [column(known(of(quick), QUICK)), moments.map(() => 1)]);
    const [back, away] = [known(of(returned), RETURN), known(of(churned), CHURN)];
    charts.back.draw(moments, [column(back), column(away), ...[back, away].flatMap((one) => [column(one, "lower"), column(one, "upper")])]);
    return html`
      <div class="controls">
        ${choice("Window", "window", window, windows.map((value) => [value, labelText("window", value)]))}
        ${rangeControls(numbers)}
      </div>
      ${charts.users.element}
      <p class="about">
        ${window === undefined ? "" : `Each bar compares the window of ${windowName(window)} that ends with a day with the window before it, whose bar is the one before. `}
        Above zero are users who were active: new for the first time, resurrected after a break, or returning because they were
        active in the window before too. Below zero are dormant users, who were active only in the window before.
      </p>
      <div class="pair">${charts.quick.element} ${charts.back.element}</div>`;
  });
}
