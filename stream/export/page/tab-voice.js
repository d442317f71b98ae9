// The tab Voice: what people say of the product, in reviews, on social networks and in surveys.

import { dayCharts } from "./day-chart.js";
import { terms } from "./definitions.js";
import { forest } from "./forest.js";
import { byLength } from "./numbers.js";
import { NONE, counted, interval, shown, windowName } from "./text.js";
import { values } from "./values.js";
import { html } from "./vendor/lit-html.js";
import { card, nothingOf, view, windowChoice } from "./view.js";

const REVIEWS = "engagement_reviews";
const STARS = "engagement_review_stars_mean";
const POSITIVE = "engagement_review_positive_ratio";
const TO_NEGATIVE = "engagement_review_positive_to_negative_ratio";
const INTERACTIONS = "engagement_social_interactions";
const ENGAGEMENT = "engagement_social_engagement_ratio";
const MENTIONS = "engagement_brand_mentions";
const TYPES = ["like", "comment", "share", "save", "mention", "follow"];
const BASES = ["followers", "reach"];
const SENTIMENTS = ["positive", "neutral", "negative", "unknown"];
const SURVEYS = [["CSAT", "engagement_csat_ratio", "share"], ["NPS", "engagement_nps", "score"], ["CES", "engagement_ces_ratio", "share"]];

const term = terms();

/** Returns what loads and draws the tab. */
export function voice(root) {
  const byStars = values({ title: "Reviews by stars", name: term("Reviews by stars", REVIEWS), thing: "reviews", isOrdered: true });
  const positive = forest({ title: "Positive reviews", short: "4 or 5 stars", metric: POSITIVE, kind: "share" });
  const sentiments = values({ title: "Mentions", name: term("Mentions by sentiment", MENTIONS), thing: "mentions", isOrdered: true });
  const charts = dayCharts([
    { title: "Positive reviews", lines: [{ label: "4 or 5 stars", metric: "engagement_review_positive_closed_ratio" }] },
    { title: "Mean stars", kind: "ratio", lines: [{ label: "stars", metric: "engagement_review_stars_mean_closed" }] },
  ]);
  const windowsOf = ({ about: { windows } }) => byLength(["reviews", "social", "surveys"].flatMap((family) => windows[family] ?? []));
  const windowOf = (numbers) => windowChoice([...new Set(windowsOf(numbers))]);

  async function load(numbers) {
    return numbers.about.kinds.includes("reviews") ? charts(numbers, { window: windowOf(numbers)[0] }) : "";
  }

  return view(root, load, (numbers, drawn) => {
    const { live } = numbers;
    const [window, windows] = windowOf(numbers);
    const isTold = (metric) => live.named(metric).length > 0;
    return html`
      <div class="controls">${windows}</div>
      ${isTold(REVIEWS) ? reviews() : nothingOf(numbers, "reviews")}
      ${isTold(INTERACTIONS) ? "" : nothingOf(numbers, "social")}
      <div class="pair">${isTold(INTERACTIONS) ? social(live, window, sentiments) : ""} ${surveys(live, window)}</div>
      ${isTold(REVIEWS) ? drawn : ""}`;

    function reviews() {
      byStars.render([5, 4, 3, 2, 1].map((stars) => [counted(stars, "star"), live.find(REVIEWS, { window, stars }).value ?? 0]), live.find(POSITIVE, { window }).n);
      positive.render(byLength(numbers.about.windows.reviews).map((one) => ({ label: one, ...live.find(POSITIVE, { window: one }) })));
      const [stars, share] = [STARS, POSITIVE].map((metric) => live.find(metric, { window }));
      return html`
        <ul class="cards">
          ${card(term("Mean stars", STARS), shown("ratio", stars.value), `of ${counted(stars.n ?? 0, "review")}`)}
          ${card(term("Positive", POSITIVE), shown("share", share.value), share.n ? `95% interval ${interval("share", share.lower, share.upper)}` : "")}
          ${card(term("Positive to negative", TO_NEGATIVE), shown("ratio", live.find(TO_NEGATIVE, { window }).value), "4–5 stars for each of 1–2")}
        </ul>
        <div class="pair">${byStars.element} ${positive.element}</div>`;
    }
  }, { isLive: true });
}

function social(live, window, sentiments) {
  const of = (metric, labels) => live.find(metric, { window, ...labels }).value;
  const sum = (counts) => counts.reduce((all, count) => all + (count ?? 0), 0);
  const names = [...new Set(live.named(INTERACTIONS).map(({ labels }) => labels.network))];
  const countsOf = (network) => TYPES.map((type) => of(INTERACTIONS, { network, type }));
  const networks = names.filter((network) => network !== "other" || sum(countsOf(network)));
  const mentions = SENTIMENTS.map((sentiment) => [sentiment, sum(names.map((network) => of(MENTIONS, { network, sentiment })))]);
  sentiments.render(mentions, sum(mentions.map(([, count]) => count)));
  const rowOf = (network) => html`
    <tr>
      <th scope="row">${network}</th>
      ${countsOf(network).map((count, place) => html`<td class="number" data-of=${`${TYPES[place]}s`}>${shown("count", count)}</td>`)}
      ${BASES.map((base) => html`<td class="number" data-of=${`/ ${base}`}><b>${shown("share", of(ENGAGEMENT, { network, base }))}</b></td>`)}
    </tr>`;
  return html`
    <div class="block across">
      <h3>${term("Interactions by network", INTERACTIONS)}<span class="short">${term("and engagement by base", ENGAGEMENT)}</span></h3>
      <table class="figures stacks" aria-label="Interactions by network">
        <thead><tr><td></td>${TYPES.map((type) => html`<th scope="col">${type}s</th>`)}${BASES.map((base) => html`<th scope="col">/ ${base}</th>`)}</tr></thead>
        <tbody>${networks.map(rowOf)}</tbody>
      </table>
    </div>
    ${sentiments.element}`;
}

/** The surveys in short, which the first tab shows whole. */
function surveys(live, window) {
  const rowOf = ([name, metric, kind]) => {
    const { value, lower, upper, n } = live.find(metric, { window });
    return html`
      <tr>
        <th scope="row">${term(name, metric)}</th>
        <td class="number"><b>${shown(kind, value)}</b><span class="narrow">${interval(kind, lower, upper)}</span></td>
        <td class="wide">${interval(kind, lower, upper) || NONE}</td>
        <td class="number soft">${shown("count", n ?? 0)}</td>
      </tr>`;
  };
  return html`
    <div class="block">
      <h3>Surveys<span class="short">${`in ${windowName(window)}; `}<a href="#tab=now">more on Now</a></span></h3>
      <table class="figures" aria-label="Surveys">
        <thead><tr><td></td><th scope="col">value</th><th scope="col" class="wide">95% interval</th><th scope="col">n</th></tr></thead>
        <tbody>${SURVEYS.map(rowOf)}</tbody>
      </table>
    </div>`;
}
