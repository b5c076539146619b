// What the page says of itself: live, standing still, asking, or disconnected, and since when.

import { byId, setText } from "./dom.js";
import { duration } from "./numbers.js";
import { preferences } from "./preferences.js";
import * as times from "./times.js";

const line = byId("connection");
const age = byId("connection-age");

/** @typedef {import("./live.js").State | "stale" | "partial"} Kind */

/** For a view that asks now and then, and has no live connection. What is left out stays as it is.
 * @param {string} text @param {string} [since] @param {"live" | "lost"} [kind] */
export function showStatus(text, since, kind) {
  setText(line, text);
  if (since !== undefined) setText(age, since);
  if (kind) document.body.dataset.connection = kind;
}

export class Connection {
  /** @type {import("./live.js").State} */
  #state = "connecting";
  #since = Date.now();
  #why = "";
  /** By this device's clock: when numbers came, and when it was known that nothing is new. */
  #numbersAt = 0;
  #knownAt = 0;
  /** Why the server can't look. */
  #problem = "";
  /** What the server looked without. */
  #without = "";

  /** @param {import("./live.js").State} state @param {number} since @param {string} why */
  set(state, since, why) {
    this.#state = state;
    this.#since = since;
    this.#why = why;
    this.show();
  }

  /** @param {import("./live.js").Numbers} numbers */
  took(numbers) {
    this.#numbersAt = this.#knownAt = Date.now();
    this.#problem = "";
    this.#without = numbers.problems.map((p) => p.replace(/\.?$/, ".")).join(" ");
    this.show();
  }

  unchanged() {
    if (!this.#problem) this.#knownAt = Date.now();
    this.show();
  }

  /** @param {string} detail */
  problem(detail) {
    this.#problem = detail;
    this.show();
  }

  /** Seconds since the numbers came. */
  get age() {
    return this.#numbersAt ? (Date.now() - this.#numbersAt) / 1000 : 0;
  }

  /** Nobody knows whether the numbers are still so. */
  get blind() {
    return this.kind === "stale" || this.kind === "lost" || this.kind === "refused";
  }

  /** @returns {Kind} */
  get kind() {
    if (this.#state !== "live") return this.#state;
    if (this.#problem) return "stale";
    return this.#without ? "partial" : "live";
  }

  show() {
    const zone = preferences.zone;
    const from = this.#knownAt ? ` The numbers are from ${times.second(this.#knownAt, zone)}.` : "";
    const since = times.second(this.#since, zone);
    const gone = navigator.onLine ? "Disconnected" : "This device is offline";
    const texts = {
      connecting: "Connecting…",
      live: "Live",
      partial: `Live, but not whole. ${this.#without}`,
      polling: "Asking every 5 s: the live connection does not hold.",
      stale: `Standing still.${from} ${this.#problem}`,
      refused: `No numbers since ${since}.${from} ${this.#why} Trying again.`,
      lost: `${gone} since ${since}.${from} Trying again.`,
    };
    setText(line, texts[this.kind]);
    document.body.dataset.connection = this.kind;
    setText(age, this.#knownAt ? `as of ${duration(Math.floor((Date.now() - this.#knownAt) / 1000)).replace(".0", "")} ago` : "");
  }
}
