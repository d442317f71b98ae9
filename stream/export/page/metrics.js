// The metrics of closed days: their titles, how their values are shown, and which values their labels have.

import { byLength, daysBetween } from "./numbers.js";
import { moneyIn, windowName } from "./text.js";

const ACRONYMS = new Map(["csat", "nps", "ces", "cxi", "l28", "ltv", "clv"].map((word) => [word, word.toUpperCase()]));
const MONEY = "units of the currency";
const LABELS = { window: "Window", rule: "Rule", quantile: "Quantile", mode: "Mode", day: "Day", week: "Week", days: "Active days" };
const USUAL = { rule: "ga4", quantile: "0.5", mode: "on_or_after", day: "7", week: "1" };

/** Whether a metric is one of closed days: its name ends with `_closed`, or with that and a unit. */
const isClosed = ({ name }) => /_closed(_ratio|_seconds)?$/.test(name);
const isBySegment = ({ labels }) => labels.includes("segment");
export const isClosedOfAll = (metric) => isClosed(metric) && !isBySegment(metric);
export const isClosedBySegment = (metric) => isClosed(metric) && isBySegment(metric);

/** The title of a metric: `NPS` for engagement_nps_closed, `Bounce ratio` for engagement_bounce_closed_ratio. */
export function titleOf(name) {
  const words = name.replace(/^engagement_(segment_)?/, "").replace(/_closed/, "").replace(/_seconds$/, "").split("_");
  const text = words.map((word) => ACRONYMS.get(word) ?? word).join(" ");
  return text[0].toUpperCase() + text.slice(1);
}

/** How values of a metric are shown; amounts of money in a `currency`, once it is known in which. */
export function kindOf({ unit, interval, parts }, currency) {
  if (unit === MONEY && currency !== undefined) return moneyIn(currency);
  if (unit === "seconds") return "duration";
  if (unit === "ratio") return interval ? "share" : "ratio";
  if (unit === "score") return "score";
  return parts.length ? "mean" : "count";
}

export const labelTitle = (label) => LABELS[label] ?? label[0].toUpperCase() + label.slice(1);

export const labelText = (label, value) => (label === "window" ? windowName(value) : value.replaceAll("_", " "));

/** The values that a label has on any of some days, sorted if they are numbers or windows. */
export function valuesOf(days, label) {
  const values = [...new Set(days.flatMap((day) => day.samples.all().map((sample) => sample.labels[label])))];
  if (label === "window") return byLength(values);
  return values.every((value) => !Number.isNaN(Number(value))) ? values.sort((one, other) => one - other) : values;
}

/** The value that is chosen if the address names none. Counts are of a day, other numbers of a month, for precision. */
export function usualValue(label, values, kind) {
  const usual = label === "window" ? (kind === "count" ? "1d" : "30d") : USUAL[label];
  return values.includes(usual) ? usual : values.at(label === "window" && kind !== "count" ? -1 : 0);
}

/** Whether all days of a window that ends with a day are known. */
export const isWhole = ({ first_day: first }, day, window) =>
  window === undefined || (first !== null && daysBetween(first, day) >= Number.parseInt(window, 10));
