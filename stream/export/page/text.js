// Numbers as text for people. An undefined one is a dash, and not 0.

export const NONE = "–";
export const NO_DATA = "no data yet";

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 });
// Up to here all digits of a count are shown, because counts are exact.
const MOST_SPELT = 10_000_000;

export const spelt = (count) => grouped.format(count);
export const short = (count) => compact.format(count);

const minus = (text) => (/^-[0.,%]*$/.test(text) ? text.slice(1) : text.replace("-", "−"));

function duration(seconds) {
  if (seconds < 10) return `${oneDigit.format(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
  return `${oneDigit.format(whole / 86_400)} days`;
}

/** A length of time as one number and its unit: 40 s, 12 min, 3.4 h, 2.1 d. */
export function brief(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${oneDigit.format(seconds / 3_600)} h` : `${oneDigit.format(seconds / 86_400)} d`;
}

/** Minutes and seconds, or hours too: 1:38, 1:05:00. */
export function clock(seconds) {
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

const relative = (now, before) => (before ? `${signed(100 * (now / before - 1))}%` : `${signed(now - before)}`);

function signed(value) {
  const text = minus(oneDigit.format(value));
  return text.startsWith("−") ? text : text === "0.0" ? `±${text}` : `+${text}`;
}

/** How values of a kind are shown, and how two of them differ. */
export const KINDS = {
  count: { show: (value) => (value < MOST_SPELT ? spelt : short)(value), differ: relative },
  share: {
    show: (value) => `${oneDigit.format(100 * value)}%`,
    bare: (value) => oneDigit.format(100 * value),
    differ: (now, before) => `${signed(100 * (now - before))} points`,
  },
  score: { show: (value) => minus(oneDigit.format(value)), differ: (now, before) => `${signed(now - before)} points` },
  ratio: { show: (value) => twoDigits.format(value), differ: relative },
  mean: { show: (value) => minus(oneDigit.format(value)), differ: relative },
  duration: { show: duration, differ: relative },
};

/** The kind of the amounts of a currency: its own decimals, and the name of the currency before each. */
export function moneyIn(currency) {
  const amounts = new Intl.NumberFormat("en-US", { style: "currency", currency, currencyDisplay: "code" });
  KINDS[currency] ??= { show: (value) => minus(amounts.format(value)), differ: relative };
  return currency;
}

export const shown = (kind, value) => (value === undefined || value === null ? NONE : KINDS[kind].show(value));

/** So many of something: 1 session, 2 sessions. */
export const counted = (count, thing) => `${shown("count", count)} ${thing}${count === 1 ? "" : "s"}`;

/** The 95 % interval in words, or nothing where there is none. */
export function interval(kind, lower, upper) {
  if (lower === undefined || upper === undefined) return "";
  const { show, bare = show } = KINDS[kind];
  return `${bare(lower)} to ${show(upper)}`;
}

// -- time ------------------------------------------------------------------------------------------------------------

const formats = new Map();

function format(zone, options) {
  const name = zone + JSON.stringify(options);
  if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options }));
  return formats.get(name);
}

/** A day such as 2026-11-20 as `Fri 20 Nov`. */
export const day = (iso) =>
  format("UTC", { weekday: "short", day: "numeric", month: "short" }).format(Date.parse(`${iso}T00:00Z`)).replace(",", "");

/** A moment in milliseconds as hours, minutes and, when asked, seconds of a zone. */
export const time = (at, zone, seconds = false) =>
  format(zone, { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined }).format(at);

/** A moment in milliseconds as day and time of a zone, with the zone's name. */
export function moment(at, zone) {
  const date = format(zone, { weekday: "short", day: "numeric", month: "short", year: "numeric" }).format(at);
  return `${date.replace(",", "")}, ${time(at, zone, true)} ${zone}`;
}

const WINDOWS = { m: ["minute", "minutes"], h: ["hour", "hours"], d: ["day", "days"], s: ["second", "seconds"] };

/** A window such as 30d as `30 days`. */
export function windowName(window) {
  const number = Number.parseInt(window, 10);
  return `${number} ${WINDOWS[window.at(-1)][number === 1 ? 0 : 1]}`;
}

/** A window such as 30d as `30 d`. */
export const windowShort = (window) => `${Number.parseInt(window, 10)} ${window.at(-1)}`;

/** A length of time in words: 40 s, 3 min, 2 h 5 min. */
export function length(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How long ago, roughly: 40 s, 3 min, 7 h, 2 d. */
export function ago(seconds) {
  if (seconds < 5_400) return `${length(Math.max(0, seconds))} ago`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h ago` : `${Math.round(seconds / 86_400)} d ago`;
}

const list = new Intl.ListFormat("en-GB", { type: "conjunction" });
export const listed = (parts) => list.format(parts);
