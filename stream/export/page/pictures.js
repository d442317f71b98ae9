// Small charts: sparklines, and intervals on a common scale. The numbers beside them show the same.

import { s } from "./dom.js";

const fixed = (number) => number.toFixed(2);

/** A line without axes, its last point marked. `values` may hold nulls, where the line breaks. */
export function sparkline(values, label) {
  const numbers = values.filter((value) => value !== null && value !== undefined);
  if (numbers.length < 2) return null;
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const x = (place) => fixed((100 * place) / (values.length - 1));
  const y = (value) => fixed(high === low ? 15 : 27 - (24 * (value - low)) / (high - low));
  let path = "";
  let isDrawing = false;
  values.forEach((value, place) => {
    if (value !== null && value !== undefined) path += `${isDrawing ? "L" : "M"}${x(place)} ${y(value)}`;
    isDrawing = value !== null && value !== undefined;
  });
  const last = values.findLastIndex((value) => value !== null && value !== undefined);
  const end = `M${x(last)} ${y(values[last])}h0`;
  return s(
    "svg",
    { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("path", { class: "line", d: path }),
    s("path", { class: "end", d: end }),
  );
}

/** Where values lie between the ends of a common line, in percent; in its middle where all are the same. */
export function scale(low, high, isLog = false) {
  if (low === high) return () => 50;
  const of = isLog ? (value) => Math.log(Math.max(value, low)) : (value) => value;
  return (value) => Math.max(0, Math.min(100, (100 * (of(value) - of(low))) / (of(high) - of(low))));
}

/** A bar from the beginning of the line to a value. */
export function bar(at, value) {
  const part = s("path", { class: "part", d: `M0 9H${fixed(at(value))}` });
  return s("svg", { class: "interval", viewBox: "0 0 100 18", preserveAspectRatio: "none", "aria-hidden": "true" }, part);
}

/** A bar from `lower` to `upper` with a dot at `value`, further `ticks`, and a dotted line at `reference`. */
export function interval(at, { value, lower, upper, ticks = [], reference }) {
  const line = (cls, from, to) => s("path", { class: cls, d: `M${fixed(at(from))} 9H${fixed(at(to))}` });
  const upright = (cls, where, from, to) => s("path", { class: cls, d: `M${fixed(at(where))} ${from}V${to}` });
  const parts = [s("path", { class: "base", d: "M0 9H100" })];
  if (reference !== undefined) parts.push(upright("reference", reference, 0, 18));
  if (lower !== undefined) parts.push(line("bar", lower, upper));
  for (const tick of ticks) parts.push(upright("tick", tick, 5, 13));
  if (value !== undefined) parts.push(s("path", { class: "dot", d: `M${fixed(at(value))} 9h0` }));
  return s("svg", { class: "interval", viewBox: "0 0 100 18", preserveAspectRatio: "none", "aria-hidden": "true" }, ...parts);
}
