// The tab Dimensions: five sides of engagement beside each other, now and a month ago, as the API tells them.

import { read } from "./closed.js";
import { terms } from "./definitions.js";
import { moved } from "./intervals.js";
import { KINDS, NONE, day, interval, shown } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { view } from "./view.js";

const term = terms();

/** Returns what loads and draws the tab. */
export function dimensions(root) {
  return view(root, () => read("api/v1/dimensions", {}), (numbers, { dimensions: all, before_day: before }) => {
    const rowOf = ({ title, metric, labels, unit, is_live: isLive, now: told, before: then }) => {
      const live = isLive ? numbers.live.find(metric, labels) : {};
      const now = live.value === undefined || unit !== numbers.definitions[metric].unit ? (told ?? {}) : live;
      const kind = now.lower !== undefined ? "share" : ({ seconds: "duration", users: "count" }[unit] ?? "ratio");
      const isCompared = now.value !== undefined && then;
      const move = isCompared && moved(now, then);
      const range = interval(kind, now.lower, now.upper);
      return html`
        <tr>
          <th scope="row">${metric.includes("_segment_") ? title : term(title, metric)}</th>
          <td class="number" data-of="now"><b>${shown(kind, now.value)}</b></td>
          <td class=${range ? "soft" : "soft wide"} data-of="interval">${range || NONE}</td>
          <td class="number" data-of="a month ago">${shown(kind, then?.value)}</td>
          <td class=${isCompared ? "number" : "number wide"} data-of="change">
            ${isCompared ? KINDS[kind].differ(now.value, then.value) : NONE}${move && move !== "no clear change" ? html` <span class="mark">${move}</span>` : ""}
          </td>
        </tr>`;
    };
    return html`
      <table class="figures stacks sides" aria-label="Dimensions">
        <thead>
          <tr>
            <td></td><th scope="col">now</th><th scope="col">95% interval</th>
            <th scope="col">${before === null ? "a month ago" : day(before)}</th><th scope="col">change</th>
          </tr>
        </thead>
        ${all.map(({ name, question, numbers: own }) => html`
          <tbody>
            <tr><th scope="rowgroup" colspan="5"><b>${name[0].toUpperCase() + name.slice(1)}</b> ${question}</th></tr>
            ${own.length ? own.map(rowOf) : html`<tr><td colspan="5">Nothing is known yet.</td></tr>`}
          </tbody>`)}
      </table>
      <p class="about">
        Windows are 28 days, or the longest there are. What is told live is live, the rest is of the last closed day; a
        month ago is the closed day 28 days before it, and is – until its whole window is known.
      </p>`;
  }, { isLive: true });
}
