// The samples of the API, which the stream keeps up to date.

const key = (name, labels) => {
  const parts = Object.keys(labels).sort().map((label) => `${label}=${labels[label]}`);
  return `${name}|${parts.join(",")}`;
};

export class Samples {
  #values = new Map();
  #isNothingKnown;

  /** `isNothingKnown` says whether 0 is a measurement now. */
  constructor(samples = [], isNothingKnown = () => true) {
    this.#isNothingKnown = isNothingKnown;
    this.put(samples);
  }

  put(samples) {
    for (const sample of samples) this.#values.set(key(sample.name, sample.labels), sample);
  }

  drop(samples) {
    for (const sample of samples) this.#values.delete(key(sample.name, sample.labels));
  }

  all() {
    return [...this.#values.values()];
  }

  named(name) {
    return [...this.#values.values()].filter((sample) => sample.name === name);
  }

  /** Value, interval and sample size of a metric; each is undefined where there is none. */
  find(name, labels = {}) {
    const sample = this.#values.get(key(name, labels));
    if (sample?.value === 0 && !this.#isNothingKnown()) return {};
    const value = (end) => this.#values.get(key(name + end, labels))?.value;
    return { value: sample?.value, lower: value("_lower"), upper: value("_upper"), n: sample?.sample_size };
  }
}

const NOTHING = {
  at: null,
  state: "connecting",
  unready: [],
  notes: [],
  first_day: null,
  last_closed_day: null,
  timezone: "UTC",
  windows: { activity: [], sessions: [], surveys: [] },
  kinds: [],
  feature_weights: {},
  contact_hours: null,
};

const UNREAD = new Set(["starting", "rebalancing", "recovering", "behind"]);

export class Numbers {
  about = NOTHING;
  definitions = {};
  live = new Samples();
  health = new Samples();
  closed = []; // {day, samples}, oldest first

  /** Take in the whole document of the API. While the stream is followed, only what the stream does not have. Without
   *  `hasDays` the document has only the last closed day, and those that are known stay. */
  take(document, { isFollowing, hasDays }) {
    if (!isFollowing) {
      this.#stand(document);
      this.live = this.#business(document.live);
      this.health = new Samples(document.health);
    }
    this.definitions = document.definitions;
    if (hasDays) this.closed = document.closed.map(({ day, samples }) => ({ day, samples: this.#business(samples) }));
  }

  /** While events wait to be read, a 0 may be one of which nothing was read yet: then it is not known. */
  #business(samples) {
    return new Samples(samples, () => !UNREAD.has(this.about.state));
  }

  /** Whether a backlog is being read: then what is counted is not what was. */
  get isCatchingUp() {
    return this.about.state === "behind" || this.about.state === "rebalancing";
  }

  /** Take in an event of the stream. */
  hear(event, message) {
    if (event === "beat") return;
    if (event === "numbers") {
      this.live = this.#business(message.live);
      this.health = new Samples(message.health);
    } else {
      for (const samples of [this.live, this.health]) samples.drop(message.gone);
      this.live.put(message.live);
      this.health.put(message.health);
    }
    this.#stand(message);
  }

  /** All of it, as an event `numbers` of the stream. */
  whole() {
    return { ...this.about, live: this.live.all(), health: this.health.all() };
  }

  #stand(document) {
    this.about = Object.fromEntries(Object.keys(NOTHING).map((name) => [name, document[name] ?? NOTHING[name]]));
  }

  /** The zone that times are shown in: that of the deployment, where this browser knows it. */
  get zone() {
    try {
      new Intl.DateTimeFormat("en-GB", { timeZone: this.about.timezone });
      return this.about.timezone;
    } catch {
      return "UTC";
    }
  }

  get atMs() {
    return this.about.at === null ? null : Date.parse(this.about.at);
  }

  /** The window that is wanted, else the longest that is configured. */
  window(family, wanted) {
    const windows = this.about.windows[family];
    return windows.includes(wanted) ? wanted : byLength(windows).at(-1) ?? wanted;
  }

  /** A metric on each closed day. Nothing on days whose window is not whole: of the first day that is known, an
   *  unknown part lies before the first event. */
  closedSeries(name, window) {
    const first = this.about.first_day;
    return this.closed.map(({ day, samples }) => {
      const isWhole = first !== null && daysBetween(first, day) >= Number.parseInt(window, 10);
      return { day, isWhole, ...(isWhole ? samples.find(name, { window }) : {}) };
    });
  }
}

const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 };

export const secondsOf = (window) => Number.parseInt(window, 10) * SECONDS[window.at(-1)];

export const byLength = (windows) => [...windows].sort((one, other) => secondsOf(one) - secondsOf(other));

export const dayMs = (day) => Date.parse(`${day}T00:00Z`);

export const daysBetween = (from, to) => Math.round((dayMs(to) - dayMs(from)) / 86_400_000);

/** The day `days` before one. */
export const dayBefore = (day, days) => new Date(dayMs(day) - days * 86_400_000).toISOString().slice(0, 10);
