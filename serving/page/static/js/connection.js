// What the page says of itself: live, standing still, asking, or disconnected, and since when.

import { byId, setText } from "./dom.js";
import { duration } from "./numbers.js";
import { preferences } from "./preferences.js";
import * as times from "./times.js";

/** Numbers move at least this often while all is well. */
const STALE_SECONDS = 15;

const line = byId("connection");
const age = byId("connection-age");

export class Connection {
  /** @type {import("./live.js").State} */
  state = "connecting";
  since = Date.now();
  /** When the numbers came, by this device's clock; how old they were then does not matter for standing still. */
  numbersAt = 0;
  asOf = "";
  /** @type {{ detail: string, hint?: string } | null} */
  problem = null;
  #why = "";

  /** @param {import("./live.js").State} state @param {number} since @param {string} why */
  set(state, since, why) {
    this.state = state;
    this.since = since;
    this.#why = why;
    this.show();
  }

  /** @param {any} numbers */
  took(numbers) {
    if (numbers.as_of !== this.asOf) this.numbersAt = Date.now();
    this.asOf = numbers.as_of;
    const problems = numbers.problems ?? [];
    this.problem = problems.length ? { detail: problems.join(" ") } : null;
    this.show();
  }

  /** Seconds since the numbers moved. */
  get age() {
    return this.numbersAt ? (Date.now() - this.numbersAt) / 1000 : 0;
  }

  get stands() {
    return this.numbersAt > 0 && this.age > STALE_SECONDS;
  }

  get kind() {
    if (this.state === "lost") return "lost";
    if (this.state === "connecting") return "connecting";
    if (this.stands) return "stale";
    if (this.problem) return "problem";
    return this.state;
  }

  show() {
    const zone = preferences.zone;
    const standing = this.numbersAt ? ` The numbers are from ${times.second(this.numbersAt, zone)}.` : "";
    const told = this.problem ? ` ${this.problem.detail}` : "";
    const text = {
      connecting: "Connecting…",
      live: "Live",
      polling: "Asking every 5 s: the live connection does not hold.",
      problem: `Live, but not whole.${told}`,
      stale: `Standing still.${standing}${told}`,
      lost: `${navigator.onLine ? "Disconnected" : "This device is offline"} since ${times.second(this.since, zone)}.${standing} Trying again. ${this.#why}`.trim(),
    }[this.kind];
    setText(line, text);
    document.body.dataset.connection = this.kind;
    setText(age, this.numbersAt ? `updated ${duration(Math.floor(this.age))} ago`.replace(".0 s", " s") : "");
  }
}
