// The choices of the user, which are in the address: #tab=days&metric=engagement_nps_closed. So a view can be sent to
// others, kept as a bookmark, and left and entered with Back and Forward.

const asked = () => new URLSearchParams(location.hash.slice(1));

/** The value of a choice in the address, or the usual value if the address has none. */
export const placed = (name, usual) => asked().get(name) ?? usual;

/** Change choices in the address. The value null removes a choice from it. */
export function goTo(changes) {
  const now = asked();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) now.delete(name);
    else now.set(name, value);
  }
  history.replaceState(null, "", `#${now}`);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
