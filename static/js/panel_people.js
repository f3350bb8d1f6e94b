// Who is in the room and as what. Rows are kept while members change, so that nobody loses the field he is in.

import { api } from "./api.js";
import { confirm } from "./dialogs.js";
import { make, stamp, tool } from "./dom.js";
import { saidLine, select, trying } from "./fields.js";
import { say } from "./i18n.js";
import { Inviting } from "./panel_invite.js";

const ROLES = ["owner", "member", "reader"];

export class PeoplePart {
  #store;
  #roomId;
  #list = make("ul", { class: "persons", "aria-label": say("panel.people"), tabindex: "-1" });
  #rows = new Map(); // user id -> {node, shape, show(member)}
  #said = saidLine();
  #inviting;
  #turn = Promise.resolve(); // changes of roles, in the order in which they were made

  constructor(store) {
    this.#store = store;
    this.#roomId = store.roomId;
    this.#inviting = new Inviting(store, this.#said);
    this.node = make("div", { class: "panel__part" }, this.#list, this.#said.node, this.#inviting.node);
    this.refresh();
  }

  refresh() {
    const members = this.#store.conversation(this.#roomId).members;
    const isOwner = this.#role() === "owner";
    for (const [userId, { node }] of this.#rows) if (!members.has(userId)) this.#drop(userId, node);
    let before = null;
    for (const member of members.values()) {
      const row = this.#row(member, isOwner);
      row.show(member);
      // What stands in its place already is not moved: moving takes the focus away.
      const place = before ? before.nextSibling : this.#list.firstChild;
      if (row.node !== place) this.#list.insertBefore(row.node, place);
      before = row.node;
    }
    this.#inviting.refresh();
  }

  #role() {
    return this.#store.room(this.#roomId)?.role;
  }

  #drop(userId, node) {
    const hadFocus = node.contains(document.activeElement);
    node.remove();
    this.#rows.delete(userId);
    if (hadFocus) this.#list.focus();
  }

  /** The row of a member; made anew when one may do something else with it. */
  #row(member, isOwner) {
    const shape = `${member.name} ${isOwner}`;
    const known = this.#rows.get(member.userId);
    if (known?.shape === shape) return known;
    const row = { shape, ...(isOwner ? this.#ownersRow(member) : plainRow(this.#face(member))) };
    const hadFocus = known?.node.contains(document.activeElement);
    known?.node.replaceWith(row.node);
    if (hadFocus) this.#list.focus();
    this.#rows.set(member.userId, row);
    return row;
  }

  #face({ userId, name }) {
    const own = userId === this.#store.me.id;
    const face = stamp(name, userId, { own, size: "small" });
    const here = make("small");
    const show = ({ online }) => {
      face.classList.toggle("stamp--online", !own && online);
      here.textContent = !own && online ? say("people.here") : "";
    };
    const who = make("span", { class: "persons__who" }, make("b", {}, own ? say("people.you", { name }) : name), here);
    return { nodes: [face, who], own, show };
  }

  #ownersRow(member) {
    const { name, userId } = member;
    const { nodes, own, show } = this.#face(member);
    const choices = ROLES.map((role) => [role, say(`people.${role}`)]);
    const role = select("role", choices, member.role, { "aria-label": say("people.role", { name }) });
    const field = role.querySelector("select");
    field.addEventListener("change", () => this.#setRole(userId, name, own, field));
    const remove = !own && tool("close", say("people.remove", { name }), () => this.#remove(userId, name));
    return {
      node: make("li", {}, ...nodes, role, remove),
      show: (now) => {
        show(now);
        field.value = now.role;
      },
    };
  }

  async #setRole(userId, name, own, field) {
    const role = field.value;
    const known = () => this.#store.conversation(this.#roomId).members.get(userId)?.role;
    const [title, text, yes] = ["Title", "Text", "Yes"].map((part) => say(`people.stepDown${part}`));
    if (own && known() === "owner" && !(await confirm({ title, text, yes }))) {
      field.value = "owner";
      return;
    }
    this.#turn = this.#turn.then(() =>
      trying(this.#said, async () => {
        this.#took(await api.patch(`/rooms/${this.#roomId}/members/${userId}`, { role }));
        this.#said.say(say("people.roleSet", { name, role: say(`people.${role}`) }));
      }),
    );
    if (!(await this.#turn)) field.value = known() ?? role;
  }

  /** At once, though the room's event says it too: until then a refresh would show the role of before. */
  #took(member) {
    const { members } = this.#store.conversation(this.#roomId);
    this.#store.members(this.#roomId, [...new Map(members).set(member.userId, member).values()]);
  }

  async #remove(userId, name) {
    const title = say("people.removeTitle", { name });
    if (!(await confirm({ title, text: say("people.removeText"), yes: say("people.removeYes") }))) return;
    await trying(this.#said, async () => {
      await api.delete(`/rooms/${this.#roomId}/members/${userId}`);
      this.#said.say(say("people.removed", { name }));
    });
  }
}

function plainRow({ nodes, show }) {
  const role = make("small");
  return {
    node: make("li", {}, ...nodes, role),
    show: (member) => {
      show(member);
      role.textContent = say(`people.${member.role}`);
    },
  };
}
