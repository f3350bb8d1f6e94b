// Markdown as Maru writes it: GitHub's, without HTML, with formulas, and with what Korean needs. No DOM.

import { Lexer, Marked } from "../vendor/marked/marked.esm.js";
import { LONGEST_HEAD, parts } from "./parts.js";

export const STAND_IN = "\uE000"; // in place of a paragraph's beginning that is finished already

// `**마루(Maru)**는`: CommonMark lets no delimiter close between punctuation and a letter; Korean needs it to.
const closedByParticle = {
  name: "closedByParticle",
  level: "inline",
  start: (source) => source.indexOf("**"),
  tokenizer(source) {
    const match = /^\*\*(?=\S)([^*\n]*[^\s*\p{L}\p{N}])\*\*(?=\p{L})/u.exec(source);
    return match ? { type: "closedByParticle", raw: match[0], tokens: this.lexer.inlineTokens(match[1]) } : undefined;
  },
  renderer({ tokens }) {
    return `<strong>${this.parser.parseInline(tokens)}</strong>`;
  },
};

// pandoc's rule for `$`: something stands directly behind the first and before the last, and no digit follows. So
// `$5 and $6` and `$5~$10` are money.
const INLINE = [
  /^\$(?![\s$])((?:\\[^\n]|[^\\$\n])*?(?:\\[^\n]|[^\\$\s]))\$(?![\d$])/,
  /^\\\(((?:(?!\\\))[^\n])+?)\\\)/,
  /^(?:\$\$(?!\$)((?:\\[^]|[^\\$])+?)\$\$|\\\[((?:(?!\\\])[^])+?)\\\])/,
];
const HANGUL_IN_WORDS = /\\[a-z]+\{[^{}]*\}/g; // \text{속도}

