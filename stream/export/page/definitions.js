// Shows what a number means, on hover, on focus and on a tap. Escape or a tap elsewhere closes it.

import { h, say } from "./dom.js";

const GAP = 8;
let known = {};
let next = 0;
let shownFor = null;

const box = h("div", { id: "definition", hidden: "" });
const texts = h("div", { hidden: "" });

/** The definitions of the API, by name. */
export function define(definitions) {
  known = definitions;
  for (const text of texts.children) say(text, describe(text.dataset.metric));
}

/** The rule of a number, its interval, windows with the time zone of their days, and its sample. */
export function describe(metric) {
  const found = known[metric];
  if (found === undefined) return "";
  const { definition, interval, window, sample } = found;
  const method = interval ? ` 95% interval: ${interval.method}.` : "";
  return `${definition}${method} ${window.text} ${sample?.text ?? ""}`;
}

/** A button with the name of a number, which tells what it means. */
export function term(text, metric) {
  next += 1;
  const told = h("span", { id: `meaning-${next}`, "data-metric": metric }, describe(metric));
  texts.append(told);
  const button = h("button", { type: "button", class: "term", "aria-describedby": told.id, "data-metric": metric }, text);
  button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(button));
  button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hideSoon());
  button.addEventListener("focus", () => show(button));
  button.addEventListener("blur", hide);
  button.addEventListener("click", () => show(button));
  return button;
}

/** Returns `term` with a memory, for what is drawn again and again. */
export function terms() {
  const made = new Map();
  return (text, metric) => {
    const key = `${text} ${metric}`;
    if (!made.has(key)) made.set(key, term(text, metric));
    return made.get(key);
  };
}

let hiding = null;

function hideSoon() {
  // This gives time to move the pointer onto the text, to read or copy it.
  hiding = setTimeout(hide, 250);
}

/** Close the box. */
export function hide() {
  clearTimeout(hiding);
  box.hidden = true;
  shownFor?.classList.remove("open");
  shownFor = null;
}

function show(button) {
  const metric = button.dataset.metric;
  if (known[metric] !== undefined) showBeside(button, h("p", {}, describe(metric)), h("code", {}, metric));
}

/** Show some elements in the box, beside an element. Screen readers must get the same text from the element. */
export function showBeside(element, ...shown) {
  clearTimeout(hiding);
  shownFor?.classList.remove("open");
  shownFor = element;
  element.classList.add("open");
  box.replaceChildren(...shown);
  box.hidden = false;
  place(element.getBoundingClientRect());
}

function place(beside) {
  const { width, height } = box.getBoundingClientRect();
  const most = document.documentElement.clientWidth - width - GAP;
  const below = beside.bottom + GAP;
  const fits = below + height <= window.innerHeight || beside.top < height + GAP;
  box.style.left = `${Math.max(GAP, Math.min(beside.left, most)) + window.scrollX}px`;
  box.style.top = `${(fits ? below : beside.top - height - GAP) + window.scrollY}px`;
}

/** Put the box into the page, and let Escape and taps elsewhere close it. */
export function start() {
  // Screen readers get the text from its button, so the box is hidden from them.
  box.setAttribute("aria-hidden", "true");
  box.addEventListener("pointerenter", () => clearTimeout(hiding));
  box.addEventListener("pointerleave", hideSoon);
  document.body.append(texts, box);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("pointerdown", (event) => {
    if (!box.contains(event.target) && !event.target.closest?.(".term")) hide();
  });
}
