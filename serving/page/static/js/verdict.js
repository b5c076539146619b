// The answer before the numbers: is it fresh, is it complete, is it final?

import { duration, number, percent, plural } from "./numbers.js";
import * as times from "./times.js";

/** @typedef {"good" | "warn" | "bad" | "unknown"} Level */
/** @typedef {{ level: Level, value: string, text: string }} Answer */

/**
 * @param {any} stream as the API has it
 * @param {number} age seconds since it was so
 * @returns {Answer}
 */
export function fresh(stream, age) {
  const target = stream.targets.freshness_seconds;
  if (stream.freshness_seconds == null) return { level: "unknown", value: "–", text: "No events yet." };
  const behind = stream.freshness_seconds + age;
  const against = `target ${duration(target)}`;
  if (behind <= target) return { level: "good", value: duration(behind), text: `behind now, ${against}` };
  return { level: behind <= 5 * target ? "warn" : "bad", value: duration(behind), text: `behind now, ${against} missed` };
}

/** @param {any} stream @param {times.Zone} zone @returns {Answer} */
export function complete(stream, zone) {
  const { ratio, lag, lost, complete_until: until } = stream.completeness;
  const upto = until ? `complete until ${times.moment(until, zone)}` : "no window is complete yet";
  if (lost > 0) return { level: "bad", value: percent(ratio), text: `${plural(lost, "event")} lost, ${upto}` };
  if (ratio == null) return { level: "unknown", value: "–", text: `Kafka does not answer; ${upto}` };
  if (ratio >= stream.targets.completeness) return { level: "good", value: percent(ratio), text: `of all events counted, ${upto}` };
  return { level: "warn", value: percent(ratio), text: `of all events counted, ${number(lag)} on their way, ${upto}` };
}

/** @param {any} stream @param {times.Zone} zone @param {number} now @returns {Answer} */
export function final(stream, zone, now) {
  const until = stream.final_until ?? stream.completeness.final_until;
  if (!until) return { level: "unknown", value: "Not yet", text: "every number is provisional" };
  const target = stream.targets.hourly_freshness_seconds;
  const old = (now - times.ms(until)) / 1000;
  const missed = target != null && old > target;
  return {
    level: missed ? "warn" : "good",
    value: times.moment(until, zone, now),
    text: `${missed ? "final until then, target missed" : "final until then"}${target == null ? "" : ` (target ${duration(target)} ago)`}`,
  };
}

/** One short sentence over the three. @param {Answer} f @param {Answer} c @param {Answer} e */
export function sentence(f, c, e) {
  if (f.level === "unknown") return "Waiting for the first events.";
  const isFresh = f.level === "good";
  const isComplete = c.level === "good";
  const completeness = isComplete ? "complete" : c.level === "unknown" ? "perhaps not complete" : "not yet complete";
  const both = isFresh ? "Fresh" : "Behind";
  const joint = isFresh === isComplete ? "and" : "but";
  const check = { good: "checked", warn: "the check is late", bad: "the check is late", unknown: "not checked yet" }[e.level];
  return `${both} ${joint} ${completeness}, ${check}.`;
}

/** @param {Answer[]} answers @returns {Level} */
export function worst(...answers) {
  const order = /** @type {const} */ (["bad", "warn", "unknown", "good"]);
  return order.find((l) => answers.some((a) => a.level === l)) ?? "unknown";
}
