// The heat map: a table of cohorts. The more users of a cohort came back, the darker the cell. The counts of a cell are
// shown on hover and when the keyboard focuses it.

import { hide, showBeside } from "./definitions.js";
import { h } from "./dom.js";
import { wilson } from "./intervals.js";
import { interval, shown } from "./text.js";
import { html } from "./vendor/lit-html.js";

const SHADES = 8;
// By key: how far the focus moves, in rows and in columns.
const STEPS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
};

/**
 * `rows` are {begins, ends, users, cells}. The name of a row has two parts, and a phone shows only the first. A cell is
 * null if its days are not over yet. `unit` is "day" or "week", the age that a column stands for.
 */
export function heatMap({ rows, unit }) {
  const ages = rows[0].cells.map((_, age) => age).filter((age) => age > 0 && rows.some(({ cells }) => cells[age] !== null));
  const shares = rows.flatMap(({ cells, users }) => ages.map((age) => (cells[age] !== null && users ? cells[age] / users : 0)));
  const most = Math.max(0.1, Math.ceil(10 * Math.max(...shares)) / 10);
  const first = rows.findIndex(({ cells }) => cells[ages[0]] !== null);

  function cellOf(row, place, age) {
    const count = row.cells[age];
    if (count === null) return html`<td></td>`;
    const { value, lower, upper } = wilson(count, row.users);
    const counts = `${row.begins}${row.ends}, ${unit} ${age}: ${shown("count", count)} of ${shown("count", row.users)} users`;
    const range = `${shown("share", value)}, 95% interval ${interval("share", lower, upper)}`;
    const text = value === undefined ? counts : `${counts}, ${range}`;
    const shade = value === undefined ? "none" : Math.min(SHADES - 1, Math.floor((SHADES * value) / most));
    return html`<td tabindex=${place === first && age === ages[0] ? 0 : -1} data-shade=${shade} aria-label=${text}
      data-age=${age}>${value === undefined ? "–" : Math.round(100 * value)}</td>`;
  }

  const describe = ({ type, target }) => {
    const cell = target.closest("td[aria-label]");
    if (!cell) return hide();
    if (type === "focusin") {
      // The Tab key reaches one cell of the grid, the one that had the focus last. Arrow keys reach the others.
      for (const one of cell.closest("tbody").querySelectorAll("[tabindex='0']")) one.tabIndex = -1;
      cell.tabIndex = 0;
    }
    showBeside(cell, h("p", {}, cell.getAttribute("aria-label")));
  };
  const heading = unit[0].toUpperCase() + unit.slice(1);
  return html`
    <div class="heat scroll-x" @pointerover=${describe} @pointerleave=${hide} @focusin=${describe} @focusout=${hide} @keydown=${move}>
      <table role="grid" aria-label="Cohorts, share in percent" aria-readonly="true">
        <thead>
          <tr>
            <th scope="col">cohort</th><th scope="col">users</th>
            ${ages.map((age) => html`<th scope="col"><span class="unseen">${heading} </span>${age}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map((row, place) => html`<tr>
            <th scope="row">${row.begins}<span class="wide">${row.ends}</span></th>
            <td class="number">${shown("count", row.users)}</td>
            ${ages.map((age) => cellOf(row, place, age))}
          </tr>`)}
        </tbody>
      </table>
    </div>
    <p class="scale" aria-hidden="true">
      0% ${Array.from({ length: SHADES }, (_, shade) => html`<i data-shade=${shade}></i>`)} ${Math.round(100 * most)}%
    </p>`;
}

/** Arrow keys, Home and End move the focus to another cell, as far as there are cells. */
function move(event) {
  const cell = event.target.closest("td[aria-label]");
  const step = STEPS[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  const [down, right] = step;
  const inRow = (row) => [...row.querySelectorAll("td[aria-label]")];
  const row = down ? [...cell.closest("tbody").rows][cell.closest("tr").sectionRowIndex + down] : cell.closest("tr");
  const cells = row ? inRow(row) : [];
  const below = () => cells.findIndex((one) => one.dataset.age === cell.dataset.age);
  const beside = () => Math.max(0, Math.min(cells.length - 1, cells.indexOf(cell) + right));
  cells[down ? below() : beside()]?.focus();
}
