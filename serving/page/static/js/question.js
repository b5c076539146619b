// What the reader asks of a stream. The address holds all of it, so that a link shows the same.

import { measuresOf } from "./measures.js";

/** @typedef {import("./api.js").Api["Stream"]} Stream */

/** Seconds of the windows that the API has. */
export const WINDOWS = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "3h": 3 * 3600, "1d": 24 * 3600 };
/** Seconds of the ranges that end now. */
export const RANGES = { "1h": 3600, "6h": 6 * 3600, "24h": 24 * 3600, "7d": 7 * 24 * 3600, "30d": 30 * 24 * 3600 };
/** Bars are wide enough to be told apart. */
const READABLE = 120;
/** More would be thinner than a pixel. */
const MOST = 1500;
const WEEK = 7 * 24 * 3600;

/** @typedef {keyof typeof WINDOWS} WindowName */
/** @typedef {keyof typeof RANGES} RangeName */
/** @typedef {"" | "before" | "week"} Against */
/**
 * @typedef {object} Question
 * @property {string} measure
 * @property {string} by a dimension, or none
 * @property {readonly (readonly [string, string])[]} where dimension and value; values of one dimension are alternatives
 * @property {WindowName | ""} window none: as fits the range
 * @property {RangeName | ""} range one that ends now; none: from `from` to `to`
 * @property {number} from seconds since 1970
 * @property {number} to
 * @property {Against} against what it is compared with
 */

/** @type {Question} */
export const FIRST = { measure: "count", by: "", where: [], window: "", range: "24h", from: 0, to: 0, against: "before" };

/** What the address asks, and what of it can't be: that is left out, with a word.
 * @param {string} text @param {Stream} stream @returns {{ question: Question, problems: string[] }} */
export function parseQuestion(text, stream) {
  const given = new URLSearchParams(text);
  /** @type {string[]} */
  const problems = [];
  /** @template {string} T @param {string} name @param {readonly T[]} known @param {T} usual @returns {T} */
  const one = (name, known, usual) => {
    const value = given.get(name);
    if (value === null) return usual;
    const found = known.find((k) => k === value);
    if (found === undefined) problems.push(`The address asks for ${name} “${value}”, which is none of ${known.filter(Boolean).join(", ")}.`);
    return found ?? usual;
  };
  const where = given.getAll("where").flatMap((text) => {
    const [dimension = "", ...value] = text.split(":");
    if (stream.dimensions.includes(dimension) && value.length) return [/** @type {const} */ ([dimension, value.join(":")])];
    problems.push(`The address has a filter “${text}”; dimensions are ${stream.dimensions.join(", ")}.`);
    return [];
  });
  const from = Date.parse(given.get("from") ?? "") / 1000;
  const to = Date.parse(given.get("to") ?? "") / 1000;
  const isFixed = given.has("from") || given.has("to");
  const isRange = to > from;
  if (isFixed && !isRange) problems.push("The address has no range of times: from must be before to.");
  const question = {
    measure: one("measure", measuresOf(stream).map((m) => m.name), FIRST.measure),
    by: one("by", ["", ...stream.dimensions], FIRST.by),
    where,
    window: one("window", ["", ...windowNames()], FIRST.window),
    ...(isFixed && isRange ? { range: /** @type {const} */ (""), from, to } : { range: one("range", rangeNames(), /** @type {RangeName} */ (FIRST.range)), from: 0, to: 0 }),
    against: one("against", /** @type {const} */ (["", "before", "week"]), FIRST.against),
  };
  return { question, problems };
}

/** @param {Question} q */
export function writeQuestion(q) {
  const written = new URLSearchParams();
  if (q.measure !== FIRST.measure) written.set("measure", q.measure);
  if (q.by) written.set("by", q.by);
  for (const filter of q.where) written.append("where", filter.join(":"));
  if (q.window) written.set("window", q.window);
  if (!q.range) {
    written.set("from", iso(q.from));
    written.set("to", iso(q.to));
  } else if (q.range !== FIRST.range) written.set("range", q.range);
  if (q.against !== FIRST.against) written.set("against", q.against);
  return written.toString();
}

/** @typedef {{ window: WindowName, size: number, start: number, end: number }} Span whole windows, in seconds since 1970 */

/** Where the range lies now. One that ends now ends with the newest window; where nothing came within it, with that of the
 * newest data. @param {Question} q @param {number} now seconds since 1970 @param {number | null} newest @returns {Span} */
export function spanOf(q, now, newest) {
  const length = q.range ? RANGES[q.range] : q.to - q.from;
  const window = fits(q.window, length) ? q.window : /** @type {WindowName} */ (windowNames().find((w) => length / WINDOWS[w] <= READABLE) ?? "1d");
  const size = WINDOWS[window];
  if (!q.range) return { window, size, start: Math.floor(q.from / size) * size, end: Math.ceil(q.to / size) * size };
  const last = newest !== null && newest < now - length ? newest : now;
  const end = (Math.floor(last / size) + 1) * size;
  return { window, size, start: end - Math.ceil(length / size) * size, end };
}

/** Whether so many windows can be drawn. @param {WindowName | ""} window @param {number} length @returns {window is WindowName} */
export function fits(window, length) {
  return window !== "" && length / WINDOWS[window] <= MOST && WINDOWS[window] <= Math.max(60, length);
}

/** How far back lies what it is compared with. @param {Question} q @param {Span} span */
export function shiftOf(q, span) {
  if (q.against === "before") return span.end - span.start;
  return q.against === "week" ? Math.ceil((span.end - span.start) / WEEK) * WEEK : 0;
}

/** The filters as the API takes them. @param {Question} q */
export function filtersOf(q) {
  return q.where.map((filter) => filter.join(":"));
}

/** @param {number} seconds */
export function iso(seconds) {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

export function windowNames() {
  return /** @type {WindowName[]} */ (Object.keys(WINDOWS));
}

function rangeNames() {
  return /** @type {RangeName[]} */ (Object.keys(RANGES));
}
