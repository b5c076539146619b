import assert from "node:assert/strict";
import { test } from "node:test";

import { FIRST, parseQuestion, shiftOf, spanOf, writeQuestion } from "../static/js/question.js";

const STREAM = { dimensions: ["kind", "region"], distinct: ["users"], measures: [{ name: "size", figures: ["size_sum", "size_p95"], sums: ["size_sum"] }] };
const DAY = 24 * 3600;
const NOW = Date.parse("2026-01-10T14:32:10Z") / 1000;
const at = (text) => Date.parse(text) / 1000;

test("the address holds the whole question", () => {
  const question = {
    measure: "size_p95",
    by: "kind",
    where: [["region", "a:b&c=d%"], ["region", ""], ["kind", "x"]],
    window: "1h",
    range: "",
    from: at("2026-01-01T00:00:00Z"),
    to: at("2026-01-02T00:00:00Z"),
    against: "week",
  };
  assert.deepEqual(parseQuestion(writeQuestion(question), STREAM), { question, problems: [] });
  assert.equal(writeQuestion(FIRST), "");
  assert.deepEqual(parseQuestion("", STREAM), { question: FIRST, problems: [] });
});

test("what can't be asked is left out with a word", () => {
  const { question, problems } = parseQuestion("measure=nix&by=nix&where=nix:1&where=kind&window=7m&range=1y&against=x&from=2026-01-02&to=2026-01-01", STREAM);
  assert.deepEqual(question, FIRST);
  assert.equal(problems.length, 8);
  assert.match(problems[0], /filter “nix:1”/);
});

test("windows are as wide as can be told apart, and a range up to now ends with the window that fills", () => {
  const window = (range) => spanOf({ ...FIRST, range }, NOW, NOW).window;
  assert.deepEqual(["1h", "6h", "24h", "7d", "30d"].map(window), ["1m", "5m", "15m", "3h", "1d"]);
  assert.deepEqual(spanOf({ ...FIRST, range: "1h" }, NOW, NOW), { window: "1m", size: 60, start: at("2026-01-10T13:33:00Z"), end: at("2026-01-10T14:33:00Z") });
  const old = at("2025-12-01T10:20:00Z");
  assert.equal(spanOf({ ...FIRST, range: "1h" }, NOW, old).end, old + 60);
});

test("a window that would be too thin to draw, or wider than the range, is not taken", () => {
  assert.equal(spanOf({ ...FIRST, range: "30d", window: "1m" }, NOW, NOW).window, "1d");
  assert.equal(spanOf({ ...FIRST, range: "1h", window: "1d" }, NOW, NOW).window, "1m");
  assert.equal(spanOf({ ...FIRST, range: "24h", window: "1m" }, NOW, NOW).window, "1m");
});

test("it is compared with as much before it, or with the same weekdays", () => {
  const span = spanOf({ ...FIRST, range: "24h" }, NOW, NOW);
  assert.equal(shiftOf({ ...FIRST, against: "before" }, span), DAY);
  assert.equal(shiftOf({ ...FIRST, against: "week" }, span), 7 * DAY);
  assert.equal(shiftOf({ ...FIRST, against: "week" }, spanOf({ ...FIRST, range: "30d" }, NOW, NOW)), 35 * DAY);
  assert.equal(shiftOf({ ...FIRST, against: "" }, span), 0);
});
