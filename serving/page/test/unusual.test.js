import assert from "node:assert/strict";
import { test } from "node:test";

import { Unusual, bandText, seriesOf, stateOf } from "../static/js/unusual.js";

const AT = Date.parse("2026-01-01T10:00:00Z") / 1000;

function iso(minute) {
  return new Date((AT + minute * 60) * 1000).toISOString();
}

function anomaly(began, ended, more = {}) {
  return { figure: "count", dimensions: {}, began: iso(began), ended: ended === null ? null : iso(ended), state: "open", shifted: false, ...more };
}

function answer(anomalies) {
  return { looked: true, until: iso(10), anomalies, band: [{ minute: iso(2), expected: 300, low: 250, high: 360 }] };
}

test("a minute is marked from the beginning to the end, and while it goes on up to the last one judged", () => {
  const unusual = new Unusual(answer([anomaly(2, 4), anomaly(8, null)]));
  const marked = [...Array(12).keys()].filter((m) => unusual.marks("count", AT + m * 60, AT + m * 60 + 60));
  assert.deepEqual(marked, [2, 3, 8, 9]);
  assert.ok(!unusual.marks("late", AT + 120, AT + 180));
});

test("a member's anomaly marks no bar of the whole stream, and stands in the list", () => {
  const unusual = new Unusual(answer([anomaly(2, 4, { dimensions: { event_type: "PushEvent" } })]));
  assert.ok(!unusual.marks("count", AT + 120, AT + 180));
  assert.deepEqual(unusual.since(AT).map(seriesOf), ["Count of PushEvent"]);
  assert.deepEqual(unusual.since(AT + 240), []);
});

test("a band is of its minute alone", () => {
  const unusual = new Unusual(answer([]));
  assert.equal(unusual.band(AT), null);
  assert.equal(bandText(unusual.band(AT + 120)), "300 (250 to 360)");
});

test("what became of it is said in words", () => {
  assert.equal(stateOf(anomaly(1, 2, { state: "ended", shifted: true })).text, "A new level");
  assert.equal(stateOf(anomaly(1, null)).text, "Goes on");
  assert.equal(new Unusual({ ...answer([]), looked: false }).nothing, "Not looked at: the contract says so.");
});
