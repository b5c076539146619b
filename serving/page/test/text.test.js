import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffMs } from "../static/js/backoff.js";
import { duration, number, percent, short } from "../static/js/numbers.js";
import * as times from "../static/js/times.js";

test("numbers", () => {
  assert.equal(number(1234567), "1,234,567");
  assert.equal(number(0.123456), "0.1235");
  assert.equal(number(null), "–");
  assert.equal(number(0), "0");
  assert.equal(short(1_250_000), "1.25M");
  assert.equal(percent(1), "100 %");
  assert.equal(percent(0.5), "50.0 %");
  assert.equal(percent(0.999999), "99.99 %");
});

test("durations", () => {
  assert.deepEqual([0.04, 9.9, 59.6, 150, 7200, 86400 * 3].map(duration), ["0.0 s", "9.9 s", "60 s", "3 min", "2 h", "3 days"]);
  assert.equal(duration(-5), "-5.0 s");
  assert.equal(duration(-0.01), "0.0 s");
});

test("times in UTC, with the day unless it is today", () => {
  const now = Date.parse("2026-03-02T10:00:00Z");
  assert.equal(times.moment("2026-03-02T00:05:00Z", "utc", now), "00:05");
  assert.equal(times.moment("2026-03-01T23:59:00Z", "utc", now), "1 Mar 23:59");
  assert.equal(times.span("2026-03-01T23:59:00Z", "2026-03-02T00:00:00Z", "utc", now), "1 Mar 23:59 – 00:00");
});

test("waits double up to a limit, and are never all the same", () => {
  assert.equal(backoffMs(1, () => 1), 500);
  assert.equal(backoffMs(3, () => 1), 2000);
  assert.equal(backoffMs(3, () => 0), 1000);
  assert.equal(backoffMs(50, () => 1), 15_000);
});
