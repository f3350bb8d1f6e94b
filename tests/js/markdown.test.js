// Blocks of a growing text. What DOMPurify does is tested in a real browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Blocks } from "../../static/js/blocks.js";
import { htmlOf, lex } from "../../static/js/dialect.js";
import { parts } from "../../static/js/parts.js";

const html = (text) => htmlOf(lex(text)).trim();
const sameEnd = (markup) => markup.replace(/\s+(?=<\/)/g, ""); // space that nobody sees

/** Pieces as the whole tokens that they are parts of. */
function joined(pieces) {
  const tokens = [];
  for (const piece of pieces) {
    if (!piece.continues) {
      const { inside, ...token } = piece;
      tokens.push(inside === null ? { ...token, pieces: [] } : token);
      continue;
    }
    const last = tokens.at(-1);
    if (piece.again) tokens.pop();
    else if (piece.type === "list") last.items = [...last.items, ...piece.items];
    else if (piece.type === "table") last.rows = [...last.rows, ...piece.rows];
    else if (piece.type === "paragraph") last.tokens = [...last.tokens, ...piece.tokens];
    else if (piece.type === "code") last.text += piece.text;
    else if (piece.type === "blockquote") last.pieces.push(...piece.inside.finished);
    else assert.fail(`${piece.type} goes on`);
  }
  return tokens;
}

/** A piece of code ends without its last line's end, a token of marked with it. */
const ended = (token) => {
  if (token.type === "blockquote" && token.pieces) return { ...token, tokens: joined(token.pieces).map(ended) };
  return token.type === "code" ? { ...token, text: `${token.text}\n` } : token;
};

const htmlOfPieces = (pieces) => htmlOf(joined(pieces).map(ended)).trim();

/** Feeds a text, each time up to the next of `ends`; returns all finished pieces and the largest that stayed open. */
function feed(text, ends) {
  const blocks = new Blocks();
  let finished = [];
  let mostOpen = 0;
  for (const end of [...ends, text.length]) {
    const pushed = blocks.push(text.slice(0, end), end === text.length);
    if (pushed.restart) finished = [];
    finished.push(...pushed.finished);
    mostOpen = Math.max(mostOpen, openLength(pushed));
  }
  return { finished, mostOpen };
}

function openLength({ finished, open }) {
  const inside = finished.findLast(({ inside }) => inside)?.inside;
  return open.reduce((sum, { raw }) => sum + raw.length, 0) + (inside ? openLength(inside) : 0);
}

const every = (text, step) => Array.from({ length: Math.floor(text.length / step) }, (_, n) => (n + 1) * step);

const LONG = [
  "# 제목",
  "첫 문단 **굵게**\n다음 줄",
  "- 하나\n- 둘\n\n  안쪽",
  "```sql\nselect 1;\n\nselect 2;\n```",
  "| a | b |\n|---|---|\n| 1 | 2 |",
  "> 인용",
  "$$\na\n- b\n$$",
  "끝.",
].join("\n\n");

test("whatever the pieces, the finished blocks are those of the whole text", () => {
  for (const step of [1, 2, 3, 7, 50]) assert.equal(htmlOfPieces(feed(LONG, every(LONG, step)).finished), html(LONG));
});

test("random texts in random pieces end as the whole text does", () => {
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const words = ["a", "낱말은 길다.", "**b**", "*", "_c_", "`d`", "$x^2$", "$5", "[e](http://f.g)", "[h]"].concat(
    ["~~i~~", "1", "3.", "-", "#", "|", "k | l", ">", "```", "~~~", "$$", "\\[", "\\]", "---", "==="],
    ["[h]: http://m.n", "|---|---|", "--|--", "- o", "1. p", "2) q", "> r", "- [ ] s", "   ", "\t", "<t>", "    u"],
  );
  const joints = [" ", " ", "\n", "\n", "\n", "\n\n", "\n> ", "\n  ", "\r\n", ""];
  for (let n = 0; n < 3000; n++) {
    let text = "";
    for (let count = 2 + random(14); count > 0; count--)
      text += words[random(words.length)] + joints[random(joints.length)];
    const ends = every(text, 1).filter(() => random(3) === 0);
    const whole = html(text.replace(/\r\n?/g, "\n"));
    assert.equal(sameEnd(htmlOfPieces(feed(text, ends).finished)), sameEnd(whole), JSON.stringify([n, text, ends]));
  }
});

