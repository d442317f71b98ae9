// Follows the stream of changes, together with the other windows of this browser, as long as this one is visible.

import { Audience } from "./audience.js";

const MOST_HIDDEN_MS = 60_000; // a hidden tab goes on for so long, because its user may come back soon
const SEEN_EVERY_MS = 20_000;
const MOST_SILENT_MS = 45_000; // the worker sends something every five seconds, or every 15 while it has no connection

/** Follow `url`. `hear(event, message)` for each event; `cut()` each time the connection is lost or refused;
 *  `pause()` when nobody looks, until somebody does: hidden tabs hold no connection and open none. */
export function follow(url, { hear, cut, pause }) {
  let heardAt = performance.now();
  let isFollowing = false;
  let hiding = null;

  function tell(event, message) {
    if (!isFollowing) return; // this message was sent before the window left
    heardAt = performance.now();
    if (event === "cut") cut();
    else if (event === "paused") stop();
    else hear(event, message);
  }

  let audience = together(tell) ?? alone(url, tell);

  function look() {
    clearTimeout(hiding);
    if (!document.hidden) {
      if (!isFollowing) heardAt = performance.now();
      isFollowing = true;
    } else if (isFollowing) hiding = setTimeout(leave, MOST_HIDDEN_MS);
    else pause();
    if (isFollowing) audience.look(!document.hidden);
  }

  function leave() {
    clearTimeout(hiding);
    isFollowing = false;
    audience.leave();
    pause();
  }

  /** It was ended because nobody looked; somebody may do so meanwhile. */
  function stop() {
    isFollowing = false;
    look();
  }

  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && look());
  setInterval(() => {
    if (isFollowing && !document.hidden) audience.look(true);
  }, SEEN_EVERY_MS);
  setInterval(() => {
    if (!isFollowing || document.hidden || performance.now() - heardAt < MOST_SILENT_MS) return;
    heardAt = performance.now();
    cut();
    audience.leave();
    audience = together(tell) ?? alone(url, tell); // the worker has ended, so another one is started
    audience.look(true);
  }, 1_000);

  /** By the worker that all windows share; undefined where the browser has none (Chrome on Android). Windows of another
   *  version of this page share it too: whoever changes what is said to it or by it gives it another name. */
  function together(tell) {
    if (typeof SharedWorker === "undefined") return undefined;
    const worker = new SharedWorker(new URL("./stream-worker.js", import.meta.url), { type: "module", name: "stream" });
    worker.port.addEventListener("message", ({ data: [event, message] }) => tell(event, message));
    worker.addEventListener("error", () => {
      audience = alone(url, tell);
      if (isFollowing) audience.look(!document.hidden);
    });
    worker.port.start();
    return {
      look: (isSeen) => worker.port.postMessage(isSeen ? "seen" : "hidden"),
      leave: () => worker.port.postMessage("leave"),
    };
  }

  look();
}

/** By a connection of this window's own. */
function alone(url, tell) {
  const audience = new Audience(url);
  const follower = { tell };
  return { look: (isSeen) => audience.look(follower, isSeen), leave: () => audience.leave(follower) };
}
