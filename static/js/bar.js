// Over and under the conversation: the room's name and people, who is writing, what there is to read when it is empty.

import { laying, make, mark, smallIcon, stamp } from "./dom.js";
import { say } from "./i18n.js";

const FACES = 4;
const NARROW = matchMedia("(width < 48rem)");

export class Bar {
  #store;
  #actions;
  #byId = (id) => document.getElementById(id);

  /** actions: newChat(), settings(part). */
  constructor(store, actions) {
    this.#store = store;
    this.#actions = actions;
    this.#byId("invite").addEventListener("click", () => actions.settings("people"));
    this.#byId("settings").addEventListener("click", () => actions.settings());
    NARROW.addEventListener("change", () => this.#showMain());
    store.on(({ kind, roomId }) => {
      if (kind === "open" || kind === "rooms" || (roomId === store.roomId && kind !== "stream")) this.#show();
    });
  }

  #show() {
    const room = this.#store.room(this.#store.roomId);
    const isOpen = this.#store.roomId !== null;
    for (const id of ["bar", "foot"]) this.#byId(id).hidden = !isOpen;
    document.querySelector(".app").dataset.view = isOpen ? "room" : "rooms";
    this.#showMain();
    if (isOpen) this.#showWelcome(null);
    else if (this.#store.roomsKnown)
      this.#showWelcome(say("rooms.welcome", { name: this.#store.me.name }), say("rooms.welcomeLead"));
    if (!room) return;
    const conversation = this.#store.conversation(room.id);
    const members = [...conversation.members.values()];
    this.#byId("room-name").textContent = room.name || say("room.unnamed");
    this.#byId("room-people").textContent = peopleOf(room, members);
    const others = members.filter(({ userId }) => userId !== this.#store.me.id);
    others.sort((a, b) => b.online - a.online);
    this.#byId("faces").replaceChildren(
      ...others.slice(0, FACES).map(({ name, userId }) => stamp(name, userId, { size: "small" })),
    );
    this.#showTyping(conversation);
    this.#showEmpty(room, conversation);
  }

  /** On a phone the list is the page, so it is the main part for who jumps to that. */
  #showMain() {
    const side = document.querySelector(".side");
    side.setAttribute("role", NARROW.matches && this.#store.roomId === null ? "main" : "navigation");
  }

  #showTyping(conversation) {
    const names = [...conversation.typing]
      .filter((id) => id !== this.#store.me.id)
      .map((id) => conversation.members.get(id)?.name)
      .filter(Boolean);
    const [name, other] = names;
    const text =
      names.length > 2
        ? say("typing.many")
        : names.length === 2
          ? say("typing.two", { name, other })
          : names.length
            ? say("typing.one", { name })
            : "";
    const line = this.#byId("typing");
    if (line.textContent !== text) line.replaceChildren(...(text ? [laying(), make("span", {}, text)] : []));
  }

  #showEmpty(room, conversation) {
    const isLoading = conversation.cursor === null;
    const isEmpty = !isLoading && conversation.list().length === 0 && conversation.pending.size === 0;
    this.#byId("bones").hidden = !isLoading;
    let note = this.#byId("log").querySelector(".empty");
    if (!isEmpty) return note?.remove();
    if (note) return undefined;
    const bot = room.bot.name;
    note = make(
      "section",
      { class: "empty floor__column" },
      mark(),
      make("h2", {}, say("empty.title")),
      make("p", {}, say(`empty.${room.bot.when}`, { bot })),
      make(
        "div",
        { class: "empty__actions" },
        make(
          "button",
          { type: "button", class: "button button--main", onclick: () => this.#actions.settings("people") },
          smallIcon("invite"),
          say("empty.invite"),
        ),
        make(
          "button",
          { type: "button", class: "button", onclick: () => this.#actions.settings("bot") },
          smallIcon("sliders"),
          say("empty.bot", { bot }),
        ),
      ),
    );
    return this.#byId("log").append(note);
  }

  /** In place of a conversation. */
  #showWelcome(title, lead) {
    const place = this.#byId("welcome");
    place.hidden = !title;
    if (!title || place.dataset.title === title) return;
    place.dataset.title = title;
    const start = make(
      "button",
      { type: "button", class: "button button--main", onclick: this.#actions.newChat },
      smallIcon("compose"),
      say("rooms.new"),
    );
    place.replaceChildren(
      mark(),
      make("h1", {}, title),
      make("p", {}, lead),
      make("div", { class: "empty__actions" }, start),
    );
  }
}

function peopleOf(room, members) {
  const bot = room.bot.when === "off" ? null : room.bot.name;
  if (room.memberCount === 1) return bot ? say("room.alone", { bot }) : say("room.aloneOnly");
  const online = members.filter((member) => member.online).length;
  return bot
    ? say("room.people", { n: room.memberCount, bot, online })
    : say("room.peopleOnly", { n: room.memberCount, online });
}
