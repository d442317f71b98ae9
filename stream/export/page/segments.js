// Active users by platform, plan, country and version of the app: a table for each, with a bar for each share.

import { term } from "./definitions.js";
import { h, say } from "./dom.js";
import { bar, scale } from "./pictures.js";
import { KINDS, NO_DATA, listed, shown, windowName } from "./text.js";

const ACTIVE = "engagement_active_users";
const METRIC = "engagement_segment_active_users";
export const TITLES = { platform: "Platform", plan: "Plan", country: "Country", app_version: "App version" };
// A longer table is too long to read. The API has all values that have a name.
const ROWS = 8;

/** Returns what renders the panel, which is hidden where nothing is counted by segment. */
export function segments(section, root, note) {
  const blocks = Object.entries(TITLES).map(([segment, title]) => ({ segment, made: block(title) }));
  root.append(...blocks.map(({ made }) => made.element));

  return (numbers) => {
    const window = numbers.window("activity", "30d");
    const counted = numbers.live.named(METRIC).filter(({ labels }) => labels.window === window);
    const users = numbers.live.find(ACTIVE, { window }).value;
    section.hidden = counted.length === 0;
    for (const { segment, made } of blocks) {
      const own = counted.filter(({ labels }) => labels.segment === segment);
      made.element.hidden = own.length === 0;
      made.render(own.map(({ labels, value }) => ({ value: labels.value, users: value })), users);
    }
    say(note, `In ${windowName(window)}. Each user counts once a segment, under the value told last.`);
  };
}

function block(title) {
  const body = h("tbody");
  const column = (name) => h("th", { scope: "col" }, name);
  const head = h("tr", {}, column(h("span", { class: "unseen" }, "value")), h("td", { class: "drawn" }), column("share"), column("users"));
  const table = h("table", { class: "values", "aria-label": title }, h("thead", {}, head), body);
  const about = h("p", { class: "about" });
  let drawn = "";

  function render(values, users) {
    const told = JSON.stringify([values, users]);
    if (told === drawn) return;
    drawn = told;
    const { rows, rest } = shortened(values);
    const at = scale(0, Math.max(...rows.map((row) => row.users), 1));
    body.replaceChildren(...rows.map((row) => rowOf(row, at, users)));
    say(about, rest.length ? `${rest.length} more: ${listed(rest.map((row) => `${row.value} ${shown("count", row.users)}`))}.` : "");
  }

  return { element: h("div", { class: "block" }, h("h3", {}, term(title, METRIC)), table, about), render };
}

/** The largest values, then those that stand for many or for none; and the values that have no row. */
function shortened(values) {
  const isOurs = ({ value }) => value === "other" || value === "unknown";
  const named = values.filter((row) => !isOurs(row)).sort((one, two) => two.users - one.users || (one.value < two.value ? -1 : 1));
  const ours = values.filter(isOurs).sort((one, two) => (one.value < two.value ? -1 : 1));
  return { rows: [...named.slice(0, ROWS), ...ours], rest: named.slice(ROWS) };
}

function rowOf({ value, users }, at, all) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, value),
    h("td", { class: "drawn" }, bar(at, users)),
    h("td", { class: "number" }, h("b", {}, all ? shown("share", users / all) : NO_DATA)),
    h("td", { class: "number soft" }, KINDS.count.show(users)),
  );
}
