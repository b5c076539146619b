// What a screen reader announces without being asked: only when an answer changes, and never more than one sentence in ten seconds.

import { byId } from "./dom.js";

const QUIET_MS = 10_000;
const place = byId("announcement");

let said = "";
let saidAt = -QUIET_MS;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;

/** @param {string} text */
export function announce(text) {
  clearTimeout(waiting);
  if (text === said) return;
  waiting = setTimeout(
    () => {
      said = text;
      saidAt = performance.now();
      place.textContent = text;
    },
    Math.max(0, saidAt + QUIET_MS - performance.now()),
  );
}
