// Messages that a search finds, under the rooms whose names fit: with what was found marked, each a way to its place.

import { api } from "./api.js";
import { laying, make } from "./dom.js";
import { say, words } from "./i18n.js";
import { excerpt } from "./excerpt.js";

const WAIT_MS = 180;
const LIMIT = 20;

export class Found {
  #box = document.getElementById("found");
  #find = document.getElementById("find");
  #store;
  #actions;
  #timer = null;
  #asked = "";
  #next = null;

  constructor(store, actions) {
    this.#store = store;
    this.#actions = actions;
    this.#find.addEventListener("input", () => this.#later());
    for (const place of [this.#find, this.#box.parentElement])
      place.addEventListener("keydown", (event) => this.#walk(event));
  }

  #later() {
    clearTimeout(this.#timer);
    const wanted = this.#find.value.trim();
    if (!wanted) {
      this.#asked = "";
      this.#box.removeAttribute("aria-busy");
      return this.#box.replaceChildren();
    }
    if (wanted === this.#asked) return;
    this.#timer = setTimeout(() => this.#ask(wanted), WAIT_MS);
  }

  async #ask(wanted) {
    this.#asked = wanted;
    this.#box.setAttribute("aria-busy", "true");
    if (!this.#box.firstChild) this.#box.replaceChildren(this.#title(), laying(say("found.searching")));
    try {
      const page = await api.get(`/search?q=${encodeURIComponent(wanted)}&limit=${LIMIT}`);
      if (wanted === this.#asked) this.#show(page, []);
    } catch (error) {
      if (wanted === this.#asked) this.#box.replaceChildren(this.#title(), this.#line(words.error(error)));
    } finally {
      if (wanted === this.#asked) this.#box.removeAttribute("aria-busy");
    }
  }

  async #more(wanted, shown) {
    try {
      const path = `/search?q=${encodeURIComponent(wanted)}&limit=${LIMIT}&cursor=${encodeURIComponent(this.#next)}`;
      const page = await api.get(path);
      if (wanted === this.#asked) this.#show(page, shown);
    } catch (error) {
      if (wanted === this.#asked) this.#box.append(this.#line(words.error(error)));
    }
  }

  #show(page, before) {
    const links = [...before, ...page.items.map((hit) => this.#link(hit))];
    this.#next = page.next;
    const wanted = this.#asked;
    const more =
      page.next &&
      make(
        "button",
        { type: "button", class: "button button--bare button--small", onclick: () => this.#more(wanted, links) },
        say("found.more"),
      );
    const count = make("span", { class: "view-only-by-ear", role: "status" }, say("found.count", { n: links.length }));
    this.#box.replaceChildren(
      ...[this.#title(), count, links.length ? list(links) : this.#line(say("found.none")), more].filter(Boolean),
    );
  }

  #title() {
    return make("h2", { class: "side__heading" }, say("found"));
  }

  #line(text) {
    return make("p", { class: "side__none" }, text);
  }

  #link({ message, ranges }) {
    const room = this.#store.room(message.roomId);
    const at = new Date(message.ts);
    const go = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.#actions.goTo(message.roomId, message.id);
    };
    return make(
      "a",
      { class: "hit", href: `/r/${message.roomId}#${message.seq}`, onclick: go },
      make(
        "span",
        { class: "hit__top" },
        make("b", {}, message.userName),
        make("span", { class: "hit__room" }, room?.name || say("room.unnamed")),
        make("time", { datetime: message.ts }, words.when(at, new Date())),
      ),
      make("span", { class: "hit__text" }, ...marked(message.text, ranges)),
    );
  }

  /** Arrow keys go from the field through rooms and hits and back. */
  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.altKey || event.isComposing || !this.#find.value.trim()) return;
    const stops = [this.#find, ...this.#box.parentElement.querySelectorAll("a.room, a.hit")];
    const to = stops[stops.indexOf(document.activeElement) + step];
    if (!to) return;
    event.preventDefault();
    to.focus();
  }
}

function list(links) {
  return make("ul", {}, ...links.map((link) => make("li", {}, link)));
}

/** The part of a text around its first hit, hits in `mark`. */
function marked(text, ranges) {
  return excerpt(text, ranges).map(({ text: part, isHit }) => (isHit ? make("mark", {}, part) : part));
}
