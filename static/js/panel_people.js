// Who is in the room; bringing somebody in by name or by a link.

import { api } from "./api.js";
import { copyWith } from "./clipboard.js";
import { make, smallIcon, stamp } from "./dom.js";
import { saidLine } from "./fields.js";
import { say, words } from "./i18n.js";

const SEARCH_AFTER_MS = 250;

export class PeoplePart {
  #store;
  #room;
  #list = make("ul", { class: "persons" });
  #found = make("ul", { class: "persons" });
  #said = saidLine();
  #timer = null;

  constructor(store) {
    this.#store = store;
    this.#room = store.room(store.roomId);
    const mayInvite = this.#room.role !== "reader";
    this.node = make(
      "div",
      { class: "panel__part" },
      this.#list,
      ...(mayInvite ? [this.#search(), this.#link()] : []),
      this.#said.node,
    );
    this.refresh();
  }

  refresh() {
    const members = [...this.#store.conversation(this.#room.id).members.values()];
    this.#list.replaceChildren(...members.map((member) => this.#member(member)));
  }

  #member({ userId, name, role, online }) {
    const own = userId === this.#store.me.id;
    const facts = [say(`people.${role}`), !own && online && say("people.here")].filter(Boolean).join(", ");
    return make(
      "li",
      {},
      stamp(name, userId, { own, online, size: "small" }),
      make("b", {}, own ? say("people.you", { name }) : name),
      make("small", {}, facts),
    );
  }

  #search() {
    const field = make("input", {
      class: "input",
      type: "search",
      autocomplete: "off",
      oninput: () => this.#later(field.value.trim()),
    });
    return make(
      "div",
      { class: "field" },
      make("label", { class: "field" }, make("span", { class: "field__label" }, say("people.add")), field),
      this.#found,
    );
  }

  #later(query) {
    clearTimeout(this.#timer);
    if (query) this.#timer = setTimeout(() => this.#look(query), SEARCH_AFTER_MS);
    else this.#found.replaceChildren();
  }

  async #look(query) {
    await this.#try(async () => {
      const { items } = await api.get(`/users?q=${encodeURIComponent(query)}&limit=8`);
      const { members } = this.#store.conversation(this.#room.id);
      const rows = items
        .filter(({ id }) => id !== this.#store.me.id)
        .map((person) => this.#candidate(person, members.has(person.id)));
      this.#found.replaceChildren(...(rows.length ? rows : [make("li", {}, make("small", {}, say("people.nobody")))]));
    });
  }

  #candidate({ id, name }, isIn) {
    const already = () => make("span", { class: "state state--wait push" }, smallIcon("check"), say("people.already"));
    const row = make("li", {}, stamp(name, id, { size: "small" }), make("b", {}, name));
    const invite = async () => {
      if (await this.#try(() => api.post(`/rooms/${this.#room.id}/members`, { userId: id })))
        row.lastElementChild.replaceWith(already());
    };
    row.append(
      isIn
        ? already()
        : make("button", { type: "button", class: "button button--small push", onclick: invite }, say("people.invite")),
    );
    return row;
  }

  #link() {
    const place = make("div", { class: "field" }, make("span", { class: "field__label" }, say("people.link")));
    const makeLink = async () => {
      const invite = await this.#try(() => api.post(`/rooms/${this.#room.id}/invites`));
      if (invite) this.#showLink(place, invite);
    };
    place.append(
      make("button", { type: "button", class: "button", onclick: makeLink }, smallIcon("link"), say("people.makeLink")),
    );
    return place;
  }

  #showLink(place, invite) {
    const label = make("span", {}, say("message.copy"));
    const field = make("input", {
      class: "input",
      readonly: true,
      value: invite.url,
      "aria-label": say("people.link"),
      onfocus: () => field.select(),
    });
    const copy = make(
      "button",
      { type: "button", class: "button", onclick: () => copyWith(invite.url, label) },
      smallIcon("copy"),
      label,
    );
    const hint = say("people.linkHint", { day: words.date(new Date(invite.expiresAt)), n: invite.maxUses });
    place.lastElementChild.replaceWith(
      make("span", { class: "copyline" }, field, copy),
      make("span", { class: "field__hint" }, hint),
    );
    field.focus();
  }

  async #try(work) {
    this.#said.say("");
    try {
      return await work();
    } catch (error) {
      this.#said.fault(words.error(error));
      return null;
    }
  }
}
