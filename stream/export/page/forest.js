// A table of intervals with a row for each window: the interval on a common scale, the value and its sample size.

import { term } from "./definitions.js";
import { h } from "./dom.js";
import { interval, scale } from "./pictures.js";
import { KINDS, NONE, NO_DATA, interval as words, shown, windowShort } from "./text.js";

// The least and the most there can be, and the step that the ends of a line are rounded to.
const DOMAINS = { share: [0, 1, 0.1], score: [-100, 100, 20] };

/** Returns an element and what renders rows of {label, value, lower, upper, n} into it; `more` are titles of columns
 *  whose texts each row has as `more`. */
export function forest({ title, metric, short, kind, labelled = windowShort, rows: rowsName = "window", more = [] }) {
  const body = h("tbody");
  const ends = h("td", { class: "ends" });
  const about = h("p", { class: "about" });
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, h("span", { class: "unseen" }, rowsName)),
    h("td", { class: "drawn" }),
    h("th", { scope: "col" }, "value"),
    h("th", { scope: "col", class: "wide" }, "95% interval"),
    h("th", { scope: "col", class: "n" }, "n"),
    ...more.map((name) => h("th", { scope: "col" }, name)),
  );
  const foot = h("tr", { "aria-hidden": "true" }, h("td"), ends, h("td", { colspan: 3 + more.length }));
  const heading = h("h3", {}, term(title, metric), h("span", { class: "short" }, short));
  const table = h("table", { class: "forest", "aria-label": title }, h("thead", {}, head), body, h("tfoot", {}, foot));
  const element = h("div", { class: "block" }, heading, table, about);
  let drawn = "";

  function render(rows, { reference = rows.at(-1)?.value, note = "" } = {}) {
    const told = JSON.stringify([rows, note]);
    if (told === drawn) return;
    drawn = told;
    const [low, high] = domain(kind, rows);
    const at = scale(low, high);
    body.replaceChildren(...rows.map((row) => rowOf(row, at, reference)));
    const isPlain = rows.every((row) => row.lower === undefined && row.n === undefined);
    element.classList.toggle("plain", isPlain && rows.some((row) => row.value !== undefined));
    foot.hidden = rows.every((row) => row.value === undefined);
    ends.replaceChildren(...[low, high].map((end) => h("span", {}, KINDS[kind].show(end).replace(".0", ""))));
    about.textContent = note;
  }

  function rowOf(row, at, reference) {
    const isKnown = row.value !== undefined;
    const range = words(kind, row.lower, row.upper);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, labelled(row.label)),
      h("td", { class: "drawn" }, isKnown ? interval(at, { ...row, reference: reference ?? undefined }) : ""),
      h("td", { class: "number" }, h("b", {}, shown(kind, row.value)), h("span", { class: "narrow" }, range)),
      h("td", { class: "wide" }, isKnown ? range || NONE : NO_DATA),
      h("td", { class: "number soft n" }, row.n === undefined ? NONE : KINDS.count.show(row.n)),
      ...(row.more ?? []).map((text) => h("td", { class: "number" }, text)),
    );
  }

  return { element, render };
}

/** The ends of the common line: round numbers around all intervals, at most what there can be. */
function domain(kind, rows) {
  const all = rows.flatMap((row) => [row.lower ?? row.value, row.upper ?? row.value]).filter((value) => value !== undefined);
  if (!DOMAINS[kind]) return [0, Math.max(1, ...all)];
  const [least, most, step] = DOMAINS[kind];
  if (all.length === 0) return [least, most];
  const low = Math.max(least, Math.floor(Math.min(...all) / step) * step);
  return [low, Math.max(low + step, Math.min(most, Math.ceil(Math.max(...all) / step) * step))];
}
