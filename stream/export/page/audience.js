// The windows of a browser that follow the stream together: one connection for all of them, none if all are hidden.

import { connect } from "./connection.js";
import { Numbers } from "./numbers.js";

const MOST_SILENT_MS = 120_000; // a visible window reports every 20 seconds; one that has crashed does not

/** Each follower has `tell(event, message)`, which is also told `cut`, and `paused` when it follows no more. */
export class Audience {
  #url;
  #followers = new Map(); // by window: whether it is visible, and when it last reported
  #numbers = null; // null until the first numbers have come
  #end = null;

  constructor(url) {
    this.#url = url;
    setInterval(() => this.#dropSilent(), MOST_SILENT_MS / 4);
  }

  /** A follower is seen, or hidden. Who is seen follows; who is hidden goes on as long as it has followed. */
  look(follower, isSeen) {
    const isNew = !this.#followers.has(follower);
    if (isNew && !isSeen) return;
    this.#followers.set(follower, { isSeen, at: performance.now() });
    if (this.#end === null) this.#connect();
    else if (isNew && this.#numbers !== null) follower.tell("numbers", this.#numbers.whole());
  }

  leave(follower) {
    if (this.#followers.delete(follower) && this.#followers.size === 0) this.#disconnect();
  }

  #connect() {
    this.#end = connect(this.#url, {
      hear: (event, message) => {
        this.#numbers ??= new Numbers();
        this.#numbers.hear(event, message);
        this.#tell(event, message);
      },
      cut: () => {
        this.#numbers = null;
        this.#tell("cut", null);
        // No window is visible. The first one that is visible again makes a new connection.
        if (![...this.#followers.values()].some(({ isSeen }) => isSeen)) this.#disconnect();
      },
    });
  }

  #disconnect() {
    const followers = [...this.#followers.keys()];
    this.#end?.();
    this.#end = null;
    this.#numbers = null;
    this.#followers.clear();
    for (const follower of followers) follower.tell("paused", null);
  }

  #tell(event, message) {
    for (const follower of [...this.#followers.keys()]) follower.tell(event, message);
  }

  #dropSilent() {
    const now = performance.now();
    for (const [follower, { at }] of this.#followers) if (now - at > MOST_SILENT_MS) this.leave(follower);
  }
}
