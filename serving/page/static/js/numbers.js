// Numbers as text, the same everywhere: as platform/streamgauge/text.py writes them, which a test holds together.

const WHOLE = new Intl.NumberFormat("en-GB");
const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const FINE = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 4 });

export const NONE = "–";

/** @param {number | null | undefined} value */
export function number(value) {
  if (value == null) return NONE;
  return Number.isInteger(value) || Math.abs(value) >= 10_000 ? WHOLE.format(Math.round(value)) : FINE.format(value);
}

/** @param {number | null | undefined} value */
export function short(value) {
  return value == null ? NONE : Math.abs(value) < 10_000 ? number(value) : SHORT.format(value);
}

/** Never rounded up to 100 %, nor down to 0 %: what is missing is seen.
 * @param {number | null | undefined} ratio */
export function percent(ratio) {
  if (ratio == null) return NONE;
  if (ratio > 0 && ratio < 0.0001) return "< 0.01 %";
  const hundredths = Math.floor(ratio * 10_000 + 1e-9) / 100;
  if (hundredths === 0 || hundredths === 100) return `${hundredths} %`;
  return `${hundredths.toFixed(hundredths > 99 || hundredths < 1 ? 2 : 1)} %`;
}

/** How far `now` is from `before`, with its sign; nothing where there is nothing to compare with.
 * @param {number | null | undefined} now @param {number | null | undefined} before */
export function change(now, before) {
  if (now == null || before == null || before === 0) return NONE;
  const ratio = (now - before) / Math.abs(before);
  const text = Math.abs(ratio) >= 9.995 ? number(Math.round(ratio * 100)) : (ratio * 100).toFixed(1);
  if (Number(text) === 0) return now === before ? "0 %" : "± 0.0 %";
  return `${ratio > 0 ? "+" : ""}${text.replace("-", "−")} %`;
}

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds == null) return NONE;
  const sign = seconds <= -0.05 ? "-" : "";
  const s = Math.abs(seconds);
  if (s < 9.95) return `${sign}${s.toFixed(1)} s`;
  if (s < 99.5) return `${sign}${Math.round(s)} s`;
  if (s < 99.5 * 60) return `${sign}${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${sign}${Math.round(s / 3600)} h`;
  return `${sign}${Math.round(s / 86_400)} days`;
}

/** `event_type` reads "event type".
 * @param {string} name */
export function words(name) {
  return name.replaceAll("_", " ");
}

/** @param {string} text */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}
