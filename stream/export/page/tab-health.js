// The tab Health: users by the band of their health score, and the means, on closed days.

import { chart } from "./chart.js";
import { Unanswered, closedDays } from "./closed.js";
import { dayChart } from "./day-chart.js";
import { terms } from "./definitions.js";
import { dayMs } from "./numbers.js";
import { counted, day as dayText, shown } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { card, chosen, range, rangeControls, view } from "./view.js";

const USERS = "engagement_health_users_closed";
const SCORE = "engagement_health_score_mean_closed";
const COVERAGE = "engagement_health_coverage_mean_closed";
// From the axis upwards.
const BANDS = { healthy: ["--new", "healthy"], neutral: ["--returning", "neutral"], at_risk: ["--dormant", "at risk"] };

const term = terms();

/** Returns what loads and draws the tab. */
export function health(root) {
  const bandsOf = chosen(() => chart({
    title: "Users by health",
    kind: "count",
    x: "day",
    isStack: true,
    series: Object.values(BANDS).map(([colour, label]) => ({ label, metric: USERS, colour })).reverse(),
    note: "No score on two of these days.",
  }));
  const scoreOf = chosen(() => dayChart({ title: "Mean health score", kind: "score", lines: [{ label: "score", metric: SCORE }] }));

  async function load(numbers) {
    const days = range(numbers);
    const [users, scores, coverages] = await Promise.all([USERS, SCORE, COVERAGE].map((metric) => closedDays(metric, days)));
    const told = users.findIndex(({ samples }) => samples.named(USERS).length);
    if (told < 0) throw new Unanswered("nobody has a health score on these days; the setting health.enabled turns scores on");
    return { users: users.slice(told), scores, coverages };
  }

  return view(root, load, (numbers, { users, scores, coverages }) => {
    const { day, samples } = users.at(-1);
    const countOf = (band, of = samples) => of.find(USERS, { band }).value ?? 0;
    const all = Object.keys(BANDS).reduce((sum, band) => sum + countOf(band), 0);
    const bands = bandsOf();
    bands.draw(users.map((one) => dayMs(one.day)), Object.keys(BANDS).map((band) => users.map((one) => countOf(band, one.samples))).reverse());
    const score = scoreOf();
    score.draw(numbers, scores, {});
    const mean = (days, metric) => days.at(-1).samples.find(metric).value;
    return html`
      <div class="controls">${rangeControls(numbers)}</div>
      <ul class="cards">
        ${card(term("At risk", USERS), shown("share", all ? countOf("at_risk") / all : undefined), `${shown("count", countOf("at_risk"))} of ${counted(all, "user")}`)}
        ${card(term("Healthy", USERS), shown("share", all ? countOf("healthy") / all : undefined), `${shown("count", countOf("healthy"))} of ${counted(all, "user")}`)}
        ${card(term("Mean score", SCORE), shown("score", mean(scores, SCORE)), "of 100")}
        ${card(term("Coverage", COVERAGE), shown("share", mean(coverages, COVERAGE)), "of all weights belongs to what is known")}
      </ul>
      <div class="pair">${bands.element} ${score.element}</div>
      <p class="about">
        ${`The cards are of ${dayText(day)}.`}
        A score is the mean of activity, adoption, satisfaction, support and subscription by the weights of the settings,
        as far as they are known of a user. <code>engagement health USER</code> tells what one is made of.
      </p>`;
  });
}
