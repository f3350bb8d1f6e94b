// The list of rooms: what is shared, what is just Maru and me; unread counts, and where an answer runs.

import { laying, make, soon } from "./dom.js";
import { say, words } from "./i18n.js";

export class Rooms {
  #list = document.getElementById("rooms");
  #find = document.getElementById("find");
  #store;
  #later = soon(() => this.#show());
  #shape = "";

  /** go(roomId): open a room. */
  constructor(store, go) {
    this.#store = store;
    this.#find.addEventListener("input", () => this.#later());
    this.#find.addEventListener("keydown", (event) => this.#foundKey(event, go));
    this.#list.addEventListener("click", (event) => {
      const link = event.target.closest("a.room");
      if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      go(link.dataset.room);
    });
    for (const name of ["focus", "blur"]) addEventListener(name, () => this.#later());
    store.on(({ kind }) => (kind === "rooms" || kind === "open" || kind === "message") && this.#later());
  }

  #foundKey(event, go) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.#clear();
    if (event.key !== "Enter") return;
    const first = this.#list.querySelector("a.room");
    if (!first) return document.querySelector("#found a.hit")?.click();
    this.#clear();
    go(first.dataset.room);
  }

  #clear() {
    this.#find.value = "";
    this.#find.blur();
    this.#find.dispatchEvent(new Event("input"));
  }

  /** Room ids in the order of the list. */
  order() {
    return [...this.#list.querySelectorAll("a.room")].map((link) => link.dataset.room);
  }

  #show() {
    const wanted = this.#find.value.trim().toLowerCase();
    const all = this.#store.rooms();
    const found = all.filter(({ room }) => !wanted || room.name.toLowerCase().includes(wanted));
    this.#title(all);
    const lines = found.map((known) => this.#line(known));
    const shape = JSON.stringify([this.#store.roomId, this.#store.roomsKnown, wanted, lines]);
    if (shape === this.#shape) return; // a list that is made anew loses the click that is being made on it
    this.#shape = shape;
    const groups = [
      [say("rooms.shared"), lines.filter((line) => line.shared)],
      [say("rooms.own"), lines.filter((line) => !line.shared)],
    ];
    const parts = groups.flatMap(([title, members]) => (members.length ? this.#group(title, members) : []));
    const none = !all.length && this.#store.roomsKnown && say("rooms.empty");
    const focused = document.activeElement?.closest?.("a.room")?.dataset.room;
    this.#list.replaceChildren(...parts, ...(none ? [make("p", { class: "side__none" }, none)] : []));
    if (focused) this.#list.querySelector(`[data-room="${focused}"]`)?.focus();
  }

  /** What a room's line shows. */
  #line({ room, mentioned, activeAt }) {
    return {
      id: room.id,
      name: room.name || say("room.unnamed"),
      shared: room.memberCount > 1,
      unread: this.#unread(room),
      mentioned,
      answering: this.#store.conversation(room.id).isAnswering(),
      activeAt,
      when: words.when(new Date(activeAt), new Date()),
    };
  }

  /** The room in front of one's eyes is being read. */
  #unread(room) {
    return room.id === this.#store.roomId && document.hasFocus() ? 0 : this.#store.unread(room.id);
  }

  #title(all) {
    const unread = all.filter(({ room }) => this.#unread(room) > 0).length;
    const name = this.#store.roomId ? this.#store.room(this.#store.roomId)?.name || say("room.unnamed") : "";
    document.title = `${unread ? `(${unread}) ` : ""}${name ? `${name} · ` : ""}${say("app")}`;
  }

  #group(title, lines) {
    const items = lines.map((line) => make("li", {}, this.#link(line)));
    return [make("h2", { class: "side__heading" }, title), make("ul", {}, ...items)];
  }

  #link(line) {
    const { id, name, unread } = line;
    const open = id === this.#store.roomId ? "page" : null;
    return make(
      "a",
      { class: unread ? "room room--unread" : "room", href: `/r/${id}`, "data-room": id, "aria-current": open },
      make("span", { class: "room__name" }, name),
      make("span", { class: "room__end" }, end(line)),
    );
  }
}

function end({ answering, unread, mentioned, activeAt, when }) {
  if (answering) return laying(say("rooms.answering"));
  if (!unread) return make("time", { datetime: activeAt }, when);
  const [kind, label, text] = mentioned
    ? ["room__count room__count--you", "rooms.mentioned", `@ ${words.number(unread)}`]
    : ["room__count", "rooms.unread", words.number(unread)];
  return make("span", { class: kind, role: "img", "aria-label": say(label, { n: unread }) }, text);
}
