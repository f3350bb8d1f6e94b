// The list under which an @ is completed. Never touches the field while a syllable is open in it: what was chosen then
// waits for its end.

import { botStamp, make, stamp } from "./dom.js";
import { found, mentionAt } from "./mention.js";

export class MentionList {
  #field;
  #people;
  #box = document.getElementById("mentions");
  #shown = [];
  #at = 0;
  #mention = null;
  #dismissed = -1; // where the @ stands whose list was closed by hand
  #pickAfter = null; // chosen in the middle of a syllable

  /** people(): [{name, userId | null for the bot}] who can be mentioned here. */
  constructor(field, people) {
    this.#field = field;
    this.#people = people;
    field.addEventListener("input", () => this.#look());
    field.addEventListener("blur", () => this.#pickAfter === null && this.close());
    field.addEventListener("compositionend", () => this.#pickAfter !== null && setTimeout(() => this.#pickKept()));
    document.addEventListener("selectionchange", () => document.activeElement === field && this.#look());
    this.#box.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps its focus
  }

  get isOpen() {
    return !this.#box.hidden;
  }

  /** Returns whether the key was the list's. */
  keydown(event, composing) {
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return false;
    if (composing) {
      if (event.code !== "Tab") return false; // Enter sends, arrows belong to the input method
      event.preventDefault();
      this.#pickAfter = this.#shown[this.#at];
      return true;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") this.#move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter" || event.key === "Tab") this.#pick(this.#shown[this.#at]);
    else if (event.key === "Escape") this.#dismiss();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  close() {
    if (!this.isOpen) return;
    this.#box.hidden = true;
    this.#box.replaceChildren();
    this.#field.removeAttribute("aria-activedescendant");
  }

  #look() {
    const { value, selectionStart, selectionEnd } = this.#field;
    const mention = selectionStart === selectionEnd ? mentionAt(value, selectionStart) : null;
    if (!mention) this.#dismissed = -1;
    if (!mention || mention.from === this.#dismissed) return this.close();
    const people = found(this.#people(), mention.query);
    if (!people.length) return this.close();
    const same = this.#mention?.from === mention.from && this.isOpen;
    this.#at = same ? Math.max(0, people.indexOf(people.find(({ name }) => name === this.#shown[this.#at]?.name))) : 0;
    this.#mention = mention;
    this.#shown = people;
    return this.#show();
  }

  #show() {
    this.#box.hidden = false;
    this.#box.replaceChildren(...this.#shown.map((person, index) => this.#option(person, index)));
    this.#mark();
  }

  #option({ name, userId }, index) {
    const pick = () => this.#choose(this.#shown[index]);
    return make(
      "li",
      { class: "mentions__one", role: "option", id: `mention-${index}`, onclick: pick },
      userId === null ? botStamp() : stamp(name, userId, { size: "small" }),
      make("span", {}, name),
    );
  }

  #move(step) {
    this.#at = (this.#at + step + this.#shown.length) % this.#shown.length;
    this.#mark();
  }

  #mark() {
    for (const [index, node] of [...this.#box.children].entries())
      node.setAttribute("aria-selected", String(index === this.#at));
    this.#box.children[this.#at].scrollIntoView({ block: "nearest" });
    this.#field.setAttribute("aria-activedescendant", `mention-${this.#at}`);
  }

  #dismiss() {
    this.#dismissed = this.#mention.from;
    this.close();
  }

  /** By a finger or the mouse: leaving the field closes an open syllable, and its end picks. */
  #choose(person) {
    this.#pickAfter = person;
    this.#field.blur();
    this.#field.focus();
    if (this.#pickAfter !== null) this.#pickKept();
  }

  #pickKept() {
    const person = this.#pickAfter;
    this.#pickAfter = null;
    if (person) this.#pick(person);
  }

  #pick({ name }) {
    const { from } = this.#mention;
    const end = this.#field.selectionStart;
    this.close();
    this.#field.setRangeText(`@${name} `, from, end, "end");
    this.#field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertReplacementText" }));
  }
}
