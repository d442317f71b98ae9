// Loads closed days from the API: any of their numbers over any days, and the cohorts.

import { Samples } from "./numbers.js";

/** There is nothing to show: the server does not answer, or refuses the request. The message says why. */
export class Unanswered extends Error {}

/** What the API answers. Throws Unanswered. */
export async function read(path, query) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined));
  const answer = await fetch(`${path}?${asked}`).catch(() => {
    throw new Unanswered("the server does not answer");
  });
  const document = await answer.json().catch(() => ({ error: `the server answers with status ${answer.status}` }));
  if (!answer.ok) throw new Unanswered(document.error);
  return document;
}

/** A number on each closed day from one to another: {day, changed_at, final, corrections, samples}, oldest first. */
export async function closedDays(metric, { from, to, segment }) {
  const days = [];
  for (let next = from; next; ) {
    const page = await read("api/v1/closed", { metric, from: next, to, segment });
    days.push(...page.days);
    next = page.next;
  }
  return days.map((day) => ({ ...day, samples: new Samples(day.samples) }));
}

/** The cohorts of the days from one to another, oldest first: {mode, by, cohorts: [{from, to, users, cells}]}. */
export async function cohorts(query) {
  const rows = [];
  for (let from = query.from; ; ) {
    const page = await read("api/v1/cohorts", { ...query, from });
    rows.push(...page.cohorts);
    if (!page.next) return { ...page, cohorts: rows };
    from = page.next;
  }
}
