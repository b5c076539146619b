// Times as text, in the reader's zone or in UTC.

/** @typedef {"local" | "utc"} Zone */

const PARTS = /** @type {const} */ ({
  minute: { hour: "2-digit", minute: "2-digit" },
  second: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  day: { day: "numeric", month: "short" },
});

/** @type {Map<string, Intl.DateTimeFormat>} */
const made = new Map();

/** @param {Zone} zone @param {keyof typeof PARTS} parts */
function format(zone, parts) {
  const key = `${zone} ${parts}`;
  let found = made.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", { ...PARTS[parts], hourCycle: "h23", timeZone: zone === "utc" ? "UTC" : undefined });
    made.set(key, found);
  }
  return found;
}

/** @param {string | number | Date} time */
export function ms(time) {
  return typeof time === "number" ? time : new Date(time).getTime();
}

/** @param {string | number} time @param {Zone} zone */
export const minute = (time, zone) => format(zone, "minute").format(ms(time));

/** @param {string | number} time @param {Zone} zone */
export const second = (time, zone) => format(zone, "second").format(ms(time));

/** @param {string | number} time @param {Zone} zone */
export const day = (time, zone) => format(zone, "day").format(ms(time));

/** With the day, unless it is today.
 * @param {string | number} time @param {Zone} zone @param {number} [now] */
export function moment(time, zone, now = Date.now()) {
  const today = day(time, zone) === day(now, zone);
  return today ? minute(time, zone) : `${day(time, zone)} ${minute(time, zone)}`;
}

/** @param {string | number} start @param {string | number} end @param {Zone} zone @param {number} [now] */
export function span(start, end, zone, now = Date.now()) {
  return `${moment(start, zone, now)} – ${minute(end, zone)}`;
}

/** As an input of the kind datetime-local takes it. @param {number} time ms since 1970 @param {Zone} zone */
export function written(time, zone) {
  const shift = zone === "utc" ? 0 : new Date(time).getTimezoneOffset() * 60_000;
  return new Date(time - shift).toISOString().slice(0, 16);
}

/** Milliseconds since 1970; null where nothing whole is written. @param {string} text @param {Zone} zone */
export function read(text, zone) {
  const time = Date.parse(zone === "utc" ? `${text}Z` : text);
  return Number.isNaN(time) ? null : time;
}

/** The day before today. @param {Zone} zone @param {number} [now] @returns {[number, number]} ms since 1970 */
export function yesterday(zone, now = Date.now()) {
  const date = new Date(now);
  const [y, m, d] = zone === "utc" ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()] : [date.getFullYear(), date.getMonth(), date.getDate()];
  const midnight = (/** @type {number} */ day) => (zone === "utc" ? Date.UTC(y, m, day) : new Date(y, m, day).getTime());
  return [midnight(d - 1), midnight(d)];
}

/** Both ends with their day where they are not of one.
 * @param {number} start @param {number} end @param {Zone} zone @param {number} [now] */
export function period(start, end, zone, now = Date.now()) {
  const isOneDay = day(start, zone) === day(end, zone);
  return isOneDay ? span(start, end, zone, now) : `${day(start, zone)} ${minute(start, zone)} – ${day(end, zone)} ${minute(end, zone)}`;
}

/** @param {Zone} zone */
export function zoneName(zone) {
  return zone === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone.replaceAll("_", " ");
}
