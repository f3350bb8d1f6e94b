// A message's text as DOM. Everything that was parsed goes through DOMPurify; nothing foreign loads by itself.

import DOMPurify from "../vendor/dompurify/purify.es.mjs";
import { Blocks, htmlOf } from "./blocks.js";
import { CodeBlock } from "./code.js";
import { make, smallIcon } from "./dom.js";
import { say } from "./i18n.js";

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
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const BLOCK = "p, ul, ol, li, blockquote, h3, h4, h5, h6, div, pre, pre > code, table, tbody, tr, td";

/** Text, growing or whole, in one element. Finished blocks are never touched again. */
export class Prose {
  #blocks = new Blocks();
  #open = []; // nodes of the last, unfinished block
  #openCode = null;
  #caret = make("span", { class: "caret", "aria-hidden": "true" });
  #dress;
  #isNew = true;

  /** dress(fragment): what the message adds, such as mentions. */
  constructor(node, dress = () => {}) {
    this.node = node;
    this.#dress = dress;
  }

  show(text, isWhole = true) {
    const { restart, finished, open } = this.#blocks.push(text, isWhole);
    if (restart || this.#isNew) this.node.replaceChildren();
    this.#isNew = false;
    if (this.#openCode && open?.type === "code" && finished.length === 0 && !restart) {
      this.#openCode.grow(open.text);
    } else {
      for (const node of this.#open) node.remove();
      this.#openCode = null;
      for (const token of finished) this.node.append(...this.#nodes(token, true));
      this.#open = open ? this.#nodes(open, false) : [];
      this.node.append(...this.#open);
    }
    if (isWhole) this.#caret.remove();
    else endOf(this.node).append(this.#caret);
  }

  #nodes(token, isFinished) {
    if (token.type === "code") {
      const block = new CodeBlock(token.text, token.lang, isFinished);
      if (!isFinished) this.#openCode = block;
      return [block.node];
    }
    const fragment = DOMPurify.sanitize(htmlOf([token]), CLEAN);
    dressCode(fragment);
    dressTables(fragment);
    dressPictures(fragment);
    dressLinks(fragment);
    this.#dress(fragment);
    return [...fragment.childNodes].filter((node) => node.nodeType === 1 || node.data.trim());
  }
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
    pre.replaceWith(new CodeBlock(pre.textContent.replace(/\n$/, ""), language, true).node);
  }
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
    if (!walker.currentNode.parentElement?.closest("code, a, .code")) found.push(walker.currentNode);
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
