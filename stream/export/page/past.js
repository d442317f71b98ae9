// The history: the points that the server had when the page was loaded, and those that have come since.

const STEP_MS = 5_000;
const SPAN_MS = 24 * 3_600_000;
const RATE_MS = 60_000;

export class Past {
  #series = [];
  #points = []; // [milliseconds, values]

  take({ at, series }) {
    this.#series = series.map(({ name, labels }) => ({ name, labels }));
    this.#points = at.map((seconds, place) => [seconds * 1_000, series.map(({ values }) => values[place])]);
  }

  /** Take a point from numbers that are live, or remember that there is a gap. True when the past is another now. */
  add(numbers, isLive) {
    const last = this.#points.at(-1);
    if (!isLive || numbers.atMs === null) {
      if (last === undefined || last[1].every((value) => value === null)) return false;
      this.#points.push([last[0] + 1, this.#series.map(() => null)]);
      return true;
    }
    if (last !== undefined && numbers.atMs < last[0] + STEP_MS) return false;
    this.#points.push([numbers.atMs, this.#series.map((series) => valueOf(numbers, series))]);
    const oldest = numbers.atMs - SPAN_MS;
    this.#points.splice(0, this.#points.findIndex(([at]) => at >= oldest));
    return true;
  }

  get sinceMs() {
    return this.#points[0]?.[0];
  }

  /** Moments in milliseconds and values of a series; null where there is none. */
  series(name, labels = {}) {
    const wanted = JSON.stringify(Object.entries(labels).sort());
    const place = this.#series.findIndex(
      (series) => series.name === name && JSON.stringify(Object.entries(series.labels).sort()) === wanted,
    );
    return this.#points.map(([at, values]) => [at, values[place] ?? null]);
  }

  /** How fast a counter grew, a second, over the minute before each moment. */
  rate(name) {
    const points = this.series(name);
    let first = 0;
    return points.map(([at, value], place) => {
      if (value === null) first = place + 1;
      while (first < place - 1 && points[first + 1][0] <= at - RATE_MS) first += 1;
      const [since, before] = points[first] ?? [at, null];
      const isKnown = value !== null && before !== null && at > since && value >= before;
      return [at, isKnown ? (1_000 * (value - before)) / (at - since) : null];
    });
  }
}

function valueOf(numbers, { name, labels }) {
  if (!name.startsWith("engagement_events") && !name.startsWith("engagement_lag")) {
    return numbers.live.find(name, labels).value ?? null;
  }
  const counted = numbers.health.named(name).filter((sample) => sample.labels.outcome !== "rekeyed");
  return counted.reduce((sum, sample) => sum + sample.value, 0);
}
