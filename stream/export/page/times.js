// A table of times: a row of quantiles for each window, or for each kind of time, with a line on a common scale.

import { h } from "./dom.js";
import { interval, scale } from "./pictures.js";
import { NONE } from "./text.js";

const QUANTILES = ["0.5", "0.75", "0.9", "0.95", "0.99"];
const NAMES = ["median", ...QUANTILES.slice(1).map((quantile) => `${Math.round(100 * quantile)}%`)];

/** The quantiles of a metric over a window; undefined where there is none. */
export const quantiles = (samples, metric, window) =>
  QUANTILES.map((quantile) => samples.find(metric, { window, quantile }).value);

/**
 * Returns an element and what renders rows of [name, quantiles, ...more] into it. `more` are the titles of columns of
 * text behind those of the quantiles, which `spell` makes text of.
 */
export function times({ title, name, short, spell, more = [], look = "figures" }) {
  const body = h("tbody");
  const heads = [...NAMES, ...more].map((head) => h("th", { scope: "col" }, head));
  const first = h("th", { scope: "col" }, h("span", { class: "unseen" }, "of"));
  const head = h("thead", {}, h("tr", {}, first, h("td", { class: "drawn" }), ...heads));
  const table = h("table", { class: look, "aria-label": title }, head, body);
  const heading = h("h3", {}, name, h("span", { class: "short" }, short));
  let drawn = "";

  function render(rows) {
    const told = JSON.stringify(rows);
    if (told === drawn) return;
    drawn = told;
    const known = rows.flatMap(([, values]) => values).filter((value) => value !== undefined);
    const at = scale(Math.max(1, Math.min(...known)), Math.max(2, ...known), true);
    body.replaceChildren(...rows.map((row) => rowOf(row, at)));
  }

  function rowOf([label, values, ...texts], at) {
    const [median, ...rest] = values;
    const picture = median === undefined ? "" : interval(at, { value: median, lower: median, upper: rest.at(-1), ticks: rest });
    const told = [...values.map((value) => (value === undefined ? NONE : spell(value))), ...texts];
    const cells = told.map((text, place) => h("td", { class: "number", "data-of": [...NAMES, ...more][place] }, text));
    return h("tr", {}, h("th", { scope: "row" }, label), h("td", { class: "drawn" }, picture), ...cells);
  }

  return { element: h("div", { class: "block" }, heading, table), render };
}
