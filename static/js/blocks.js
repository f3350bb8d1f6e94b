// Markdown to blocks, without a DOM: what is finished in a growing text is told apart from what may still change.

import { Marked } from "../vendor/marked/marked.esm.js";

// `**마루(Maru)**는`: CommonMark does not let a delimiter close between punctuation and a letter; Korean needs it to.
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

export const markdown = new Marked({
  gfm: true,
  breaks: true, // people press Enter where they want a line to end
  extensions: [closedByParticle],
  // No HTML: what looks like a tag stays the text that somebody wrote.
  tokenizer: { html() {}, tag() {} },
  renderer: {
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 2); // h1 and h2 are the page's
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

export const htmlOf = (tokens) => markdown.parser(tokens);

/** Cuts a growing text into blocks. Each finished block is given out once and never again. */
export class Blocks {
  #done = "";

  /**
   * text: the whole text so far. isWhole: nothing more will come.
   * Returns {restart, finished, open}: restart, when the text is no longer what it was and all begins anew; tokens of
   * blocks newly finished; the token of the last block, which may still change, or null.
   */
  push(text, isWhole) {
    const source = text.replace(/\r\n?/g, "\n");
    const restart = !source.startsWith(this.#done);
    if (restart) this.#done = "";
    const tokens = markdown.lexer(source.slice(this.#done.length));
    const last = isWhole ? tokens.length : tokens.findLastIndex((token) => token.type !== "space");
    const finished = tokens.slice(0, Math.max(0, last));
    this.#done += finished.map((token) => token.raw).join("");
    return { restart, finished, open: isWhole ? null : (tokens[last] ?? null) };
  }
}
