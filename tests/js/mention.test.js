// Whom an unfinished @name may mean, also while a syllable is open.

import assert from "node:assert/strict";
import { test } from "node:test";
import { found, letters, mentionAt } from "../../static/js/mention.js";

const PEOPLE = ["마루", "한지수", "박민준", "Sofia Reyes", "하나 값"].map((name) => ({ name }));
const names = (query) => found(PEOPLE, query).map(({ name }) => name);

test("a mention begins behind white space or a bracket and ends at a line's end", () => {
  assert.deepEqual(mentionAt("@한", 2), { from: 0, query: "한" });
  assert.deepEqual(mentionAt("안녕 (@한지", 7), { from: 4, query: "한지" });
  assert.deepEqual(mentionAt("@a @", 4), { from: 3, query: "" });
  assert.equal(mentionAt("a@b.example", 11), null);
  assert.equal(mentionAt("@한지수\n다음", 7), null);
  assert.equal(mentionAt("@ 말", 3), null);
  assert.equal(mentionAt(`@${"가".repeat(50)}`, 51), null);
  assert.equal(mentionAt("말", 1), null);
});

test("all that one types on the way to a name finds it", () => {
  for (const query of ["ㅎ", "하", "한", "한ㅈ", "한지", "한짓", "한지수"]) assert.ok(names(query).includes("한지수"), query);
  for (const query of ["ㅎ", "하", "한", "하나", "하나 ", "하나 가", "하나 갑", "하나 값"]) assert.ok(names(query).includes("하나 값"), query);
  assert.deepEqual(names("한집"), []);
});

test("initials, later words and Latin letters without case", () => {
  assert.deepEqual(names("ㅎㅈㅅ"), ["한지수"]);
  assert.deepEqual(names("rey"), ["Sofia Reyes"]);
  assert.deepEqual(names("SO"), ["Sofia Reyes"]);
  assert.deepEqual(names("값"), ["하나 값"]);
  assert.equal(names("").length, 5);
  assert.deepEqual(names("없는 사람"), []);
});

test("nothing is offered behind a name that is written out", () => {
  assert.deepEqual(names("마루 이거"), []);
  assert.deepEqual(names("Sofia Reyes 안녕"), []);
  assert.deepEqual(names("마루"), ["마루"]);
});

test("letters of compound vowels and finals are those that one types", () => {
  assert.equal(letters("값괜찮"), "ㄱㅏㅂㅅㄱㅗㅐㄴㅊㅏㄴㅎ");
  assert.equal(letters("Ab한"), "abㅎㅏㄴ");
});
