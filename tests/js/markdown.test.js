// Blocks of a growing text. What DOMPurify does is tested in a real browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Blocks, htmlOf, markdown } from "../../static/js/blocks.js";

const html = (text) => htmlOf(markdown.lexer(text)).trim();

/** Feeds a text piece by piece; returns all finished blocks' raw text and how often each was given out. */
function feed(text, step = 3) {
  const blocks = new Blocks();
  const finished = [];
  for (let end = step; end < text.length; end += step)
    finished.push(...blocks.push(text.slice(0, end), false).finished);
  finished.push(...blocks.push(text, true).finished);
  return finished;
}

const LONG =
  "# 제목\n\n첫 문단 **굵게**\n다음 줄\n\n- 하나\n- 둘\n\n  안쪽\n\n```sql\nselect 1;\n\nselect 2;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> 인용\n\n끝.";

test("whatever the pieces, the finished blocks are those of the whole text, each once", () => {
  const whole = html(LONG);
  for (const step of [1, 2, 3, 7, 50]) {
    const finished = feed(LONG, step);
    assert.equal(finished.map((token) => token.raw).join(""), LONG);
    assert.equal(
      finished
        .map((token) => htmlOf([token]))
        .join("")
        .trim(),
      whole,
    );
  }
});

test("the last block is open until something follows it", () => {
  const blocks = new Blocks();
  assert.equal(blocks.push("하나", false).open.raw, "하나");
  const { finished, open } = blocks.push("하나\n\n둘", false);
  assert.deepEqual([finished[0].raw, open.raw], ["하나", "둘"]);
  assert.deepEqual(blocks.push("하나\n\n둘 셋", false).finished, []);
});

test("an unclosed fence is one open block of code", () => {
  const { open } = new Blocks().push("```js\nlet a = 1;\n\nlet b", false);
  assert.deepEqual([open.type, open.lang, open.text], ["code", "js", "let a = 1;\n\nlet b"]);
});

test("a text that is no longer what it was begins anew", () => {
  const blocks = new Blocks();
  blocks.push("하나\n\n둘", false);
  const { restart, finished } = blocks.push("다른 글\n\n끝", true);
  assert.equal(restart, true);
  assert.equal(finished.map((token) => token.raw).join(""), "다른 글\n\n끝");
});

test("HTML stays text", () => {
  assert.equal(html("<script>alert(1)</script>"), "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>");
  assert.ok(!html("a <img src=x onerror=alert(1)> b").includes("<img"));
  assert.ok(!html("<div onclick='x'>\n\n**b**\n\n</div>").includes("<div"));
});

test("bold closes before a Korean particle", () => {
  assert.equal(html("**마루(Maru)**는"), "<p><strong>마루(Maru)</strong>는</p>");
  assert.equal(html('**"답"**을'), "<p><strong>&quot;답&quot;</strong>을</p>");
  assert.equal(html("**굵게**는 2 ** 3"), "<p><strong>굵게</strong>는 2 ** 3</p>");
});

test("headings leave the page's own alone", () => {
  assert.match(html("# 제목"), /^<h3>/);
});
