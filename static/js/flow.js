// Pieces of a growing text (blocks.js) as nodes of one element: what is finished is put once, what is open is put anew.

import { CodeBlock } from "./code.js";
import { make } from "./dom.js";
import { settle } from "./settle.js";

// A table or paragraph longer than so many rows or characters is laid out in parts: the last grows, the others rest.
const PART_SIZE = { table: 100, paragraph: 12_000 };

export class Flow {
  #node;
  #render;
  #last = null; // where the block of the last piece goes on: {inside, ...} a node, {code} or {quote}
  #open = []; // nodes of what is open

  /** render(piece): its nodes. */
  constructor(node, render) {
    this.#node = node;
    this.#render = render;
  }

  /** Returns the nodes that were put: those that are finished, and those that may still change. */
  update({ finished, open }) {
    const put = { before: this.#open, finished: [], open: [], inside: [] };
    for (const piece of finished) this.#put(piece, put, put.finished);
    for (const piece of open) this.#put(piece, put, put.open);
    for (const node of put.before) node.remove();
    this.#open = put.open;
    return { finished: put.finished, open: [...put.open, ...put.inside] };
  }

  #put(piece, put, to) {
    if (piece.type === "code") this.#code(piece, put, to);
    else if ("inside" in piece || piece.again) this.#quote(piece, put, to);
    else {
      const nodes = this.#render(piece);
      if (!piece.continues) this.#begin(piece.type, nodes, put, to);
      else childrenOf(nodes[0], piece.type).forEach((node, n) => this.#goOn(node, n === 0, put, to));
      if (piece.type === "paragraph" && to === put.finished) this.#last.size += piece.text.length;
    }
  }

  #begin(type, nodes, put, to) {
    const kept = nodes.map((node) => this.#add(this.#node, node, put));
    to.push(...kept);
    const [block] = kept;
    this.#last = { type, block, inside: block && insideOf(block, type), size: 0, isPart: false };
    if (!this.#last.inside || type !== "table" || to !== put.finished) return;
    const rows = [...this.#last.inside.children];
    this.#last.size = Math.min(rows.length, PART_SIZE.table);
    for (const row of rows.slice(PART_SIZE.table)) this.#goOn(row, false, put, to);
  }

  #goOn(node, isFirst, put, to) {
    const last = this.#last;
    if (last.size >= PART_SIZE[last.type]) {
      last.inside = last.type === "table" ? make("tbody") : make("span", { class: "part" });
      (last.type === "table" ? last.block.querySelector("table") : last.block).append(last.inside);
      last.size = 0;
      last.isPart = true;
    }
    if (isFirst && last.isPart && last.size === 0 && node.nodeName === "BR") return; // a part begins a line as it is
    to.push(this.#add(last.inside, node, put));
    if (last.type === "table" && to === put.finished) last.size++;
  }

  /** In the place of what was open there before, if that can be. */
  #add(parent, node, put) {
    if (put.before[0]?.parentNode === parent) return settle(put.before.shift(), node);
    parent.append(node);
    return node;
  }

  #code(piece, put, to) {
    if (!piece.continues) {
      const block = new CodeBlock(piece.text, piece.lang);
      const node = this.#add(this.#node, block.node, put);
      this.#last = { code: CodeBlock.of(node) };
      if (piece.isOver !== false) to.push(node);
      return;
    }
    const { code } = this.#last;
    if (to === put.open) code.tail(piece.text);
    else code.add(piece.text);
    if (piece.isOver) to.push(code.node);
  }

  #quote(piece, put, to) {
    if (!piece.continues) {
      const node = this.#add(this.#node, make("blockquote"), put);
      this.#last = { quote: new Flow(node, this.#render), block: node };
    } else if (piece.again) {
      put.before = [this.#last.block];
    } else {
      const inside = this.#last.quote.update(piece.inside);
      to.push(...inside.finished);
      put.inside = inside.open;
    }
  }
}

/** Where the pieces go that go on with a block. */
function insideOf(node, type) {
  return type === "table" ? node.querySelector("tbody") : node;
}

function childrenOf(node, type) {
  return [...(insideOf(node, type)?.childNodes ?? [])];
}
