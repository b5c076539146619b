import assert from "node:assert/strict";
import { test } from "node:test";

import { change } from "../static/js/numbers.js";
import { curlLine, polarsLine } from "../static/js/takeaway.js";

test("a line that is copied names where a key is, and holds none", () => {
  assert.equal(curlLine("u?a=b", false), "curl -fsS 'u?a=b'");
  assert.equal(curlLine("u?a=b", true), `curl -fsS -H "Authorization: Bearer $STREAMGAUGE_API_KEY" 'u?a=b'`);
  assert.match(polarsLine("u?a=b", false), /urlopen\("u\?a=b"\)/);
  assert.match(polarsLine("u?a=b", true), /os\.environ\["STREAMGAUGE_API_KEY"\]/);
});

test("changes have their sign, and are never nothing where there is one", () => {
  assert.deepEqual([change(110, 100), change(90, 100), change(100, 100), change(1200, 100)], ["+10.0 %", "−10.0 %", "0 %", "+1,100 %"]);
  assert.deepEqual([change(100_001, 100_000), change(5, 0), change(null, 1)], ["± 0.0 %", "–", "–"]);
});
