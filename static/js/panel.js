// The room's settings at the end: people, bot, room. Saving is explicit; each part is made anew when it is opened.

import { BotPart } from "./panel_bot.js";
import { PeoplePart } from "./panel_people.js";
import { RoomPart } from "./panel_room.js";
import { make, tool } from "./dom.js";
import { choice } from "./fields.js";
import { say } from "./i18n.js";

const PARTS = { people: PeoplePart, bot: BotPart, room: RoomPart };

export class Panel {
  #node = document.getElementById("panel");
  #button = document.getElementById("settings");
  #store;
  #shown = null;
  #part = "people";

  constructor(store) {
    this.#store = store;
    store.on(({ kind, roomId }) => {
      if (kind === "open") this.close();
      else if (kind === "people" && roomId === store.roomId) this.#shown?.refresh?.();
    });
  }

  get isOpen() {
    return !this.#node.hidden;
  }

  toggle(part) {
    if (this.isOpen && (!part || part === this.#part)) this.close();
    else this.open(part ?? this.#part);
  }

  open(part) {
    this.#part = part;
    const close = tool("close", say("panel.close"), () => this.close(), { small: false });
    const top = make("header", { class: "panel__top" }, make("h2", { id: "panel-title" }, say("panel.title")), close);
    this.#shown = new PARTS[part](this.#store);
    this.#node.replaceChildren(top, make("div", { class: "panel__body" }, this.#tabs(), this.#shown.node));
    this.#show(true);
    this.#button.setAttribute("aria-expanded", "true");
    this.#node.querySelector(`input[value="${part}"]`).focus();
  }

  #tabs() {
    const choices = Object.keys(PARTS).map((part) => [part, say(`panel.${part}`)]);
    return choice("part", say("panel.parts"), choices, this.#part, (part) => this.open(part));
  }

  /** Told to the layout by an attribute: with :has() each word of an answer would have it looked for in the whole page. */
  #show(isOpen) {
    this.#node.hidden = !isOpen;
    this.#node.parentElement.dataset.panel = isOpen ? "open" : "closed";
  }

  close() {
    if (!this.isOpen) return;
    const hadFocus = this.#node.contains(document.activeElement);
    this.#show(false);
    this.#shown = null;
    this.#button.setAttribute("aria-expanded", "false");
    if (hadFocus) this.#button.focus();
  }
}
