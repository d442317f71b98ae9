// The live page: reads the API once, then follows the stream of changes.

import { days } from "./days.js";
import { define, start } from "./definitions.js";
import { h, say } from "./dom.js";
import { follow } from "./follow.js";
import { headline } from "./headline.js";
import { hours } from "./hours.js";
import { Numbers } from "./numbers.js";
import { Past } from "./past.js";
import { pipeline } from "./pipeline.js";
import { segments } from "./segments.js";
import { sessions } from "./sessions.js";
import { state } from "./state.js";
import { surveys } from "./surveys.js";
import { adoption } from "./tab-adoption.js";
import { customers } from "./tab-customers.js";
import { days as anyDays } from "./tab-days.js";
import { dimensions } from "./tab-dimensions.js";
import { health } from "./tab-health.js";
import { lifecycle } from "./tab-lifecycle.js";
import { retention } from "./tab-retention.js";
import { closedSegments } from "./tab-segments.js";
import { support } from "./tab-support.js";
import { voice } from "./tab-voice.js";
import { tabs } from "./tabs.js";
import { NONE, moment } from "./text.js";

const CLOSED_DAYS = 35;
const CLOSED_SHOWN = [
  "engagement_active_users_closed",
  "engagement_stickiness_closed_ratio",
  "engagement_stickiness_smoothed_closed_ratio",
];
const RELOAD_MS = 5 * 60_000;
const AT_MOST_EVERY_MS = 10_000;

const at = (id) => document.getElementById(id);
const numbers = new Numbers();
const past = new Past();
const tellState = state(at("state"));
// By tab: the panels that are rendered with each message of the stream.
const panels = {
  now: [
    headline(at("headline")),
    days(at("days"), at("days-note")),
    hours(at("hours"), at("hours-note"), at("hours-range")),
    sessions(at("sessions"), at("sessions-note")),
    surveys(at("surveys")),
    pipeline(at("stream"), at("stream-note")),
  ],
  segments: [segments(at("by-segment"), at("segments"), at("segments-note"))],
};
// The tabs that have one view: what each loads and draws, what it is called, and what it shows.
const TABS = {
  days: [anyDays, "Days", "Any metric on closed days, compared with the same weekday of the week before."],
  retention: [retention, "Retention", "How many of the users who were first active on some days came back later."],
  lifecycle: [lifecycle, "Lifecycle", "How many users are new, came back, stayed, or stay away."],
  customers: [customers, "Customers", "Who signs up and stays, what they pay, and what their lifetime values are made of. All of closed days."],
  support: [support, "Support", "Who asks for help, who waits, how long, and what is resolved. Live, and closed days as charts."],
  adoption: [adoption, "Adoption", "How many of the active users use which features. Live, and closed days as charts."],
  voice: [voice, "Voice", "What people say in reviews, on social networks and in surveys. Live, and closed days as charts."],
  health: [health, "Health", "Users by their health score, and what it is on average. All of closed days."],
  dimensions: [dimensions, "Dimensions", "How long people stay, how often they come, how much they do, who they are, and whether they come by themselves."],
};
// By tab: the view, which loads closed days when the tab is shown or its choices change.
const views = { segments: closedSegments(at("closed-segments")) };
for (const [name, [made, title, about]] of Object.entries(TABS)) {
  const root = h("div", { id: name === "days" ? "any-days" : name });
  const heading = h("div", { class: "heading" }, h("h2", { id: `${root.id}-title` }, title), h("p", {}, about));
  const section = h("section", { "aria-labelledby": `${root.id}-title` }, heading, root);
  at("numbers").append(h("div", { id: `tab-${name}`, hidden: "" }, section));
  views[name] = made(root);
}

let tab = null;
let cutSince = null;
let heardAt = Date.now();
let isFollowing = false;
let isPaused = false;
let isLoading = false;
let isAskedAgain = false;
let loadedAt = -Infinity;
let coming = null;

function render() {
  tellState(numbers, cutSince, isPaused);
  const clock = at("clock").querySelector("time");
  say(clock, numbers.atMs === null ? NONE : moment(numbers.atMs, numbers.zone));
  if (numbers.about.at !== null) clock.dateTime = numbers.about.at;
  say(at("zone"), numbers.about.timezone);
  for (const panel of panels[tab] ?? []) panel(numbers, past);
  views[tab]?.again?.(numbers);
}

async function load() {
  clearTimeout(coming);
  coming = null;
  isAskedAgain = isLoading; // what is on its way may be older than why it is asked for
  if (isLoading) return;
  isLoading = true;
  loadedAt = performance.now();
  const isNow = tab === "now"; // the views of the other tabs load their days themselves
  try {
    const metrics = `api/v1/metrics?days=${isNow ? CLOSED_DAYS : 1}&closed=${CLOSED_SHOWN.join(",")}`;
    const [all, history] = await Promise.all([read(metrics), isNow ? read("api/v1/history") : null]);
    // A page that follows the stream has newer numbers, and the next changes apply to those.
    numbers.take(all, { isFollowing, hasDays: isNow });
    if (isNow) past.take(history);
    define(numbers.definitions);
    render();
    views[tab]?.(numbers);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // there is no connection, which the state shows
  } finally {
    isLoading = false;
    if (tab === "now" && !isNow) load();
    else if (isAskedAgain) loadSoon();
  }
}

/** Load again, but not more often than is good for the server: late events correct closed days all the time. */
function loadSoon() {
  coming ??= setTimeout(load, Math.max(0, loadedAt + AT_MOST_EVERY_MS - performance.now()));
}

async function read(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new TypeError(`${path}: status ${answer.status}`);
  return answer.json();
}

function hear(event, message) {
  const before = numbers.about;
  cutSince = null;
  isFollowing = true;
  isPaused = false;
  heardAt = Date.now();
  numbers.hear(event, message);
  const { about } = numbers;
  past.add(numbers, about.state === "live");
  // The stream tells of closed days that change from its beginning on: what changed before is in what is loaded now.
  if (event === "numbers" || about.state !== before.state) load();
  else if (message.days_changed) loadSoon();
  render();
}

function pause() {
  isPaused = true;
  isFollowing = false;
  cutSince = null;
  render();
}

function cut() {
  isPaused = false;
  cutSince ??= heardAt;
  isFollowing = false;
  load(); // a server with too many listeners still answers
  render();
}

start();
tabs(at("tabs"), (name, isOther) => {
  tab = name;
  const isKnown = Object.keys(numbers.definitions).length > 0;
  if (isOther && (tab === "now" || !isKnown)) load();
  if (!isKnown) return; // `load` shows the view
  if (isOther) render();
  views[tab]?.(numbers);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // following the link would change the part of the address that names the tab
  at("numbers").focus();
});
follow("api/v1/stream", { hear, cut, pause });
setInterval(() => isPaused || load(), RELOAD_MS);
