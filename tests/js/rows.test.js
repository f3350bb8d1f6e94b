// The rows of the log, the part of it that is shown, and the words.

import assert from "node:assert/strict";
import { readersOf } from "../../static/js/readers.js";
import { test } from "node:test";
import { arrange } from "../../static/js/arrange.js";
import { Words, particles } from "../../static/js/i18n.js";
import { LIMIT, Span } from "../../static/js/span.js";
import { finishedPart } from "../../static/js/spoken.js";
import en from "../../static/js/words/en.js";
import ko from "../../static/js/words/ko.js";

const said = (seq, userId, minute, fields = {}) => ({
  id: `m${seq}`,
  seq,
  userId,
  role: userId ? "user" : "bot",
  text: "",
  ts: new Date(2026, 10, 25, 9, minute).toISOString(),
  ...fields,
});

test("one who goes on within five minutes needs no second head", () => {
  const rows = arrange({
    messages: [said(1, "a", 0), said(2, "a", 4), said(3, "a", 10), said(4, "b", 11)],
    meId: "me",
  });
  assert.deepEqual(
    rows.map((row) => row.kind),
    ["day", "message", "message", "message", "message"],
  );
  assert.deepEqual(
    rows.slice(1).map((row) => row.more),
    [false, true, false, false],
  );
});

test("an answer right below its question is tied to it", () => {
  const [, asked, answer, other] = arrange({
    messages: [said(1, "a", 0), said(2, null, 1, { replyTo: "m1" }), said(3, null, 2, { replyTo: "m1" })],
    meId: "me",
  });
  assert.deepEqual([asked.asked, answer.below, other.below], [true, true, false]);
});

test("the line of what is new stands before the first unread of others", () => {
  const rows = arrange({
    messages: [said(1, "a", 0), said(2, "me", 1), said(3, "a", 2)],
    meId: "me",
    freshAfter: 1,
    unread: 1,
  });
  assert.deepEqual(
    rows.map((row) => row.key),
    [rows[0].key, "m1", "m2", "fresh", "m3"],
  );
});

const list = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => ({ seq: from + index }));

test("at the end the oldest leave, so that the DOM stays small", () => {
  const span = new Span();
  const shown = span.clip(list(1, 1000), true);
  assert.deepEqual([shown.length, shown.at(-1).seq], [LIMIT, 1000]);
});

test("going up the newest leave, going down they come back", () => {
  const all = list(1, 1000);
  const span = new Span();
  span.clip(all, true);
  for (let steps = 0; steps < 8; steps++) assert.equal(span.up(all), true);
  let shown = span.clip(all, false);
  assert.deepEqual([shown[0].seq, shown.length, span.reachesEnd], [201, LIMIT, false]);
  while (span.down(all));
  shown = span.clip(all, false);
  assert.deepEqual([shown.at(-1).seq, span.reachesEnd], [1000, true]);
});

test("when the list has no older ones they are to be fetched", () => {
  assert.equal(new Span().up(list(51, 100)), false);
});

test("both catalogues have the same words with the same holes", () => {
  assert.deepEqual(Object.keys(ko), Object.keys(en));
  const holes = (text) => [...new Set(JSON.stringify(text).match(/\{\w+\}/g) ?? [])].sort();
  for (const key of Object.keys(ko)) assert.deepEqual(holes(ko[key]), holes(en[key]), key);
});

test("particles fit the name before them", () => {
  assert.equal(
    particles("마루이(가) 지은이(가) 서울(으)로 방(으)로 마루(으)로 민준을(를)"),
    "마루가 지은이 서울로 방으로 마루로 민준을",
  );
  assert.equal(new Words("ko").say("composer.will", { bot: "Maru" }), "보내면 Maru가 답해요");
});

test("English counts", () => {
  const words = new Words("en");
  assert.equal(words.say("net.pending", { n: 1 }), "1 message will go when you're back.");
  assert.equal(words.say("rooms.unread", { n: 1200 }), "1,200 unread messages");
});

test("only finished sentences are spoken", () => {
  assert.equal(finishedPart("첫 문장입니다. 둘째", 0, false), "첫 문장입니다.");
  assert.equal(finishedPart("3.14는", 0, false), "");
  assert.equal(finishedPart("첫 문장입니다. 둘째", 8, true), " 둘째");
});

test("a reader's stamp stands at the last message that he has read, unless that is his own", () => {
  const rows = [1, 2, 3].map((seq) => ({
    kind: "message",
    key: `m${seq}`,
    message: { seq, role: "user", userId: seq === 2 ? "b" : "me" },
  }));
  const member = (userId, readSeq) => ({ userId, name: userId, readSeq });
  const found = readersOf(rows, [member("me", 3), member("a", 2), member("b", 1), member("c", 9), member("d", 0)], "me");
  const names = Object.fromEntries([...found].map(([key, members]) => [key, members.map(({ userId }) => userId)]));
  assert.deepEqual(names, { m2: ["a"], m3: ["c"] });
});
