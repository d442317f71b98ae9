// Active users by platform, plan, country and version of the app: a table for each, with a bar for each share.

import { term } from "./definitions.js";
import { say } from "./dom.js";
import { windowName } from "./text.js";
import { values } from "./values.js";

const ACTIVE = "engagement_active_users";
const METRIC = "engagement_segment_active_users";
export const TITLES = { platform: "Platform", plan: "Plan", country: "Country", app_version: "App version" };

/** Returns what renders the panel, which is hidden where nothing is counted by segment. */
export function segments(section, root, note) {
  const blocks = Object.entries(TITLES).map(([segment, title]) => ({ segment, made: values({ title, name: term(title, METRIC) }) }));
  root.append(...blocks.map(({ made }) => made.element));

  return (numbers) => {
    const window = numbers.window("activity", "30d");
    const counted = numbers.live.named(METRIC).filter(({ labels }) => labels.window === window);
    const users = numbers.live.find(ACTIVE, { window }).value;
    section.hidden = counted.length === 0;
    for (const { segment, made } of blocks) {
      const own = counted.filter(({ labels }) => labels.segment === segment);
      made.element.hidden = own.length === 0;
      made.render(own.map(({ labels, value }) => [labels.value, value]), users);
    }
    say(note, `In ${windowName(window)}. Each user counts once a segment, under the value told last.`);
  };
}
