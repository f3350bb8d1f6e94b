// A room's invite links: making one, copying one, how much each was used, ending one.

import { api } from "./api.js";
import { copyText } from "./clipboard.js";
import { toast } from "./dialogs.js";
import { make, smallIcon, tool } from "./dom.js";
import { copyField, trying } from "./fields.js";
import { say, words } from "./i18n.js";

export class Links {
  #path;
  #said;
  #role;
  #list = make("ul", { class: "links", "aria-label": say("people.links"), tabindex: "-1" });

  /** role(): as what those who come by a new link are in the room. */
  constructor(roomId, said, role) {
    this.#path = `/rooms/${roomId}/invites`;
    this.#said = said;
    this.#role = role;
    const button = make(
      "button",
      { type: "button", class: "button", onclick: () => this.#make() },
      smallIcon("link"),
      say("people.makeLink"),
    );
    this.node = make(
      "div",
      { class: "field" },
      make("span", { class: "field__label" }, say("people.link")),
      button,
      this.#list,
    );
    this.#fill();
  }

  #fill() {
    return trying(this.#said, async () => {
      const links = await api.all(this.#path);
      this.#list.replaceChildren(...links.map((link) => this.#row(link)));
    });
  }

  #make() {
    return trying(this.#said, async () => {
      const row = this.#row(await api.post(this.#path, { role: this.#role() }));
      this.#list.prepend(row);
      row.querySelector("input").focus();
    });
  }

  #row({ code, url, role, uses, maxUses, expiresAt }) {
    const copy = async () => {
      await copyText(url);
      toast(say("message.copied"));
    };
    const facts = { role: say(`people.${role}`), uses, max: maxUses, day: words.date(new Date(expiresAt)) };
    const row = make(
      "li",
      { class: "field" },
      make(
        "span",
        { class: "copyline" },
        copyField(url, say("people.link")),
        tool("copy", say("message.link"), copy),
        tool("trash", say("people.endLink"), () => this.#end(code, row)),
      ),
      make("span", { class: "field__hint" }, say("people.linkUses", facts)),
    );
    return row;
  }

  #end(code, row) {
    return trying(this.#said, async () => {
      await api.delete(`${this.#path}/${encodeURIComponent(code)}`);
      this.#said.say(say("people.linkEnded"));
      const hadFocus = row.contains(document.activeElement);
      row.remove();
      if (hadFocus) this.#list.focus();
    });
  }
}
