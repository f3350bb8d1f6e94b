// A block of code: its language, a button that copies, colours once it is finished.

import DOMPurify from "../vendor/dompurify/purify.es.mjs";
import { copyWith } from "./clipboard.js";
import { make, smallIcon } from "./dom.js";
import { say } from "./i18n.js";

const SPANS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
const COLOURED_AT_MOST = 50_000;
let highlighter = null; // 120 KB that a page without code never loads

export class CodeBlock {
  #code = make("code");
  #text = "";

  constructor(text, language, isFinished) {
    const name = (language ?? "").trim().split(/\s+/)[0];
    const label = make("span", {}, say("code.copy"));
    const copy = make(
      "button",
      { type: "button", class: "button button--bare button--small" },
      smallIcon("copy"),
      label,
    );
    copy.addEventListener("click", () => copyWith(this.#text, label));
    const head = make("div", { class: "code__head" }, make("span", {}, name || say("code.plain")), copy);
    this.node = make("div", { class: "code" }, head, make("pre", { tabindex: "0" }, this.#code));
    this.grow(text);
    if (isFinished && name) this.#colour(name.toLowerCase());
  }

  /** Adds what is new; the reader's selection in what was there already stays. */
  grow(text) {
    const node = this.#code.firstChild;
    if (node?.nodeType === Node.TEXT_NODE && text.startsWith(this.#text))
      node.appendData(text.slice(this.#text.length));
    else this.#code.replaceChildren(text);
    this.#text = text;
  }

  async #colour(language) {
    if (this.#text.length > COLOURED_AT_MOST) return;
    highlighter ??= import("../vendor/highlight/highlight.min.js").then((module) => module.default);
    const hljs = await highlighter;
    if (!hljs.getLanguage(language)) return;
    const { value } = hljs.highlight(this.#text, { language, ignoreIllegals: true });
    this.#code.replaceChildren(DOMPurify.sanitize(value, SPANS));
  }
}
