import assert from "node:assert/strict";
import { test } from "node:test";

import { busiest, parseAddress } from "../static/js/streams.js";

const stream = (stream, recent_events, newest_minute) => ({ stream, recent_events, newest_minute });

test("the page opens with the stream that has most events now, else with the newest data", () => {
  const old = stream("old", 0, "2026-01-01T10:00:00Z");
  const newer = stream("newer", 0, "2026-01-02T10:00:00Z");
  const busy = stream("busy", 5, "2026-01-01T09:00:00Z");
  const empty = stream("empty", 0, null);
  assert.equal(busiest([old, newer, busy, empty]), busy);
  assert.equal(busiest([empty, old, newer]), newer);
  assert.equal(busiest([]), undefined);
});

test("an address names a stream, a part of it, and a question", () => {
  assert.deepEqual(parseAddress("#/orders/explore?by=kind&where=a%3Fb"), { name: "orders", part: "explore", question: "by=kind&where=a%3Fb" });
  assert.deepEqual(parseAddress("#/a%20b"), { name: "a b", part: "", question: "" });
  assert.deepEqual(parseAddress(""), { name: "", part: "", question: "" });
  assert.deepEqual(parseAddress("#main"), { name: "", part: "", question: "" });
  assert.deepEqual(parseAddress("#/%"), { name: "", part: "", question: "" });
});
