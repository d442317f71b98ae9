// A table of counts by the values of a label, with a bar for each and its share of all.

import { h, say } from "./dom.js";
import { bar, scale } from "./pictures.js";
import { NO_DATA, listed, shown } from "./text.js";

// A longer table is too long to read. The API has all values that have a name.
const ROWS = 8;

/** Returns an element and what renders [value, count] and the number of all into it; `isOrdered` if they have an order. */
export function values({ title, name, short = "", thing = "users", isOrdered }) {
  const body = h("tbody");
  const column = (name) => h("th", { scope: "col" }, name);
  const head = h("tr", {}, column(h("span", { class: "unseen" }, "value")), h("td", { class: "drawn" }), column("share"), column(thing));
  const table = h("table", { class: "values", "aria-label": title }, h("thead", {}, head), body);
  const heading = h("h3", {}, name, h("span", { class: "short" }, short));
  const about = h("p", { class: "about" });
  let drawn = "";

  function render(counts, all) {
    const told = JSON.stringify([counts, all]);
    if (told === drawn) return;
    drawn = told;
    const [rows, rest] = isOrdered ? [counts, []] : shortened(counts);
    const at = scale(0, Math.max(...rows.map(([, count]) => count), 1));
    body.replaceChildren(...rows.map((row) => rowOf(row, at, all)));
    say(about, rest.length ? `${rest.length} more: ${listed(rest.map(([value, count]) => `${value} ${shown("count", count)}`))}.` : "");
  }

  return { element: h("div", { class: "block" }, heading, table, about), render };
}

/** The largest values, then those that stand for many or for none; and the values that have no row. */
function shortened(counts) {
  const isOurs = ([value]) => value === "other" || value === "unknown";
  const named = counts.filter((row) => !isOurs(row)).sort(([one, many], [two, more]) => more - many || (one < two ? -1 : 1));
  const ours = counts.filter(isOurs).sort(([one], [two]) => (one < two ? -1 : 1));
  return [[...named.slice(0, ROWS), ...ours], named.slice(ROWS)];
}

const rowOf = ([value, count], at, all) =>
  h(
    "tr",
    {},
    h("th", { scope: "row" }, value),
    h("td", { class: "drawn" }, bar(at, count)),
    h("td", { class: "number" }, h("b", {}, all ? shown("share", count / all) : NO_DATA)),
    h("td", { class: "number soft" }, shown("count", count)),
  );
