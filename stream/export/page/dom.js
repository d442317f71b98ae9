// Makes elements. Text is always set as text, so nothing in the data can become markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

export const h = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);

export const s = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

/** Set text only where it differs, so that a selection or a reader's place is not lost every second. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The value of a colour of the style sheet, as it is in light or dark now. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
