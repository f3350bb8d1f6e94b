// A message's text as DOM. Everything that was parsed goes through DOMPurify; nothing foreign loads by itself.

import DOMPurify from "../vendor/dompurify/purify.es.mjs";
import { Blocks } from "./blocks.js";
import { CodeBlock } from "./code.js";
import { htmlOf } from "./dialect.js";
import { make, smallIcon } from "./dom.js";
import { Flow } from "./flow.js";
import { say } from "./i18n.js";
import { formulaNode, typeset } from "./math.js";

const CLEAN = {
  ALLOWED_TAGS: [
    "p",
    "br",
    "strong",
    "em",
    "del",
    "code",
    "pre",
    "blockquote",
    "ul",
    "ol",
    "li",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "a",
    "img",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "input",
  ],
  ALLOWED_ATTR: ["href", "src", "alt", "title", "class", "start", "align", "type", "checked", "disabled"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|\/(?!\/)|#)/i,
  ADD_URI_SAFE_ATTR: ["align", "start", "type"], // else their words would have to look like addresses
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const BLOCK = "p, ul, ol, li, blockquote, h3, h4, h5, h6, div, pre, pre > code, .code__part, .part, table, tbody, tr, td";
const HOLDS_BLOCKS = "ul, ol, blockquote, table, thead, tbody, tr";

const SHORT_MS = 4; // a redraw that is as short may happen at each piece
const REST = 3; // after a longer one the page has so many times its length for other things

/** Text, growing or whole, in one element. Finished blocks, items, rows and lines are never touched again. */
export class Prose {
  #blocks = new Blocks();
  #flow = null;
  #caret = make("span", { class: "caret", "aria-hidden": "true" });
  #dress;
  #text = "";
  #restUntil = 0;
  #later = null; // timer

  /** dress(fragment): what the message adds, such as mentions. */
  constructor(node, dress = () => {}) {
    this.node = node;
    this.#dress = dress;
  }

  show(text, isWhole = true) {
    this.#text = text;
    const began = performance.now();
    if (!isWhole && began < this.#restUntil) {
      // Nothing is drawn when something else stands in the node by then.
      this.#later ??= setTimeout(() => this.node.contains(this.#caret) && this.#draw(false), this.#restUntil - began);
      return;
    }
    this.#draw(isWhole);
  }

  #draw(isWhole) {
    clearTimeout(this.#later);
    this.#later = null;
    const began = performance.now();
    const pushed = this.#blocks.push(this.#text, isWhole);
    this.#caret.remove();
    if (pushed.restart || !this.#flow) {
      this.node.replaceChildren();
      this.#flow = new Flow(this.node, (piece) => this.#nodes(piece));
    }
    const { finished, open } = this.#flow.update(pushed);
    for (const node of finished) for (const code of codesIn(node)) CodeBlock.of(code).finish();
    for (const node of [...finished, ...open]) typeset(node);
    if (isWhole) return;
    endOf(this.node).append(this.#caret);
    void this.node.offsetHeight; // layout is the larger part of a long block's cost; the log asks for it anyway
    const took = performance.now() - began;
    this.#restUntil = took > SHORT_MS ? began + took * (1 + REST) : 0;
  }

  #nodes(piece) {
    const fragment = DOMPurify.sanitize(htmlOf([piece]), CLEAN);
    dropSpace(fragment);
    dressCode(fragment);
    dressMath(fragment);
    dressTables(fragment);
    dressBoxes(fragment);
    dressPictures(fragment);
    dressLinks(fragment);
    this.#dress(fragment);
    return [...fragment.childNodes];
  }
}

const codesIn = (node) => (node.matches?.(".code") ? [node] : (node.querySelectorAll?.(".code") ?? []));

/** marked ends blocks with line ends, which would make what grew differ from what came whole. */
function dropSpace(fragment) {
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const { data, parentNode } = walker.currentNode;
    if (!data.trim() && (parentNode === fragment || parentNode.matches(HOLDS_BLOCKS))) found.push(walker.currentNode);
  }
  for (const text of found) text.remove();
}

/** Where the caret stands: in the last line of the last block. */
function endOf(node) {
  let end = node;
  for (let last; (last = end.lastElementChild)?.matches(BLOCK);) end = last;
  return end;
}

function dressCode(fragment) {
  for (const pre of fragment.querySelectorAll("pre")) {
    const language = /language-(\S+)/.exec(pre.firstElementChild?.className ?? "")?.[1];
    pre.replaceWith(new CodeBlock(pre.textContent.replace(/\n$/, ""), language).node);
  }
}

function dressMath(fragment) {
  for (const code of fragment.querySelectorAll("code.math")) code.replaceWith(formulaNode(code));
}

function dressTables(fragment) {
  for (const table of fragment.querySelectorAll("table")) {
    for (const cell of table.querySelectorAll('[align="right"]')) cell.classList.add("end");
    for (const head of table.querySelectorAll("th")) head.scope = "col";
    const frame = make("div", { class: "table", role: "region", tabindex: "0", "aria-label": say("table") });
    table.replaceWith(frame);
    frame.append(table);
  }
}

/** A box of a task list, which nobody can tick here, says what it is. */
function dressBoxes(fragment) {
  for (const box of fragment.querySelectorAll("input"))
    box.setAttribute("aria-label", say(box.checked ? "box.done" : "box.open"));
}

/** A foreign picture would tell its host who reads here, and when: it is opened only by a click, in a page of its own. */
function dressPictures(fragment) {
  for (const picture of fragment.querySelectorAll("img")) {
    const address = picture.getAttribute("src") ?? "";
    const label = picture.alt || say("picture.show", { host: hostOf(address) });
    const inside = [smallIcon("right"), picture.alt ? `${label} · ${hostOf(address)}` : label];
    const link = make(
      "a",
      { class: "picture", href: address, title: say("picture.show", { host: hostOf(address) }) },
      ...inside,
    );
    const around = picture.closest("a");
    (around ?? picture).replaceWith(link); // a link around it would hide what a click does
  }
}

function dressLinks(fragment) {
  for (const link of fragment.querySelectorAll("a")) {
    if (!link.hasAttribute("href")) {
      link.replaceWith(...link.childNodes);
    } else if (hostOf(link.getAttribute("href")) !== location.host) {
      link.rel = "noopener noreferrer";
      link.target = "_blank";
    }
  }
}

function hostOf(address) {
  try {
    return new URL(address, location.origin).host;
  } catch {
    return "";
  }
}

/** Calls `change(textNode)` for each text outside of code and links. */
export function eachText(fragment, change) {
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement?.closest("code, a, .code, .math")) found.push(walker.currentNode);
  }
  found.forEach(change);
}

/** Each match of `pattern` (global) in the texts becomes what `replace(match)` makes. */
export function replaceInText(fragment, pattern, replace) {
  eachText(fragment, (text) => {
    const parts = [];
    let end = 0;
    for (const match of text.data.matchAll(pattern)) {
      const made = replace(match);
      if (!made) continue;
      parts.push(text.data.slice(end, match.index), made);
      end = match.index + match[0].length;
    }
    if (parts.length) text.replaceWith(...parts, text.data.slice(end));
  });
}
