// What is shown, as the address says it: #tab=days&metric=engagement_nps_closed. It can be kept, sent, and gone back to.

const asked = () => new URLSearchParams(location.hash.slice(1));

/** What the address says of something, or else the usual. */
export const placed = (name, usual) => asked().get(name) ?? usual;

/** Say something else in the address; null leaves it to the usual. */
export function goTo(changes) {
  const now = asked();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) now.delete(name);
    else now.set(name, value);
  }
  history.replaceState(null, "", `#${now}`);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
