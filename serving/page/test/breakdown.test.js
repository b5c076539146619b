import assert from "node:assert/strict";
import { test } from "node:test";

import { slotsOf, totalsOf } from "../static/js/breakdown.js";

const START = Date.parse("2026-01-01T10:00:00Z") / 1000;

/** A row of the window of that minute. */
function row(minute, more) {
  const start = START + minute * 60;
  const text = (seconds) => new Date(seconds * 1000).toISOString();
  return { window_start: text(start), window_end: text(start + 60), status: "provisional", complete: true, unchecked: false, ...more };
}

test("totals of what adds up are sorted by it, with their share and what was before", () => {
  const now = [row(0, { kind: "b", count: 10 }), row(0, { kind: "a", count: 30 })];
  const before = [row(-1, { kind: "a", count: 20 }), row(-1, { kind: "gone", count: 5 })];
  assert.deepEqual(totalsOf(now, before, "kind", "count", true), [
    { value: "a", number: 30, events: 30, share: 0.75, before: 20 },
    { value: "b", number: 10, events: 10, share: 0.25, before: null },
    { value: "gone", number: 0, events: 0, share: 0, before: 5 },
  ]);
});

test("totals of what does not add up are sorted by their events", () => {
  const now = [row(0, { kind: "a", count: 1, size_p95: 900 }), row(0, { kind: "b", count: 3, size_p95: null })];
  const totals = totalsOf(now, [], "kind", "size_p95", false);
  assert.deepEqual(totals.map((t) => [t.value, t.number, t.share]), [["b", null, 0.75], ["a", 900, 0.25]]);
});

test("each window has the values that are drawn, the rest, and what was before it", () => {
  const span = { start: START, size: 60, end: START + 3 * 60 };
  const whole = [row(0, { count: 10, status: "final" }), row(2, { count: 4, complete: false })];
  const parts = [row(0, { kind: "a", count: 6 }), row(0, { kind: "b", count: 3 }), row(2, { kind: "a", count: 5 })];
  const before = [row(-3, { count: 7 }), row(-2, { count: 8 })];
  const slots = slotsOf(span, "count", whole, parts, "kind", ["a", "b"], true, before, 180);
  assert.deepEqual(slots.map((s) => [s.sure, s.values, s.whole, s.before]), [
    ["final", [6, 3, 1], 10, 7],
    [null, [null, null, null], null, 8],
    ["open", [5, null, null], 4, null],
  ]);
});

test("what is not broken down is drawn as it is", () => {
  const slots = slotsOf({ start: START, size: 60, end: START + 60 }, "count", [row(0, { count: 10 })], [], "", [], false, [], 0);
  assert.deepEqual(slots.map((s) => s.values), [[10]]);
});
