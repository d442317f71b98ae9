// The tab Adoption: the product adoption score, and the features that it is made of.

import { LINES, dayCharts } from "./day-chart.js";
import { terms } from "./definitions.js";
import { forest } from "./forest.js";
import { byLength } from "./numbers.js";
import { shown, windowName } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { card, chosen, nothingOf, view, windowChoice } from "./view.js";

const ADOPTION = "engagement_feature_adoption_ratio";
const SCORE = "engagement_product_adoption_score";
const USERS = "engagement_active_users";

const term = terms();

/** Returns what loads and draws the tab. */
export function adoption(root) {
  const features = forest({
    title: "Features",
    short: "of the active users, n of them",
    metric: ADOPTION,
    kind: "share",
    labelled: String,
    rows: "feature",
    more: ["weight", "points"],
  });
  const chartsOf = chosen((vital) => dayCharts([
    { title: "Product adoption score", kind: "score", lines: [{ label: "score", metric: "engagement_product_adoption_score_closed" }] },
    {
      title: "Adoption of vital features",
      lines: vital.map((feature) => ({ label: feature, metric: "engagement_feature_adoption_closed_ratio", labels: { feature } })),
    },
  ]));
  // Adoption is told for the windows that features and active users have.
  const windowOf = ({ about: { windows } }) => windowChoice(byLength((windows.features ?? []).filter((one) => windows.activity.includes(one))));
  const isVital = ([, weight]) => weight > 0;

  async function load(numbers) {
    const { kinds, feature_weights: weights } = numbers.about;
    if (!kinds.includes("features")) return "";
    const vital = Object.entries(weights).filter(isVital).map(([feature]) => feature);
    return vital.length ? chartsOf(vital.slice(0, LINES.length))(numbers, { window: windowOf(numbers)[0] }) : "";
  }

  return view(root, load, (numbers, drawn) => {
    const { live, about } = numbers;
    if (live.named("engagement_feature_users").length === 0) return nothingOf(numbers, "features");
    const [window, windows] = windowOf(numbers);
    const weights = about.feature_weights;
    const all = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
    features.render([...Object.keys(weights), "other"].map((feature) => {
      const found = live.find(ADOPTION, { window, feature });
      const weight = weights[feature] ?? 0;
      const points = weight && found.value !== undefined ? shown("score", (100 * weight * found.value) / all) : "–";
      return { label: feature, ...found, more: [String(weight), points] };
    }), { reference: null });
    const score = live.find(SCORE, { window });
    return html`
      <div class="controls">${windows}</div>
      <ul class="cards">
        ${card(term("Adoption score", SCORE), shown("score", score.value), all ? "of 100" : "no feature has a weight: setting features")}
        ${card(term("Active users", USERS), shown("count", live.find(USERS, { window }).value), `in ${windowName(window)}`)}
      </ul>
      <div class="pair">
        ${features.element}
        <p class="about">
          The score is the mean of the adoptions by weight: what each feature adds to it are its points. Weights are
          settings; a feature of weight 0 is counted by name and not in the score, and all that have no name are other.
          ${`Each point below is of the ${windowName(window)} that end with a day.`}
        </p>
      </div>
      ${drawn}`;
  }, { isLive: true });
}
