// A list of what is one's own and can be ended: devices, keys. It fills itself, and keeps the focus when a row goes.

import { api } from "./api.js";
import { laying, make, smallIcon } from "./dom.js";
import { trying } from "./fields.js";
import { say, words } from "./i18n.js";

export class OwnList {
  #path;
  #said;
  #row;
  #none;

  /** row(item, end): its line; end(item, text) deletes it, then says `text`. none: what to say of an empty list. */
  constructor(path, label, said, row, none = "") {
    this.#path = path;
    this.#said = said;
    this.#row = row;
    this.#none = none;
    this.node = make("ul", { class: "entries", "aria-label": label, tabindex: "-1" });
    this.node.append(make("li", { class: "entry" }, laying(say("account.loading"))));
    this.fill();
  }

  async fill() {
    try {
      const items = await api.all(this.#path);
      const rows = items.map((item) => this.#row(item, (text) => this.#end(item, text)));
      const none = make("li", { class: "entry entry--none" }, this.#none);
      this.node.replaceChildren(...(rows.length ? rows : [none]));
    } catch (error) {
      this.node.replaceChildren();
      this.#said.fault(words.error(error));
    }
  }

  async #end(item, text) {
    await trying(this.#said, async () => {
      await api.delete(`${this.#path}/${item.id}`);
      this.#said.say(text);
    });
    const hadFocus = this.node.contains(document.activeElement);
    await this.fill();
    if (hadFocus) this.node.focus();
  }
}

/** A line: icon, title, what is known beside it, buttons. */
export function entry(icon, title, notes, ...ends) {
  const known = notes.filter(Boolean).map((note) => make("span", {}, note));
  return make(
    "li",
    { class: "entry" },
    smallIcon(icon),
    make("span", { class: "entry__text" }, make("b", {}, title), make("small", {}, ...known)),
    ...ends,
  );
}
