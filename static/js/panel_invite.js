// Bringing people into a room: by name, or by a link; and the links that are out.

import { api } from "./api.js";
import { make, smallIcon, stamp } from "./dom.js";
import { choice, trying } from "./fields.js";
import { say } from "./i18n.js";
import { Links } from "./panel_links.js";

const SEARCH_AFTER_MS = 250;

export class Inviting {
  #store;
  #roomId;
  #said;
  #role = "member";
  #found = make("ul", { class: "persons" });
  #links = null;
  #timer = null;

  constructor(store, said) {
    this.#store = store;
    this.#roomId = store.roomId;
    this.#said = said;
    this.node = make("section", { class: "panel__part panel__part--next", hidden: true });
  }

  /** Who became a reader may not invite any more; who may write now, may. */
  refresh() {
    const may = ["owner", "member"].includes(this.#store.room(this.#roomId)?.role);
    this.node.hidden = !may;
    if (!may || this.#links) return;
    this.#links = new Links(this.#roomId, this.#said, () => this.#role);
    this.node.replaceChildren(
      make("h3", {}, say("people.bring")),
      this.#roleChoice(),
      this.#search(),
      this.#links.node,
    );
  }

  #roleChoice() {
    const roles = ["member", "reader"].map((role) => [role, say(`people.${role}`)]);
    return make(
      "div",
      { class: "field" },
      make("span", { class: "field__label" }, say("people.inviteRole")),
      choice("invite-role", say("people.inviteRole"), roles, this.#role, (role) => (this.#role = role)),
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
    await trying(this.#said, async () => {
      const { items } = await api.get(`/users?q=${encodeURIComponent(query)}&limit=8`);
      const { members } = this.#store.conversation(this.#roomId);
      const rows = items
        .filter(({ id }) => id !== this.#store.me.id)
        .map((person) => this.#candidate(person, members.has(person.id)));
      this.#found.replaceChildren(...(rows.length ? rows : [make("li", {}, make("small", {}, say("people.nobody")))]));
    });
  }

  #candidate({ id, name }, isIn) {
    const already = () =>
      make("span", { class: "state state--wait push", tabindex: "-1" }, smallIcon("check"), say("people.already"));
    const row = make("li", {}, stamp(name, id, { size: "small" }), make("b", {}, name));
    const invite = async () => {
      const body = { userId: id, role: this.#role };
      if (!(await trying(this.#said, () => api.post(`/rooms/${this.#roomId}/members`, body)))) return;
      row.lastElementChild.replaceWith(already());
      row.lastElementChild.focus();
    };
    row.append(
      isIn
        ? already()
        : make("button", { type: "button", class: "button button--small push", onclick: invite }, say("people.invite")),
    );
    return row;
  }
}
