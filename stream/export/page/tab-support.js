// The tab Support: how many customers ask for help, who waits now, how long the others have waited, and what is resolved.

import { dayCharts } from "./day-chart.js";
import { terms } from "./definitions.js";
import { forest } from "./forest.js";
import { byLength } from "./numbers.js";
import { NONE, brief, interval, shown, windowName } from "./text.js";
import { quantiles, times } from "./times.js";
import { values } from "./values.js";
import { html } from "./vendor/lit-html.js";
import { card, nothingOf, view, windowChoice } from "./view.js";

const CONTACTS = "engagement_contacts";
const PER_USER = "engagement_contacts_per_active_user";
const RESOLVED = "engagement_resolved_ratio";
const WAITING = "engagement_waiting_conversations";
const OLDEST = "engagement_oldest_waiting_seconds";
const TIMES = { "First reply": "first_reply", "Every reply": "reply", Resolution: "resolution" };

const term = terms();

/** Returns what loads and draws the tab. */
export function support(root) {
  const title = "Contacts by channel";
  const channels = values({ title, name: term(title, CONTACTS), thing: "contacts" });
  const short = "the line runs from the median to 99%";
  const waits = times({ title: "Times", name: "Times", short, spell: brief, more: ["mean", "n"], look: "figures stacks" });
  const resolved = forest({ title: "Resolved", short: "of those begun in the window", metric: RESOLVED, kind: "share" });
  const replyLine = (label, quantile) => ({ label, metric: "engagement_first_reply_closed_seconds", labels: { quantile } });
  const charts = dayCharts([
    { title: "First reply", kind: "duration", lines: [replyLine("median", "0.5"), replyLine("90%", "0.9")] },
    { title: "Resolved, of contacts a week old", lines: [{ label: "resolved", metric: "engagement_resolved_closed_ratio" }] },
  ]);
  const windowOf = (numbers) => windowChoice(byLength(numbers.about.windows.contacts ?? []));

  async function load(numbers) {
    return numbers.about.kinds.includes("contacts") ? charts(numbers, { window: windowOf(numbers)[0] }) : "";
  }

  return view(root, load, (numbers, drawn) => {
    const { live, about } = numbers;
    const begun = live.named(CONTACTS);
    if (begun.length === 0) return nothingOf(numbers, "contacts");
    const [window, windows] = windowOf(numbers);
    const counts = begun.filter(({ labels, value }) => labels.window === window && (value || !["other", "unknown"].includes(labels.channel)));
    const all = counts.reduce((sum, { value }) => sum + value, 0);
    channels.render(counts.map(({ labels, value }) => [labels.channel, value]), all);
    waits.render(Object.entries(TIMES).map(([name, what]) => {
      const mean = live.find(`engagement_${what}_mean_seconds`, { window });
      const metric = `engagement_${what}_seconds`;
      const told = mean.value === undefined ? NONE : brief(mean.value);
      return [term(name, metric), quantiles(live, metric, window), told, shown("count", mean.n ?? 0)];
    }));
    resolved.render(byLength(about.windows.contacts).map((one) => ({ label: one, ...live.find(RESOLVED, { window: one }) })));
    const share = live.find(RESOLVED, { window });
    const waiting = live.find(WAITING).value;
    const perUser = live.find(PER_USER, { window }).value;
    return html`
      <div class="controls">${windows}</div>
      <ul class="cards">
        ${card(term("Waiting now", WAITING), shown("count", waiting), "customers who wait for a reply")}
        ${card(term("Oldest waiting", OLDEST), shown("duration", live.find(OLDEST).value), waiting ? "who has waited longest" : "nobody waits")}
        ${card(term("Contacts", CONTACTS), shown("count", all), perUser === undefined ? "" : html`${shown("ratio", perUser)} ${term("an active user", PER_USER)}`)}
        ${card(term("Resolved", RESOLVED), shown("share", share.value), share.n ? `95% interval ${interval("share", share.lower, share.upper)}` : "")}
      </ul>
      <div class="pair">${waits.element} ${channels.element} ${resolved.element}
        <p class="about">
          ${about.contact_hours ? `Waits and replies are told in business time: ${about.contact_hours}.` : "Waits are told in all time, nights and weekends too: the setting contacts.hours says when somebody is there."}
          Resolutions are told in all time. A bot’s reply ends no wait.
          ${`Each point below is of the ${windowName(window)} that end with a day.`}
        </p>
      </div>
      ${drawn}`;
  }, { isLive: true });
}
