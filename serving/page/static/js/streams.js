// The streams as a whole: which of them the page opens with, and what an address names.

/** @typedef {import("./api.js").Api["Stream"]} Stream */

/** The one with most events now; where nothing flows, the one that came furthest. @template {Pick<Stream, "recent_events" | "newest_minute">} T
 * @param {readonly T[]} streams @returns {T | undefined} */
export function busiest(streams) {
  /** @param {T} s */
  const reach = (s) => (s.newest_minute ? Date.parse(s.newest_minute) : 0);
  return [...streams].sort((a, b) => b.recent_events - a.recent_events || reach(b) - reach(a))[0];
}

/** The parts of an address such as `#/orders/explore?by=kind`. A broken escape, such as `%`, names nothing; nor does a place on the page.
 * @param {string} hash @returns {{ name: string, part: string, question: string }} */
export function parseAddress(hash) {
  const [path = "", ...more] = (hash.startsWith("#/") ? hash.slice(2) : "").split("?");
  try {
    const [name = "", ...rest] = path.split("/").map(decodeURIComponent);
    return { name, part: rest.join("/"), question: more.join("?") };
  } catch {
    return { name: "", part: "", question: "" };
  }
}
