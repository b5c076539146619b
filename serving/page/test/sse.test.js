import assert from "node:assert/strict";
import { test } from "node:test";

import { EventParser } from "../static/js/sse.js";

const TEXT = "event: numbers\r\nid: 7\r\ndata: {\"a\":1}\r\ndata: more\r\n\r\n: a comment\n\nid: 8\ndata:x\n\nevent: half\ndata: 1\n";
const EVENTS = [
  { type: "numbers", data: '{"a":1}\nmore', id: "7" },
  { type: "message", data: "x", id: "8" },
];

test("events are read, comments and an unfinished event are not", () => {
  assert.deepEqual(new EventParser().push(TEXT), EVENTS);
});

test("wherever the text is cut, the events are the same", () => {
  for (let i = 0; i <= TEXT.length; i++) {
    for (let j = i; j <= TEXT.length; j += 3) {
      const parser = new EventParser();
      const pieces = [TEXT.slice(0, i), TEXT.slice(i, j), TEXT.slice(j)];
      assert.deepEqual(pieces.flatMap((p) => parser.push(p)), EVENTS, `cut at ${i} and ${j}`);
    }
  }
});

test("an event without data is none", () => {
  assert.deepEqual(new EventParser().push("event: heartbeat\n\n"), []);
});
