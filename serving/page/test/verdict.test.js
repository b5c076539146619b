import assert from "node:assert/strict";
import { test } from "node:test";

import { complete, final, fresh, headline } from "../static/js/verdict.js";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const STREAM = {
  freshness_seconds: 4,
  final_until: "2026-01-01T11:00:00Z",
  targets: { freshness_seconds: 60, hourly_freshness_seconds: 10_800, completeness: 1, allowed_lateness_seconds: 120 },
  completeness: { ratio: 1, lag: 0, lost: 0, complete_until: "2026-01-01T11:57:00Z" },
};
const completeness = (change) => ({ ...STREAM, completeness: { ...STREAM.completeness, ...change } });

test("freshness grows while no numbers come", () => {
  assert.equal(fresh(STREAM, 0).level, "good");
  assert.equal(fresh(STREAM, 57).level, "warn");
  assert.equal(fresh(STREAM, 57).value, "61 s");
  assert.equal(fresh(STREAM, 600).level, "bad");
  assert.equal(fresh({ ...STREAM, freshness_seconds: null }, 0).level, "unknown");
});

test("events on their way are no fault while windows are completed in time", () => {
  assert.equal(complete(completeness({ ratio: 0.99, lag: 50 }), "utc", NOW).level, "good");
  assert.equal(complete(completeness({ ratio: 0.99, lag: 50, complete_until: "2026-01-01T11:50:00Z" }), "utc", NOW).level, "warn");
  assert.equal(complete(completeness({ ratio: 1, complete_until: "2026-01-01T11:50:00Z" }), "utc", NOW).level, "good");
});

test("a lost event is a fault, and what is not known is not good", () => {
  assert.equal(complete(completeness({ lost: 1 }), "utc", NOW).level, "bad");
  assert.equal(complete(completeness({ ratio: null }), "utc", NOW).level, "unknown");
});

test("less than all is never rounded to 100 %", () => {
  assert.equal(complete(completeness({ ratio: 0.99999 }), "utc", NOW).value, "99.99 %");
});

test("final has a target too", () => {
  assert.equal(final(STREAM, "utc", NOW).level, "good");
  assert.equal(final(STREAM, "utc", NOW + 3 * 3_600_000).level, "warn");
  assert.equal(final({ ...STREAM, final_until: null }, "utc", NOW).level, "unknown");
});

test("the headline says how far each goes", () => {
  assert.equal(headline(STREAM, fresh(STREAM, 0), "utc", NOW), "Fresh, complete until 11:57, final until 11:00.");
  const bare = { ...completeness({ complete_until: null }), final_until: null };
  assert.equal(headline(bare, fresh(bare, 600), "utc", NOW), "10 min behind, not complete yet, nothing final yet.");
});
