import assert from "node:assert/strict";
import test from "node:test";

import { excerpt } from "../../static/js/excerpt.js";

const told = (pieces) => pieces.map(({ text, isHit }) => (isHit ? `[${text}]` : text)).join("");

test("a short text is shown whole, with what was found marked, counted in code points", () => {
  assert.equal(told(excerpt("😀 Apple, apple pie", [[2, 7], [9, 14], [15, 18]])), "😀 [Apple], [apple] [pie]");
  assert.equal(told(excerpt("없음", [])), "없음");
});

test("a long text begins a little before the first hit and ends in time", () => {
  const text = `${"가 ".repeat(200)}바늘${" 나".repeat(200)}`;
  const shown = told(excerpt(text, [[400, 402]]));
  assert.ok(shown.startsWith("…") && shown.endsWith("…") && shown.includes("[바늘]"));
  assert.ok(shown.length < 160);
});

test("ranges that begin before or end behind what is shown are cut, lines run together", () => {
  assert.equal(told(excerpt("a\n\nb", [[0, 4]])), "[a b]");
  const shown = excerpt("x".repeat(300), [[0, 300]]);
  assert.equal(shown[0].text.length, 140);
});
