// A connection to the stream of changes. It is made again if it ends or if nothing comes for too long.

const EVENTS = ["numbers", "changes", "beat"];
const MOST_SILENT_MS = 12_000; // the server sends something every five seconds
const MOST_WAIT_MS = 15_000;

/** Connect to `url`. `hear(event, message)` for each event; `cut()` each time the connection is lost or refused.
 *  Returns what ends it. Times are of a clock that nobody can set. */
export function connect(url, { hear, cut }) {
  let source = null;
  let heardAt = performance.now();
  let tries = 0;
  let again = null;

  function open() {
    source = new EventSource(url);
    heardAt = performance.now();
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        heardAt = performance.now();
        tries = 0;
        hear(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("error", lost);
  }

  function lost() {
    source?.close();
    source = null;
    clearTimeout(again);
    again = setTimeout(open, Math.min(MOST_WAIT_MS, 1_000 * 2 ** tries));
    tries += 1;
    cut();
  }

  const watch = setInterval(() => {
    if (source !== null && performance.now() - heardAt > MOST_SILENT_MS) lost();
  }, 1_000);
  open();
  return () => {
    clearInterval(watch);
    clearTimeout(again);
    source?.close();
    source = null;
  };
}
