// How long to wait before the next try: doubling, with chance in it, so that many pages don't return as one.

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/** @param {number} failures @param {() => number} [random] */
export function backoffMs(failures, random = Math.random) {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
  return most / 2 + (random() * most) / 2;
}
