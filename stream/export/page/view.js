// What the tabs of closed days have in common: they load what the address asks for, and their controls change it.

import { Unanswered } from "./closed.js";
import { dayBefore, dayMs } from "./numbers.js";
import { goTo, placed } from "./place.js";
import { html, render } from "./vendor/lit-html.js";

const SPANS = [
  [35, "5 weeks"],
  [91, "3 months"],
  [365, "1 year"],
];

/** Returns what loads and draws a tab. Of several loads the last counts; `draw` returns a template. */
export function view(root, load, draw) {
  let turn = 0;
  return async (numbers) => {
    turn += 1;
    const own = turn;
    root.setAttribute("aria-busy", "true");
    let shown;
    try {
      const found = numbers.about.last_closed_day === null ? null : await load(numbers);
      shown = found === null ? html`<p class="empty">No closed day yet. A day closes an hour after its midnight.</p>` : draw(numbers, found);
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      shown = html`<p class="empty" role="alert">Nothing can be shown: ${error.message}.</p>`;
    }
    if (own !== turn) return;
    render(shown, root);
    root.removeAttribute("aria-busy");
  };
}

/** The days that the address asks for. Throws Unanswered. */
export function range({ about }, usual = 35) {
  const to = placed("to", about.last_closed_day);
  const span = Number(placed("span", usual));
  const isSpan = isDay(to) && span >= 1 && span <= 9_999;
  const from = placed("from") ?? (isSpan ? latest(about.first_day, dayBefore(to, span - 1)) : `${span} days before ${to}`);
  for (const day of [from, to]) if (!isDay(day)) throw new Unanswered(`${day} is no day such as 2026-11-21`);
  return { from, to };
}

const latest = (one, other) => (one > other ? one : other);

const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(dayMs(text));

/** The controls of the days: some spans, or any first and last day. */
export function rangeControls(numbers, { usual = 35, spans = SPANS } = {}) {
  const { from, to } = range(numbers, usual);
  const isSpan = placed("from") === undefined && placed("to") === undefined;
  const input = (label, name, value) => html`
    <label class="field">
      <span>${label}</span>
      <input type="date" .value=${value} max=${numbers.about.last_closed_day} required
        @change=${(event) => event.target.checkValidity() && goTo({ from, to, span: null, [name]: event.target.value })}>
    </label>`;
  return html`
    <fieldset class="choice">
      <legend class="unseen">Days</legend>
      ${spans.map(([days, text]) => {
        const isChosen = isSpan && Number(placed("span", usual)) === days;
        const choose = () => goTo({ from: null, to: null, span: days === usual ? null : days });
        return html`<label><input type="radio" name="span" .checked=${isChosen} @change=${choose}><span>${text}</span></label>`;
      })}
    </fieldset>
    ${input("From", "from", from)} ${input("To", "to", to)}`;
}

/** A choice of one of `options`, [value, text] each, that the address remembers under `name`. */
export const choice = (label, name, chosen, options) => html`
  <label class="field">
    <span>${label}</span>
    <select name=${name} @change=${(event) => goTo({ [name]: event.target.value })}>
      ${options.map(([value, text]) => html`<option value=${value} .selected=${value === chosen}>${text}</option>`)}
    </select>
  </label>`;

/** What `make` made of a specification: the same as long as that is the same. What it has made before is removed. */
export function chosen(make) {
  let of = null;
  let made = null;
  return (spec) => {
    const asked = JSON.stringify(spec);
    if (asked !== of) {
      made?.remove?.();
      made = make(spec);
      of = asked;
    }
    return made;
  };
}
