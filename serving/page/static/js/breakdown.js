// An answer by time and by value of a dimension: which values are drawn, what is left, and how all of it stands against before.

import { bucketOf } from "./series.js";

/** @typedef {import("./api.js").Api["Row"]} Row */
/** @typedef {import("./series.js").Bucket["sure"]} Sure */
/** @typedef {{ start: number, end: number, sure: Sure | null, values: (number | null)[], whole: number | null, before: number | null }} Slot
 * `values`: of each line, in their order; `sure` is null where nothing happened */
/** @typedef {{ value: string, number: number | null, events: number, share: number | null, before: number | null }} Total */

/** Values that are drawn; more could not be told apart by their colours. */
export const DRAWN = 8;

/** Each value's total, the largest first: of what adds up by its number, else by its events.
 * @param {readonly Row[]} rows of the whole range @param {readonly Row[]} before @param {string} by @param {string} measure @param {boolean} isSum
 * @returns {Total[]} */
export function totalsOf(rows, before, by, measure, isSum) {
  const earlier = new Map(before.map((r) => [text(r, by), numberOf(r, measure)]));
  const all = isSum ? rows.reduce((sum, r) => sum + (numberOf(r, measure) ?? 0), 0) : rows.reduce((sum, r) => sum + (numberOf(r, "count") ?? 0), 0);
  const totals = rows.map((r) => {
    const value = text(r, by);
    const number = numberOf(r, measure);
    const events = numberOf(r, "count") ?? 0;
    return { value, number, events, share: all ? (isSum ? (number ?? 0) : events) / all : null, before: earlier.get(value) ?? null };
  });
  for (const [value, number] of earlier) {
    if (!rows.some((r) => text(r, by) === value)) totals.push({ value, number: isSum ? 0 : null, events: 0, share: 0, before: number });
  }
  /** @param {Total} t */
  const size = (t) => (isSum ? (t.number ?? 0) : t.events);
  return totals.sort((a, b) => size(b) - size(a) || (a.value < b.value ? -1 : 1));
}

/** @typedef {{ start: number, size: number, end: number }} Span */

/** A slot for every window of the span. With `hasRest`, the last of the values is what the named ones leave.
 * @param {Span} span @param {string} measure @param {readonly Row[]} whole @param {readonly Row[]} parts @param {string} by
 * @param {readonly string[]} values @param {boolean} hasRest @param {readonly Row[]} before @param {number} shift @returns {Slot[]} */
export function slotsOf(span, measure, whole, parts, by, values, hasRest, before, shift) {
  const wholes = new Map(whole.map((r) => [seconds(r), r]));
  const earlier = new Map(before.map((r) => [seconds(r) + shift, numberOf(r, measure)]));
  /** @type {Map<string, number | null>} */
  const own = new Map(parts.map((r) => [`${seconds(r)} ${text(r, by)}`, numberOf(r, measure)]));
  /** @type {Slot[]} */
  const slots = [];
  for (let start = span.start; start < span.end; start += span.size) {
    const row = wholes.get(start);
    const number = row ? numberOf(row, measure) : null;
    const drawn = values.map((v) => own.get(`${start} ${v}`) ?? null);
    if (hasRest) drawn.push(rest(number, drawn));
    slots.push({ start, end: start + span.size, sure: row ? bucketOf(row).sure : null, values: by ? drawn : [number], whole: number, before: earlier.get(start) ?? null });
  }
  return slots;
}

/** The parts are asked for after the whole: what came in between must not make the rest less than nothing.
 * @param {number | null} whole @param {(number | null)[]} parts */
function rest(whole, parts) {
  if (whole === null) return null;
  const left = parts.reduce((/** @type {number} */ sum, p) => sum - (p ?? 0), whole);
  return left > Math.abs(whole) * 1e-9 ? left : null;
}

/** @param {Row} row */
function seconds(row) {
  return Date.parse(row.window_start) / 1000;
}

/** @param {Row} row @param {string} by */
function text(row, by) {
  return String(row[by] ?? "");
}

/** @param {Row} row @param {string} measure @returns {number | null} */
function numberOf(row, measure) {
  return /** @type {number | null | undefined} */ (row[measure]) ?? null;
}
