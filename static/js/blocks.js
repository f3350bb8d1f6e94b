// Markdown to blocks, without a DOM: what is finished in a growing text is told apart from what may still change.

import { STAND_IN, lex, lexInline } from "./dialect.js";
import { parts } from "./parts.js";

// A last line of nothing but signs and digits: it may yet be an item, a rule, a table's or a heading's line, or text.
const UNTOLD = /(?<![^\n])[ \t\d>*+\-:|=_~`#.)$\\[\]]*$|$/;
const QUOTED = /^ {0,3}>(?!\t) ?/;

/**
 * Cuts a growing text into pieces. What is finished is given out once and never looked at again: also the items of a
 * list, the rows of a table, the lines of code, the parts of a long paragraph and what is inside of a quote.
 */
export class Blocks {
  #given = ""; // the text of the last push
  #rest = ""; // what of it is in no finished piece
  #cut = null; // the block whose beginning is finished, and whose end #rest begins with
  #keep = false; // the block at the beginning of #rest can't be cut
  #isWhole = false;
  #shared; // with the quotes inside: {links, text, isLate}

  #isTop;

  /** shared: that of the blocks around, in a quote. */
  constructor(shared = null) {
    this.#isTop = shared === null;
    this.#shared = shared ?? { links: Object.create(null), text: "", isLate: false };
  }

  /**
   * text: the whole text so far. isWhole: nothing more will come.
   * Returns {restart, finished, open}: restart, when the text is no longer what it was and all begins anew; pieces
   * newly finished; pieces that may still change, to be shown until the next push.
   * A piece is a token of marked, perhaps with a part of its items, rows, tokens or text. `continues`: it goes on with
   * the block of the piece before. A quote's has `inside`, what push() of its own blocks returned; `again`: it could
   * not be cut after all, and all of it follows. `isOver` tells of code whether that was the end.
   */
  push(text, isWhole) {
    // An answer is kept without the space at its end.
    if (isWhole && this.#given.startsWith(text) && !this.#given.slice(text.length).trim()) text = this.#given;
    if (this.#isWhole && isWhole && text === this.#given) return { restart: false, finished: [], open: [] };
    let restart = this.#isWhole || text.slice(0, this.#given.length) !== this.#given;
    if (restart) this.#forget();
    this.#take(text);
    if (this.#isTop) this.#shared.text = text;
    this.#isWhole = isWhole;
    let pushed = this.#steps(isWhole);
    if (this.#isTop && isWhole && this.#shared.isLate) {
      // Something was defined behind its use: only now is known what the use means.
      restart = true;
      this.#forget(this.#shared.links);
      this.#take(text);
      pushed = this.#steps(true);
    }
    return { restart, ...pushed };
  }

  #steps(isWhole) {
    const finished = [];
    let open = null;
    while (open === null) open = this.#step(finished, isWhole);
    return { finished, open };
  }

  #forget(links = Object.create(null)) {
    this.#given = this.#rest = "";
    this.#cut = null;
    this.#keep = false;
    Object.assign(this.#shared, { links, isLate: false });
  }

  #take(text) {
    let added = text.slice(this.#given.length);
    if (this.#given.endsWith("\r") && added.startsWith("\n")) added = added.slice(1);
    this.#given = text;
    this.#rest += added.includes("\r") ? added.replace(/\r\n?/g, "\n") : added;
  }

  /** Finishes what it can; returns what stays open, or null when there may be more to finish. */
  #step(finished, isWhole) {
    if (this.#cut?.type === "code") return this.#lines(finished, isWhole);
    if (this.#cut?.type === "blockquote") return this.#quoted(finished, isWhole);
    return this.#tokens(finished, isWhole);
  }

  #tokens(finished, isWhole) {
    const head = this.#cut?.head ?? "";
    const held = isWhole ? "" : UNTOLD.exec(this.#rest)[0];
    const source = head + this.#rest.slice(0, this.#rest.length - held.length);
    const how = { links: this.#shared.links, isGrowing: !isWhole, isQuoted: !this.#isTop };
    const tokens = source.length > head.length ? lex(source, how) : [];
    const from = isWhole ? tokens.length : firstOpen(tokens);
    const raw = tokens.slice(0, from).map((token) => token.raw).join("");
    if (this.#cut && tokens.length) this.#goOn(tokens[0], head);
    if (!isWhole && !source.startsWith(raw)) return tokens; // marked made another text of it
    if (from > 0) {
      this.#finish(tokens.slice(0, from), finished);
      this.#rest = isWhole ? "" : source.slice(Math.max(raw.length, head.length)) + held;
    }
    const open = tokens.slice(from).filter(({ type }) => type !== "space");
    if (open.length !== 1 || this.#keep) return open;
    const [last] = open;
    const isLast = last === tokens.at(-1);
    if (last.type === "list") return this.#items(last, isLast, finished);
    if (last.type === "table") return this.#rows(last, finished);
    if (last.type === "paragraph") return this.#sentences(last, finished);
    if (last.type === "code" && !last.codeBlockStyle) return this.#openCode(last, finished);
    if (last.type === "blockquote") return this.#openQuote(last, finished);
    return [last];
  }

  /** The rest of a block whose beginning was finished earlier. */
  #goOn(token, head) {
    token.continues = true;
    token.raw = token.raw.slice(head.length);
    if (token.type === "paragraph") token.text = token.text.slice(head.length);
  }

  #finish(tokens, finished) {
    this.#cut = null;
    this.#keep = false;
    for (const token of tokens) {
      if (token.type === "code") token.text = token.text.replace(/\n$/, ""); // of its last line
    }
    this.#learn(tokens);
    for (const token of tokens) {
      const texts = token.type === "paragraph" ? parts(token.text) : [];
      if (texts.length > 1) this.#sayParts(token, texts, finished);
      else finished.push(token);
    }
  }

  /** Definitions count once they are finished; whether one was used before, is a guess on the safe side. */
  #learn(tokens) {
    for (const token of tokens) {
      if (token.type !== "def") continue;
      const text = this.#shared.text.toLowerCase();
      const name = /\[[^\]]*\]/.exec(token.raw.toLowerCase())[0];
      if (text.indexOf(name) < text.lastIndexOf(`${name}:`)) this.#shared.isLate = true;
      this.#shared.links[token.tag] ??= { href: token.href, title: token.title };
    }
  }

  /** Moves `raw` out of #rest; `cut` is the block that goes on. */
  #out(finished, piece, cut) {
    const continues = this.#cut !== null;
    finished.push({ ...piece, continues });
    this.#rest = this.#rest.slice(piece.raw.length);
    this.#cut = cut;
  }

  #items(list, isLast, finished) {
    const last = list.items.at(-1);
    const isSure = !isLast || list.raw.endsWith("\n") || isItem(last.raw);
    const count = list.items.length - (isSure ? 1 : 2);
    if (count > 0) {
      const items = list.items.slice(0, count);
      const raw = items.map((item) => item.raw).join("");
      if (!this.#rest.startsWith(raw)) return [list];
      this.#out(finished, { ...list, items, raw }, { type: "list", head: "" });
      list = { ...list, items: list.items.slice(count), raw: list.raw.slice(raw.length), continues: true };
    }
    return [list];
  }

  #rows(table, finished) {
    const head = this.#cut?.head ?? /^[^\n]*\n[^\n]*\n/.exec(table.raw)?.[0];
    if (!head) return [table];
    const lines = (this.#cut ? table.raw : table.raw.slice(head.length)).split("\n");
    const count = Math.min(lines.length - 1, table.rows.length);
    if (count > 0) {
      const raw = (this.#cut ? "" : head) + lines.slice(0, count).join("\n") + "\n";
      if (!this.#rest.startsWith(raw)) return [table];
      this.#out(finished, { ...table, rows: table.rows.slice(0, count), raw }, { type: "table", head });
      table = { ...table, rows: table.rows.slice(count), raw: table.raw.slice(raw.length), continues: true };
    }
    return [table];
  }

  #sentences(paragraph, finished) {
    const all = parts(paragraph.text);
    const text = all.slice(0, -1).join("");
    if (!text || !this.#rest.startsWith(text)) return [paragraph];
    const raw = paragraph.raw.slice(text.length);
    const [rest] = all.splice(-1);
    this.#sayParts({ ...paragraph, raw: text, continues: this.#cut !== null }, all, finished);
    this.#rest = this.#rest.slice(text.length);
    this.#cut = { type: "paragraph", head: STAND_IN };
    return [{ ...paragraph, raw, text: rest, tokens: lexInline(rest, this.#shared.links), continues: true }];
  }

  /** A paragraph is given out as the parts in which it would have come by and by. */
  #sayParts(paragraph, texts, finished) {
    let { continues, raw } = paragraph;
    for (const [n, text] of texts.entries()) {
      const own = n < texts.length - 1 ? text : raw;
      raw = raw.slice(text.length);
      finished.push({ ...paragraph, raw: own, text, tokens: lexInline(text, this.#shared.links), continues });
      continues = true;
    }
  }

  // -- code

  #openCode(code, finished) {
    const head = /^( {0,3})(`{3,}|~{3,})[^\n]*\n/.exec(this.#rest);
    if (!head) return [code];
    const [raw, { length: indent }, fence] = head;
    this.#out(finished, { ...code, raw, text: "", isOver: false }, {
      type: "code",
      token: code,
      end: new RegExp(`^ {0,3}${fence[0]}{${fence.length},} *$`, "m"),
      indent: fence[0] === "`" && indent ? new RegExp(`^\\s{1,${indent}}`) : null,
      isEmpty: true,
    });
    return null;
  }

  #lines(finished, isWhole) {
    const { token, end } = this.#cut;
    const upTo = isWhole ? this.#rest.length : this.#rest.lastIndexOf("\n") + 1;
    const lines = this.#rest.slice(0, upTo);
    const match = end.exec(lines);
    const isOver = match !== null || isWhole;
    const inside = match ? lines.slice(0, match.index) : lines;
    const raw = match ? lines.slice(0, match.index + match[0].length) : lines;
    if (inside || isOver) {
      this.#out(finished, { ...token, raw, text: this.#unindented(inside), isOver }, isOver ? null : this.#cut);
      if (inside && !isOver) this.#cut.isEmpty = false;
    }
    if (isOver) return isWhole && !this.#rest ? [] : null;
    const rest = this.#rest;
    // What may be the end of the code is not shown as code.
    return !rest || /^ {0,3}[`~]+ *$/.test(rest)
      ? []
      : [{ ...token, raw: rest, text: this.#unindented(rest), continues: true }];
  }

  /** Lines as they are added to those before. */
  #unindented(lines) {
    if (!lines) return "";
    const { indent, isEmpty } = this.#cut;
    const text = lines.replace(/\n$/, "");
    const inner = indent ? text.split("\n").map((line) => line.replace(indent, "")).join("\n") : text;
    return isEmpty ? inner : `\n${inner}`;
  }

  // -- quotes

  #openQuote(quote, finished) {
    if (!quote.raw.split("\n").every((line) => QUOTED.test(line) || !line)) return [quote];
    this.#out(finished, { ...quote, raw: "", text: "", tokens: [], inside: null }, {
      type: "blockquote",
      token: quote,
      blocks: new Blocks(this.#shared),
      text: "",
      raw: "",
    });
    return null;
  }

  #quoted(finished, isWhole) {
    const cut = this.#cut;
    const [lines, next] = quotedLines(this.#rest, isWhole);
    if (next !== "" && next.trim()) {
      // A line without its sign may go on with the quote: then only the whole tells what is what.
      finished.push({ ...cut.token, raw: "", again: true, continues: true });
      this.#rest = cut.raw + this.#rest;
      this.#cut = null;
      this.#keep = true;
      return null;
    }
    const isOver = isWhole || next !== "";
    const end = isOver ? lines.length : lines.lastIndexOf("\n") + 1;
    const unquoted = (text) => text.replace(/^ {0,3}> ?/gm, "");
    cut.raw += lines.slice(0, end);
    cut.text += unquoted(lines.slice(0, end));
    const inside = cut.blocks.push(cut.text + unquoted(lines.slice(end)), isOver);
    const raw = lines.slice(0, end);
    this.#out(finished, { ...cut.token, raw, text: "", tokens: [], inside }, isOver ? null : cut);
    if (!isOver) return [];
    return isWhole && !this.#rest ? [] : null;
  }
}

/** The lines at the beginning that are surely quoted, and the line behind them that is not, or "" when none is told. */
function quotedLines(text, isWhole) {
  let end = 0;
  while (end < text.length) {
    const line = text.indexOf("\n", end);
    const next = line < 0 ? text.length : line + 1;
    if (!QUOTED.test(text.slice(end, next))) {
      const other = text.slice(end, next);
      const isTold = isWhole || line >= 0 || /\p{L}/u.test(other);
      return [text.slice(0, end), isTold ? other : ""];
    }
    end = next;
  }
  return [text, ""];
}

/** The index of the first token that may still change: the last, or the one before, of which it may be a part. */
function firstOpen(tokens) {
  const last = tokens.findLastIndex(({ type }) => type !== "space");
  if (last <= 0) return Math.max(0, last);
  if (last < tokens.length - 1 || standsAlone(tokens[last])) return last;
  const before = tokens.slice(0, last).findLastIndex(({ type }) => type !== "space");
  return before < 0 ? last : before;
}

/** Is this token, last in a growing text, sure not to become a part of the one before? */
function standsAlone({ type, raw, codeBlockStyle, tex }) {
  if (type === "table") return /^[^\n]*\n[^\n]*\n/.test(raw);
  if (type === "heading" && raw.includes("\n")) return raw.endsWith("\n"); // underlined
  if (raw.includes("\n")) return tex !== null;
  return type !== "mathBlock" && (type !== "code" || codeBlockStyle) && isItem(raw);
}

const isItem = (raw) => /\p{L}/u.test(raw) || raw.includes("\n");
