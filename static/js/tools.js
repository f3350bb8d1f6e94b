// One toolbar for the whole log: it moves to the message that is pointed at, focused, or (on touch) pressed for long.

import { make, tool } from "./dom.js";
import { say } from "./i18n.js";

const LONG_MS = 450;

export class Tools {
  #log;
  #actions;
  #store;
  #bar = make("div", { class: "message__tools", role: "toolbar", "aria-label": say("message.tools") });
  #press = null;

  constructor(log, store, actions) {
    this.#log = log;
    this.#store = store;
    this.#actions = actions;
    const list = document.getElementById("messages");
    list.addEventListener("pointerover", (event) => event.pointerType === "mouse" && this.#moveTo(event.target));
    list.addEventListener(
      "pointerleave",
      (event) => event.pointerType === "mouse" && !list.contains(document.activeElement) && this.hide(),
    );
    list.addEventListener("focusin", (event) => this.#moveTo(event.target));
    list.addEventListener("focusout", (event) => !list.contains(event.relatedTarget) && this.hide());
    list.addEventListener("pointerdown", (event) => this.#pressed(event));
    for (const name of ["pointerup", "pointercancel", "pointermove"])
      list.addEventListener(name, () => clearTimeout(this.#press));
  }

  #pressed(event) {
    if (event.pointerType === "mouse" || this.#bar.contains(event.target)) return;
    clearTimeout(this.#press);
    this.hide();
    this.#press = setTimeout(() => this.#moveTo(event.target), LONG_MS);
  }

  #moveTo(target) {
    const node = target.closest(".message");
    if (!node || this.#bar.parentElement === node) return;
    const message = this.#log.viewOf(node)?.row?.message;
    const buttons = message ? this.buttons(message) : [];
    if (!buttons.length) return this.hide();
    this.#bar.replaceChildren(...buttons);
    node.append(this.#bar);
  }

  hide() {
    this.#bar.remove();
  }

  /** What one may do with a message. */
  buttons(message) {
    const { role } = this.#store.room(this.#store.roomId) ?? {};
    const own = message.userId === this.#store.me.id;
    const canWrite = role === "owner" || role === "member";
    const ended = message.status !== "queued" && message.status !== "streaming";
    if (message.deleted) return [];
    const actions = this.#actions;
    return [
      canWrite && tool("reply", say("message.reply"), () => actions.reply(message)),
      canWrite && ended && tool("quote", say("message.quote"), () => actions.quote(message)),
      tool("copy", say("message.copy"), () => actions.copy(message)),
      tool("link", say("message.link"), () => actions.link(message)),
      message.role === "bot" && tool("context", say("message.context"), () => actions.context(message)),
      own && canWrite && tool("edit", say("message.edit"), () => actions.edit(message)),
      message.role === "bot" &&
        canWrite &&
        ended &&
        tool("retry", say("answer.again"), () => actions.again(message.id)),
      message.role === "bot" && canWrite && !ended && tool("stop", say("answer.stop"), () => actions.stop(message.id)),
      ((own && canWrite) || role === "owner") && tool("trash", say("message.delete"), () => actions.remove(message)),
    ].filter(Boolean);
  }
}
