import assert from "node:assert/strict";
import { test } from "node:test";

import { Buckets, bucketOf, columns } from "../static/js/series.js";

const START = Date.parse("2026-01-01T10:00:00Z") / 1000;

/** A minute as the live connection brings it. */
function row(minute, count, more = {}) {
  const at = new Date((START + minute * 60) * 1000).toISOString();
  return { minute: at, count, status: "provisional", complete: true, ...more };
}

test("a bucket is final, provisional or open; final wins over what complete says", () => {
  assert.equal(bucketOf(row(0, 1)).sure, "provisional");
  assert.equal(bucketOf(row(0, 1, { complete: false })).sure, "open");
  assert.equal(bucketOf(row(0, 1, { status: "final", complete: false })).sure, "final");
});

test("the range ends with the bucket of the time given, and forgets what is older", () => {
  const buckets = new Buckets(60, 180);
  buckets.put([row(0, 1), row(2, 3), row(3, 4)], true);
  const slots = buckets.upto(START + 3 * 60 + 59);
  assert.deepEqual(slots.map((s) => [(s.start - START) / 60, s.bucket?.row.count ?? null]), [[1, null], [2, 3], [3, 4]]);
  assert.equal(buckets.upto(START + 2 * 60).find((s) => s.start === START)?.bucket, null);
});

test("a changed minute replaces the old; a snapshot replaces all", () => {
  const buckets = new Buckets(60, 600);
  buckets.put([row(0, 1), row(1, 2)], true);
  buckets.put([row(1, 5)], false);
  assert.deepEqual(buckets.upto(START + 60).filter((s) => s.bucket).map((s) => s.bucket.row.count), [1, 5]);
  buckets.put([row(2, 9)], true);
  assert.deepEqual(buckets.upto(START + 120).filter((s) => s.bucket).map((s) => s.bucket.row.count), [9]);
});

test("the newest complete bucket is not an open one", () => {
  const buckets = new Buckets(60, 600);
  assert.equal(buckets.newestComplete(), null);
  buckets.put([row(0, 1, { status: "final" }), row(1, 2), row(2, 3, { complete: false })], true);
  assert.equal(buckets.newestComplete()?.row.count, 2);
});

test("each bucket stands in the column of its kind alone; nothing counted is null, not zero", () => {
  const buckets = new Buckets(60, 240);
  buckets.put([row(0, 1, { status: "final" }), row(1, 2), row(3, 4, { complete: false })], true);
  const kinds = columns(buckets.upto(START + 180), "count");
  assert.deepEqual(kinds, [[1, null, null, null], [null, 2, null, null], [null, null, null, 4]]);
});
