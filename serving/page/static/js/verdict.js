// The answer before the numbers: is it fresh, is it complete, is it final?

import { duration, number, percent, plural } from "./numbers.js";
import * as times from "./times.js";

/** A window is complete only when it has ended. */
const MINUTE = 60;

/** @typedef {Pick<import("./api.js").Api["Stream"], "targets" | "freshness_seconds" | "completeness" | "final_until" | "pauses" | "watermark">} Stream */
/** @typedef {"good" | "warn" | "bad" | "unknown"} Level */
/** @typedef {{ level: Level, value: string, text: string }} Answer */

/**
 * @param {Stream} stream as the API has it
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

/** While events flow some are always on their way: what counts is that windows are completed in time.
 * @param {Stream} stream @param {times.Zone} zone @param {number} now @returns {Answer} */
export function complete(stream, zone, now) {
  const { ratio, lag, lost, complete_until: until } = stream.completeness;
  const upto = until ? `complete until ${times.moment(until, zone, now)}` : "no window is complete yet";
  if (lost > 0) return { level: "bad", value: percent(ratio), text: `${plural(lost, "event")} lost, ${upto}` };
  if (ratio == null) return { level: "unknown", value: "–", text: `Kafka does not answer; ${upto}` };
  const { allowed_lateness_seconds: lateness, freshness_seconds: freshness, completeness: target } = stream.targets;
  const inTime = until && (now - times.ms(until)) / 1000 <= lateness + freshness + MINUTE;
  const onTheirWay = lag ? `, ${number(lag)} on their way` : "";
  const text = `of all events accounted for${onTheirWay}, ${upto}`;
  return { level: inTime || ratio >= target ? "good" : "warn", value: percent(ratio), text };
}

/** @param {Stream} stream @param {times.Zone} zone @param {number} now @returns {Answer} */
export function final(stream, zone, now) {
  const until = stream.final_until;
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

/** The three in one sentence, for the eye.
 * @param {Stream} stream @param {Answer} f @param {times.Zone} zone @param {number} now */
export function headline(stream, f, zone, now) {
  if (f.level === "unknown") return "Waiting for the first events.";
  const { complete_until: complete } = stream.completeness;
  const parts = [
    f.level === "good" ? "Fresh" : `${f.value} behind`,
    complete ? `complete until ${times.moment(complete, zone, now)}` : "not complete yet",
    stream.final_until ? `final until ${times.moment(stream.final_until, zone, now)}` : "nothing final yet",
  ];
  return `${parts.join(", ")}.`;
}

/** The same without what moves, for the ear: said again only when it changes.
 * @param {Answer} f @param {Answer} c @param {Answer} e */
export function spoken(f, c, e) {
  if (f.level === "unknown") return "waiting for the first events.";
  const checks = { good: "checked in time", warn: "checked too late", bad: "checked too late", unknown: "not checked yet" };
  return `${f.level === "good" ? "fresh" : "behind"}, ${c.level === "good" ? "complete" : "not complete"}, ${checks[e.level]}.`;
}

/** @param {Answer[]} answers @returns {Level} */
export function worst(...answers) {
  const order = /** @type {const} */ (["bad", "warn", "unknown", "good"]);
  return order.find((l) => answers.some((a) => a.level === l)) ?? "unknown";
}