test("long blocks are finished while they grow: what stays open is short", () => {
  const sentence = "문장 하나가 **여기** 있고, `code`도 있다. ";
  const many = (count, line) => Array.from({ length: count }, (_, n) => line(n)).join("\n");
  const shapes = {
    list: many(300, (n) => `${n + 1}. ${sentence}`),
    table: `| a | b |\n|---|---|\n${many(300, (n) => `| ${n} | ${sentence} |`)}`,
    paragraph: sentence.repeat(300),
    lines: many(300, () => sentence),
    code: `\`\`\`js\n${many(300, () => sentence)}\n\`\`\``,
    quote: many(300, () => `> ${sentence}`),
  };
  for (const [name, text] of Object.entries(shapes)) {
    const { finished, mostOpen } = feed(text, every(text, 13));
    assert.ok(mostOpen < 1_500, `${name}: ${mostOpen} of ${text.length}`);
    assert.equal(sameEnd(htmlOfPieces(finished)), sameEnd(html(text)), name);
  }
});

test("a list's items are finished one by one, and nothing of them is given out again", () => {
  const blocks = new Blocks();
  blocks.push("1. 하나\n2. 둘\n", false);
  const { finished, open } = blocks.push("1. 하나\n2. 둘\n3. 셋", false);
  assert.deepEqual([finished[0].continues, finished[0].items.map(({ text }) => text)], [true, ["둘"]]);
  assert.deepEqual([open[0].continues, open[0].items.map(({ text }) => text)], [true, ["셋"]]);
});

test("an unclosed fence is code that grows by lines", () => {
  const { finished, open } = new Blocks().push("```js\nlet a = 1;\n\nlet b", false);
  assert.deepEqual(
    finished.map(({ type, lang, text }) => [type, lang, text]),
    [
      ["code", "js", ""],
      ["code", "js", "let a = 1;\n"],
    ],
  );
  assert.equal(open[0].text, "\nlet b");
});

test("what may be the end of the code, or the begin of another block, is not shown yet", () => {
  assert.deepEqual(new Blocks().push("```\na\n``", false).open, []);
  assert.deepEqual(new Blocks().push("a\n\n- ", false).open.map(({ raw }) => raw), ["a"]);
});

test("a text that is no longer what it was begins anew", () => {
  const blocks = new Blocks();
  blocks.push("하나\n\n둘", false);
  const { restart, finished } = blocks.push("다른 글\n\n끝", true);
  assert.equal(restart, true);
  assert.equal(finished.map((token) => token.raw).join(""), "다른 글\n\n끝");
  assert.equal(blocks.push("다른 글\n\n끝", true).restart, false);
  assert.equal(blocks.push("다른 글\n\n끝 더", true).restart, true);
});

test("the end without its last space is no other text", () => {
  const blocks = new Blocks();
  blocks.push("하나\n\n둘\n\n", false);
  assert.deepEqual(
    ["하나\n\n둘", "하나\n\n둘"].map((text) => blocks.push(text, true).restart),
    [false, false],
  );
});

test("a link defined behind its use becomes one at the end", () => {
  const text = "[글][a] 하나\n\n둘\n\n[a]: https://b.example\n";
  assert.equal(htmlOfPieces(feed(text, every(text, 5)).finished), html(text));
  assert.match(html(text), /<a href="https:\/\/b.example">글<\/a>/);
});

test("a formula is what pandoc takes for one", () => {
  const formulas = (text) =>
    [...html(text).matchAll(/<code class="math(?: math--display)?">(.*?)<\/code>/gs)].map((match) => match[1]);
  assert.deepEqual(formulas("값은 $x^2$이다, \\(a_b\\)도"), ["x^2", "a_b"]);
  assert.deepEqual(formulas("$$\nx\n- y\n= z\n$$"), ["x\n- y\n= z"]);
  assert.deepEqual(formulas("글:\n\\[\nx\n\\]\n글"), ["x"]);
  const money = ["$5 and $6", "$5~$10", "5$에서 10$까지"];
  for (const text of [...money, "`$x$`", "    $x$", "\\$x\\$", "$ x $", "$$ 열린"])
    assert.deepEqual(formulas(text), [], text);
  assert.equal(html("10~20분, 30~40분"), "<p>10~20분, 30~40분</p>");
});

test("a list looks the same with blank lines between its items and without", () => {
  assert.equal(html("- a\n- b"), html("- a\n\n- b"));
  assert.equal(html("- [x] a\n- b").replace(/\s/g, ""), html("- [x] a\n\n- b").replace(/\s/g, ""));
});

test("a long text is cut where no mark is open", () => {
  const text = `${"가 ".repeat(597)}**굵은 글. 더 굵은 글** 끝. ${"다음 문장. ".repeat(50)}`;
  const [first, ...others] = parts(text);
  assert.ok(others.length > 0);
  assert.equal(first.split("**").length, 3);
  assert.equal([first, ...others].join(""), text);
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
