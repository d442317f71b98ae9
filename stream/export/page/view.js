// What the tabs of closed days share: they load the days that the address asks for, and have controls that change it.

import { Unanswered } from "./closed.js";
import { labelText, labelTitle, usualValue } from "./metrics.js";
import { dayBefore, dayMs } from "./numbers.js";
import { goTo, placed } from "./place.js";
import { html, render } from "./vendor/lit-html.js";

const SPANS = [
  [35, "5 weeks"],
  [91, "3 months"],
  [365, "1 year"],
];

const NO_DAY = html`<p class="empty">No closed day yet. A day closes some time after the midnight that ends it.</p>`;

/**
 * Returns the function that loads and draws a tab. `draw` returns a template. If it is called again before a load is
 * over, only the last load is drawn. A tab that `isLive` is drawn before a day has closed too, and its function has
 * `again`, which draws what was loaded last with the numbers of now.
 */
export function view(root, load, draw, { isLive = false } = {}) {
  let turn = 0;
  show.again = () => {};
  async function show(numbers) {
    turn += 1;
    const own = turn;
    root.setAttribute("aria-busy", "true");
    let shown;
    try {
      const found = numbers.about.last_closed_day === null && !isLive ? null : await load(numbers);
      shown = found === null ? NO_DAY : draw(numbers, found);
      if (isLive && own === turn) show.again = (newer) => render(draw(newer, found), root);
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      shown = html`<p class="empty" role="alert">Nothing can be shown: ${error.message}.</p>`;
    }
    if (own !== turn) return;
    render(shown, root);
    root.removeAttribute("aria-busy");
  }
  return show;
}

/** What is said where there is nothing of a kind of events. */
export function nothingOf({ about }, kind) {
  const why = about.kinds.includes(kind)
    ? `No event of ${kind} has come yet.`
    : `This deployment reads no ${kind}: the setting topics.${kind} names their topic.`;
  return html`<p class="empty">${why}</p>`;
}

/** The days that the address asks for. Throws Unanswered. */
export function range({ about }, usual = 35) {
  const to = placed("to", about.last_closed_day);
  const span = Number(placed("span", usual));
  const isSpan = isDay(to) && span >= 1 && span <= 9_999;
  const first = isSpan ? latest(about.first_day, dayBefore(to, span - 1)) : `${span} days before ${to}`;
  const from = placed("from") ?? first;
  for (const day of [from, to]) if (!isDay(day)) throw new Unanswered(`${day} is no day such as 2026-11-21`);
  return { from, to };
}

const latest = (one, other) => (one > other ? one : other);

const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(dayMs(text));

/** The controls that choose the days: some usual spans, or any first and last day. */
export function rangeControls(numbers, { usual = 35, spans = SPANS } = {}) {
  const { from, to } = range(numbers, usual);
  const isSpan = placed("from") === undefined && placed("to") === undefined;
  // The other end is that of the address: it may have been chosen a moment ago, and is not shown yet.
  const choose = (name, value) => goTo({ ...range(numbers, usual), span: null, [name]: value });
  const input = (label, name, value) => html`
    <label class="field">
      <span>${label}</span>
      <input type="date" .value=${value} max=${numbers.about.last_closed_day} required
        @change=${({ target }) => target.checkValidity() && choose(name, target.value)}>
    </label>`;
  return html`
    <fieldset class="choice">
      <legend class="unseen">Days</legend>
      ${spans.map(([days, text]) => {
        const isChosen = isSpan && Number(placed("span", usual)) === days;
        const chooseSpan = () => goTo({ from: null, to: null, span: days === usual ? null : days });
        return html`
          <label><input type="radio" name="span" .checked=${isChosen} @change=${chooseSpan}><span>${text}</span></label>`;
      })}
    </fieldset>
    ${input("From", "from", from)} ${input("To", "to", to)}`;
}

/** A list to choose one of `options` from, [value, text] each. The choice is in the address as `name`. */
export const choice = (label, name, chosen, options) => html`
  <label class="field">
    <span>${label}</span>
    <select name=${name} @change=${(event) => goTo({ [name]: event.target.value })}>
      ${options.map(([value, text]) => html`<option value=${value} .selected=${value === chosen}>${text}</option>`)}
    </select>
  </label>`;

/** One of some windows, the one asked for or else 28 days, and a list to choose it from. */
export function windowChoice(windows) {
  const window = [placed("window"), "28d"].find((one) => windows.includes(one)) ?? windows.at(-1) ?? "28d";
  return [window, choice("Window", "window", window, windows.map((one) => [one, labelText("window", one)]))];
}

/** A card with one large number, as on the first tab. */
export const card = (name, value, about) => html`
  <li class="card"><h3>${name}</h3><p class="value">${value}</p><p class="range">${about}</p></li>`;

/** A list to choose the value of a label from. Nothing if the label has no value on the days that are shown. */
export const labelChoice = (label, values, value) =>
  values.length ? choice(labelTitle(label), label, value, values.map((one) => [one, labelText(label, one)])) : "";

/** The value of each label that the address asks for, or else the usual one. `values` are those that each label has. */
export function chosenLabels(labels, values, kind) {
  const valueOf = (label) => (values[label].includes(placed(label)) ? placed(label) : usualValue(label, values[label], kind));
  return Object.fromEntries(labels.map((label) => [label, valueOf(label)]));
}

/** Returns `make` with a memory of one result: it is made anew, and the old one removed, only if the argument differs. */
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
