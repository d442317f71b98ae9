// The tabs are links, and the address says which of them is shown. A tab that is entered again has the choices that it
// was left with.

import { placed } from "./place.js";

/** Show the tab that the address names. `changed(name, isOther)` is called whenever the address has changed. */
export function tabs(nav, changed) {
  const links = new Map([...nav.querySelectorAll("a")].map((link) => [link.hash.split("=")[1], link]));
  const strip = nav.querySelector("ul");
  let shown = null;

  /** On a narrow screen the strip scrolls, and its ends show whether there is more. */
  function cue() {
    nav.classList.toggle("before", strip.scrollLeft > 1);
    nav.classList.toggle("after", strip.scrollLeft + strip.clientWidth < strip.scrollWidth - 1);
  }

  function choose() {
    const asked = placed("tab");
    const name = links.has(asked) ? asked : [...links.keys()][0];
    const isOther = name !== shown;
    if (isOther) {
      for (const [one, link] of links) {
        document.getElementById(`tab-${one}`).hidden = one !== name;
        if (one === name) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      if (shown !== null) window.scrollTo(0, 0);
      shown = name;
      const { offsetLeft, offsetWidth } = links.get(name);
      strip.scrollLeft = offsetLeft - (strip.clientWidth - offsetWidth) / 2;
    }
    if (asked !== undefined) links.get(name).hash = location.hash;
    changed(name, isOther);
  }

  // A browser is content with a link of which a part can be seen.
  strip.addEventListener("focusin", ({ target }) => target.scrollIntoView({ block: "nearest", inline: "nearest" }));
  strip.addEventListener("scroll", cue);
  new ResizeObserver(cue).observe(strip);
  window.addEventListener("hashchange", choose);
  choose();
}
