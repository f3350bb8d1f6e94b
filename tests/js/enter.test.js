// Enter and Hangul, as browsers really tell it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { whoAnswers } from "../../static/js/answering.js";
import { Enter } from "../../static/js/enter.js";

const key = (at, fields = {}) => ({
  key: "Enter",
  code: "Enter",
  keyCode: 13,
  isComposing: false,
  shiftKey: false,
  timeStamp: at,
  ...fields,
});

function composing(enter, data) {
  enter.start();
  enter.update(data);
}

test("Enter sends, Shift+Enter breaks the line", () => {
  const enter = new Enter();
  assert.equal(enter.keydown(key(0)), "send");
  assert.equal(enter.keydown(key(1, { shiftKey: true })), null);
});

test("Chromium, Hangul: the Enter that closes a syllable sends once, its second keydown is swallowed", () => {
  const enter = new Enter();
  composing(enter, "한");
  assert.equal(enter.keydown(key(10, { keyCode: 229, isComposing: true, key: "Process" })), null);
  assert.equal(enter.end("한", 11), "send");
  assert.equal(enter.keydown(key(12)), "swallow");
  assert.equal(enter.allowsBreak(13), false);
  enter.keyup(key(80));
  assert.equal(enter.keydown(key(300)), "send");
});

test("a swallowed press is forgotten after half a second, should its keyup never come", () => {
  const enter = new Enter();
  composing(enter, "한");
  enter.keydown(key(10, { keyCode: 229, isComposing: true }));
  enter.end("한", 11);
  assert.equal(enter.keydown(key(600)), "send");
});

test("Safari, Hangul: the composition ends before its keydown of 229", () => {
  const enter = new Enter();
  composing(enter, "글");
  assert.equal(enter.end("글", 10), null);
  assert.equal(enter.keydown(key(11, { keyCode: 229 })), "send-later");
  assert.equal(enter.keydown(key(12)), "swallow");
});

test("Firefox, Hangul: one keydown while composing, then the end", () => {
  const enter = new Enter();
  composing(enter, "글");
  assert.equal(enter.keydown(key(10, { key: "Process", keyCode: 229, isComposing: true })), null);
  assert.equal(enter.end("글", 11), "send");
});

test("ibus: the composition ends, then a plain Enter comes, which sends once", () => {
  const enter = new Enter();
  composing(enter, "글");
  assert.equal(enter.end("글", 10), null);
  assert.equal(enter.keydown(key(11)), "send");
});

test("Japanese and Chinese: Enter only commits, in every order", () => {
  for (const data of ["かな", "漢字", "nihao"]) {
    const chromium = new Enter();
    composing(chromium, data);
    assert.equal(chromium.keydown(key(10, { keyCode: 229, isComposing: true })), null);
    assert.equal(chromium.end(data, 11), null);
    const safari = new Enter();
    composing(safari, data);
    assert.equal(safari.end(data, 10), null);
    assert.equal(safari.keydown(key(11, { keyCode: 229 })), null);
  }
});

test("Shift+Enter in the middle of a syllable does not send", () => {
  const enter = new Enter();
  composing(enter, "한");
  enter.keydown(key(10, { keyCode: 229, isComposing: true, shiftKey: true }));
  assert.equal(enter.end("한", 11), null);
});

test("the button in the middle of a syllable sends with its end, and the next Enter counts", () => {
  const enter = new Enter();
  composing(enter, "네");
  enter.mark();
  assert.equal(enter.end("네", 10), "send");
  assert.equal(enter.keydown(key(50)), "send");
});

test("who will answer is told by the server's rule", () => {
  const bot = (when) => ({ name: "Maru", when });
  assert.equal(whoAnswers(bot("always"), ""), "will");
  assert.equal(whoAnswers(bot("off"), "@maru", true), "off");
  assert.equal(whoAnswers(bot("mention"), "안녕"), "mention");
  assert.equal(whoAnswers(bot("mention"), "안녕 @MARU야"), "will");
  assert.equal(whoAnswers(bot("mention"), "안녕", true), "will");
});
