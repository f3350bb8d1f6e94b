// A block of code: its language, a button that copies, colours once it is finished.

import DOMPurify from "../vendor/dompurify/purify.es.mjs";
import { copyWith } from "./clipboard.js";
import { make, smallIcon } from "./dom.js";
import { say } from "./i18n.js";

const SPANS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
const COLOURED_AT_MOST = 50_000;
const PART_LINES = 100; // laid out by itself, so that a long block's growth costs no more than a short one's
const blocks = new WeakMap(); // node -> CodeBlock
let highlighter = null; // 120 KB that a page without code never loads

export class CodeBlock {
  #code = make("code");
  #lines = null; // what is finished of the last part
  #free = 0; // lines that this part has room for
  #tail = new Text(); // a last line that still grows
  #isFinished = false;

  constructor(text, language) {
    this.language = (language ?? "").trim().split(/\s+/)[0];
    const label = make("span", {}, say("code.copy"));
    const copy = make(
      "button",
      { type: "button", class: "button button--bare button--small" },
      smallIcon("copy"),
      label,
    );
    copy.addEventListener("click", () => copyWith(this.text, label));
    const head = make("div", { class: "code__head" }, make("span", {}, this.language || say("code.plain")), copy);
    this.node = make("div", { class: "code" }, head, make("pre", { tabindex: "0" }, this.#code));
    blocks.set(this.node, this);
    this.add(text);
  }

  static of(node) {
    return blocks.get(node);
  }

  get text() {
    return this.#code.textContent;
  }

  /** Adds what is new; the reader's selection in what was there already stays. */
  add(text) {
    if (this.#tail.data) this.#tail.data = "";
    for (const line of text.split(/(?<=\n)/)) {
      if (this.#free === 0) this.#newPart();
      this.#lines.appendData(line);
      if (line.endsWith("\n")) this.#free--;
    }
  }

  #newPart() {
    this.#free = PART_LINES;
    this.#lines = new Text();
    this.#code.append(make("span", { class: "code__part" }, this.#lines, this.#tail));
  }

  /** What stands behind the finished lines for now. */
  tail(text) {
    if (text.startsWith(this.#tail.data)) this.#tail.appendData(text.slice(this.#tail.data.length));
    else this.#tail.data = text;
  }

  /** Show what `other` shows. */
  become(other) {
    if (this.text === other.text) return;
    this.#code.replaceChildren();
    this.#free = 0;
    this.add(other.text);
  }

  /** Nothing more comes: time for colours. */
  async finish() {
    if (this.#isFinished || !this.language || this.text.length > COLOURED_AT_MOST) return;
    this.#isFinished = true;
    highlighter ??= import("../vendor/highlight/highlight.min.js").then((module) => module.default);
    const hljs = await highlighter;
    const language = this.language.toLowerCase();
    if (!hljs.getLanguage(language)) return;
    const { value } = hljs.highlight(this.text, { language, ignoreIllegals: true });
    this.#code.replaceChildren(DOMPurify.sanitize(value, SPANS));
  }
}