const math = {
  name: "math",
  level: "inline",
  start: (source) => source.search(/\$|\\[([]/),
  tokenizer(source) {
    if (source[0] !== "$" && source[0] !== "\\") return undefined;
    for (const [n, pattern] of INLINE.entries()) {
      const match = pattern.exec(source);
      if (!match) continue;
      const tex = match[1] ?? match[2];
      if (n === 0 && /[ㄱ-힣]/.test(tex.replace(HANGUL_IN_WORDS, ""))) continue; // `5$에서 10$까지`
      return { type: "math", raw: match[0], tex, display: n === 2 };
    }
    return undefined;
  },
  renderer: ({ tex, display }) =>
    `<code class="math${display ? " math--display" : ""}">${escaped(tex.trim())}</code>`,
};

// A formula that has its lines for itself: no line in it is a list, a heading or a quote.
const OWN_LINES =
  /^ {0,3}(?:\$\$(?!\$)((?:(?!\n[ \t]*\n|\$\$)[^])+)\$\$|\\\[((?:(?!\n[ \t]*\n|\\\])[^])+)\\\])[ \t]*(?=\n|$)/;
const UNCLOSED = /^ {0,3}(?:\$\$(?!\$)(?:(?!\n[ \t]*\n|\$\$)[^]){0,2000}|\\\[(?:(?!\n[ \t]*\n|\\\])[^]){0,2000})$/;

const MATH_LINE = /\n {0,3}(?:\$\$|\\\[)/;

const mathBlock = {
  name: "mathBlock",
  level: "block",
  start(source) {
    const end = source.indexOf("\n\n"); // of a paragraph; looking on would make a long text's cost square
    const at = (end < 0 ? source : source.slice(0, end)).search(MATH_LINE);
    return at < 0 ? undefined : at + 1;
  },
  tokenizer(source, tokens) {
    const match = OWN_LINES.exec(source);
    if (match) return { type: "mathBlock", raw: match[0], tex: match[1] ?? match[2] };
    const unclosed = now.isGrowing && tokens === this.lexer.tokens ? UNCLOSED.exec(source) : null;
    return unclosed ? { type: "mathBlock", raw: unclosed[0], tex: null } : undefined;
  },
  renderer: ({ raw, tex }) =>
    tex === null
      ? `<p>${escaped(raw)}</p>\n`
      : `<p><code class="math math--display">${escaped(tex.trim())}</code></p>\n`,
};

// In one line: a title that goes on for lines could take back what is finished.
const DEFINITION = /^[^\n]*\]:[ \t]*\S+(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*(?:$|\n(?![ \t]*["'(]))/;
const FOLLOWED = /^[^\n]*\n[ \t]*[^ \t]/;

const isText = ({ type }) => type === "text" || type === "paragraph";

export const markdown = new Marked({
  gfm: true,
  breaks: true, // people press Enter where they want a line to end
  extensions: [closedByParticle, math, mathBlock],
  hooks: {
    // No mark of emphasis closes inside a formula.
    emStrongMask: (source) =>
      source.replace(/\$[^$\n]+\$|\\\([^\n]+?\\\)/g, (formula) => "a".repeat(formula.length)),
  },
  tokenizer: {
    // No HTML: what looks like a tag stays the text that somebody wrote.
    html() {},
    tag() {},
    // `10~20분, 30~40분` strikes nothing out.
    del: (source) => (source.startsWith("~~") ? false : undefined),
    // Not in a list or quote either.
    def(source) {
      const isOutside = this.lexer.state.top && now.definesIn?.endsWith(`\n${source}`);
      return isOutside && DEFINITION.test(source) && (!now.isGrowing || FOLLOWED.test(source)) ? false : undefined;
    },
    // A line far away can't make a table or heading of a paragraph that is finished so far.
    table: (source) => (headIsShort(source, source.indexOf("\n")) ? false : undefined),
    lheading(source) {
      if (source.startsWith(STAND_IN)) return undefined;
      const match = this.rules.block.lheading.exec(source.slice(0, 2 * LONGEST_HEAD));
      return match && headIsShort(match[1], match[1].length) && !MATH_LINE.test(match[1]) ? false : undefined;
    },
  },
  renderer: {
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 2); // h1 and h2 are the page's
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    // An item looks the same whether or not others have blank lines between them: a list that grows does not jump.
    listitem({ tokens: [...tokens] }) {
      const type = tokens.filter(isText).length > 1 ? "paragraph" : "text";
      if (tokens[0]?.type === "checkbox" && type === "paragraph" && isText(tokens[1])) {
        const [box, text] = tokens.splice(0, 2);
        tokens.unshift({ ...text, tokens: [box, ...text.tokens] });
      }
      return `<li>${this.parser.parse(tokens.map((token) => (isText(token) ? { ...token, type } : token)))}</li>\n`;
    },
  },
});

function headIsShort(text, length) {
  return length <= LONGEST_HEAD && !text.startsWith(STAND_IN);
}

function escaped(text) {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

let now = { isGrowing: false, definesIn: null }; // what is known of the text that is being lexed

/**
 * Tokens of `source`. links: definitions known before it. isGrowing: more will come. isQuoted: it is a quote's inside,
 * where nothing is defined.
 */
export function lex(source, { links = {}, isGrowing = false, isQuoted = false } = {}) {
  now = { isGrowing, definesIn: isQuoted ? null : `\n${source}` };
  const lexer = new Lexer(markdown.defaults);
  lexer.tokens.links = Object.assign(Object.create(null), links);
  const tokens = lexer.blockTokens(source, lexer.tokens);
  for (const { src, tokens: inside } of lexer.inlineQueue) inline(src, inside, lexer);
  lexer.inlineQueue = [];
  return tokens;
}

/** Tokens inside of a paragraph's text. */
export function lexInline(text, links) {
  const lexer = new Lexer(markdown.defaults);
  lexer.tokens.links = links;
  return inline(text, [], lexer);
}

function inline(text, tokens, lexer) {
  for (const part of parts(text.startsWith(STAND_IN) ? text.slice(1) : text)) {
    lexer.state.inRawBlock = false;
    lexer.inlineTokens(part, tokens);
  }
  return tokens;
}

export const htmlOf = (tokens) => markdown.parser(tokens);
