// What is not as expected: anomalies, and the band that is behind the minutes' counts.

import { capital, number, words } from "./numbers.js";

/** @typedef {import("./api.js").Api["AnomalyShape"]} Anomaly */
/** @typedef {import("./api.js").Api["Anomalies"]} Answer */
/** @typedef {{ expected: number, low: number, high: number }} Band */

const STATES = {
  open: { level: "bad", text: "Goes on" },
  ended: { level: "unknown", text: "Over" },
  acknowledged: { level: "warn", text: "Acknowledged" },
  expected: { level: "good", text: "Expected" },
};

export class Unusual {
  /** @type {Map<number, Band>} */
  #band = new Map();

  /** @param {Answer | null} answer */
  constructor(answer = null) {
    this.answer = answer;
    for (const b of answer?.band ?? []) this.#band.set(seconds(b.minute), b);
  }

  /** Of the stream's count in a minute; null where it is not known. @param {number} start seconds since 1970 */
  band(start) {
    return this.#band.get(start) ?? null;
  }

  /** Whether the figure of the whole stream was not as expected at some time between the two.
   * @param {string} figure @param {number} start @param {number} end */
  marks(figure, start, end) {
    const until = this.answer?.until ? seconds(this.answer.until) : 0;
    return (this.answer?.anomalies ?? []).some(
      (a) => a.figure === figure && isWhole(a) && seconds(a.began) < end && (a.ended ? seconds(a.ended) : until) > start,
    );
  }

  /** Those that had not ended before the time. @param {number} start seconds since 1970 */
  since(start) {
    return (this.answer?.anomalies ?? []).filter((a) => !a.ended || seconds(a.ended) > start);
  }

  /** Why there is nothing to say, or that there is nothing. */
  get nothing() {
    if (!this.answer) return "Not known yet.";
    if (!this.answer.looked) return "Not looked at: the contract says so.";
    return this.answer.until ? "Every series is as expected." : "No minute was judged yet.";
  }
}

/** @param {Anomaly} a */
function isWhole(a) {
  return Object.keys(a.dimensions).length === 0;
}

/** @param {Anomaly} a */
export function seriesOf(a) {
  const values = Object.values(a.dimensions).join(", ");
  const figure = a.figure.replace(/_mean$/, " (mean)");
  return values ? `${capital(words(figure))} of ${values}` : `${capital(words(figure))}, all events`;
}

/** @param {Anomaly} a */
export function stateOf(a) {
  const state = STATES[a.state];
  return a.state === "ended" && a.shifted ? { ...state, text: "A new level" } : state;
}

/** @param {Band} b */
export function bandText(b) {
  return `${rounded(b.expected)} (${rounded(b.low)} to ${rounded(b.high)})`;
}

/** Three digits are enough to compare by. @param {number} value */
export function rounded(value) {
  return number(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
}

/** @param {string} iso */
function seconds(iso) {
  return Date.parse(iso) / 1000;
}
