// The stream of changes: connects, notices silence, and comes back by itself.

const EVENTS = ["numbers", "changes", "beat"];
const MOST_SILENT_MS = 12_000; // the server says something every five seconds
const MOST_HIDDEN_MS = 60_000; // a tab that nobody sees gives its place to others
const MOST_WAIT_MS = 15_000;

/** Follow `url`. `hear(event, message)` for each event; `cut()` each time the connection is lost or refused. */
export function follow(url, { hear, cut }) {
  let source = null;
  let heardAt = Date.now();
  let tries = 0;
  let again = null;
  let hiding = null;

  function open() {
    clearTimeout(again);
    source?.close();
    source = new EventSource(url);
    heardAt = Date.now();
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        heardAt = Date.now();
        tries = 0;
        hear(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("error", lost);
  }

  function close() {
    source?.close();
    source = null;
  }

  function lost() {
    close();
    cut();
    clearTimeout(again);
    again = setTimeout(open, Math.min(MOST_WAIT_MS, 1_000 * 2 ** tries));
    tries += 1;
  }

  setInterval(() => {
    if (source !== null && Date.now() - heardAt > MOST_SILENT_MS) lost();
  }, 1_000);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, MOST_HIDDEN_MS);
    else if (source === null) open();
  });
  open();
}
