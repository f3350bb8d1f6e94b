// One account: whether it may come in, its role, a new password, where it is signed in, its budgets, its end.

import { row as deviceRow } from "../account_devices.js";
import { OwnList } from "../account_list.js";
import { api } from "../api.js";
import { confirm, open } from "../dialogs.js";
import { make } from "../dom.js";
import { choice, labelled, onSubmit, saidLine, select, trying } from "../fields.js";
import { day } from "../figures.js";
import { say } from "../i18n.js";
import { Budgets } from "./budgets.js";
import { showOnce } from "./once.js";
import { find } from "./paged.js";
import { block, button, fewFacts, heading, up } from "./parts.js";
import { stateOf } from "./people.js";

export async function show({ rest: [id] }, go) {
  const user = await find("/admin/users", id);
  const back = up("#people", say("admin.people"));
  if (!user)
    return { node: [back, heading(say("person.gone")), make("p", { class: "hall__lead" }, say("person.goneText"))] };
  return new Person(user, back, go);
}

class Person {
  #user;
  #go;
  #said = saidLine();
  #facts = make("div");
  #access = make("div", { class: "panel__row" });

  constructor(user, back, go) {
    this.#user = user;
    this.#go = go;
    const budgets = new Budgets("user", user.id);
    const sessions = this.#sessions();
    this.node = [
      back,
      heading(user.name || say("message.nobody")),
      make("p", { class: "hall__under" }, user.email),
      this.#facts,
      block(say("person.access"), this.#access, this.#said.node),
      sessions,
      block(say("budgets.title"), make("p", { class: "block__note" }, say("budgets.ofPerson")), budgets.node),
      this.isMe || this.#end(),
    ].filter((node) => node !== true);
    this.#show();
  }

  get isMe() {
    return this.#user.id === document.body.dataset.userId;
  }

  #show() {
    const { role, createdAt, disabled } = this.#user;
    this.#facts.replaceChildren(
      fewFacts([
        [say("person.role"), say(`person.role.${role}`)],
        [say("person.state"), stateOf(this.#user)],
        [say("person.joined"), day(createdAt)],
      ]),
    );
    const roles = ["user", "admin"].map((one) => [one, say(`person.role.${one}`)]);
    const setRole = (wanted) => this.#change({ role: wanted }, say("person.roleSet"));
    const toggle = () => (disabled ? this.#change({ disabled: false }, say("person.enabledNow")) : this.#disable());
    if (this.isMe) {
      this.#access.replaceChildren(make("p", { class: "block__note" }, say("person.me")));
      return;
    }
    this.#access.replaceChildren(
      choice("role", say("person.role"), roles, role, setRole),
      button(say(disabled ? "person.enable" : "person.disable"), toggle, { fault: !disabled, id: "toggle" }),
      button(say("person.reset"), () => this.#reset(), { sign: "key", id: "reset" }),
    );
  }

  async #change(body, text) {
    await trying(this.#said, async () => {
      this.#user = await api.patch(`/admin/users/${this.#user.id}`, body);
      this.#said.say(text);
    });
    const held = document.activeElement?.id || document.activeElement?.value; // what is made anew keeps the focus
    this.#show();
    if (held) this.#access.querySelector(`#${CSS.escape(held)}, [value="${CSS.escape(held)}"]`)?.focus();
  }

  async #disable() {
    const title = say("person.disableTitle", { name: this.#user.name });
    if (!(await confirm({ title, text: say("person.disableText"), yes: say("person.disable") }))) return;
    await this.#change({ disabled: true }, say("person.disabledNow"));
  }

  async #reset() {
    const title = say("person.resetTitle", { name: this.#user.name });
    if (!(await confirm({ title, text: say("person.resetText"), yes: say("person.resetYes") }))) return;
    await trying(this.#said, async () => {
      const { resetUrl } = await api.patch(`/admin/users/${this.#user.id}`, { resetPassword: true });
      showOnce(say("person.resetLink"), say("person.resetOnce"), resetUrl);
    });
  }

  // -- where the person is signed in

  #sessions() {
    const said = saidLine();
    const path = `/admin/users/${this.#user.id}/sessions`;
    const list = new OwnList(path, say("devices.title"), said, deviceRow, say("person.noDevices"));
    const endAll = async () => {
      const title = say("person.endAllTitle", { name: this.#user.name });
      if (!(await confirm({ title, text: say("person.endAllText"), yes: say("person.endAll") }))) return;
      await trying(said, async () => {
        await api.delete(path);
        said.say(say("devices.ended"));
      });
      await list.fill();
    };
    const all = button(say("person.endAll"), endAll, { small: true });
    return block(say("devices.title"), list.node, make("div", { class: "panel__row" }, all, said.node));
  }

  // -- the end

  #end() {
    const ask = () => askToDelete(this.#user, () => this.#go("people"));
    const text = make("p", { class: "block__note" }, say("person.deleteText"));
    return block(
      say("data.delete"),
      text,
      make("div", {}, button(say("data.delete"), ask, { sign: "trash", fault: true })),
    );
  }
}

function askToDelete(user, left) {
  const said = saidLine();
  const kept = ["keep", "remove"].map((one) => [one, say(`person.delete.${one}`)]);
  const messages = select("messages", kept, "keep");
  const email = make("input", { class: "input", name: "email", type: "email", autocomplete: "off", required: true });
  const form = make(
    "form",
    { class: "dialog__form", novalidate: true },
    make("h2", {}, say("person.deleteTitle", { name: user.name })),
    make("p", {}, say("person.deleteSure")),
    labelled(say("person.deleteMessages"), messages),
    labelled(say("person.deleteType", { email: user.email }), email),
    said.node,
    make(
      "div",
      { class: "dialog__end" },
      button(say("dialog.cancel"), () => dialog.close()),
      button(say("data.delete"), null, { fault: true }),
    ),
  );
  onSubmit(form, said, async (fields) => {
    if (email.value.trim().toLowerCase() !== user.email.toLowerCase()) {
      said.fault(say("person.deleteOther"));
      email.focus();
      return;
    }
    await api.delete(`/admin/users/${user.id}?messages=${fields.messages.value}`);
    dialog.close();
    left();
  });
  const dialog = make(
    "dialog",
    { class: "dialog", "aria-label": say("person.deleteTitle", { name: user.name }) },
    form,
  );
  open(dialog);
  email.focus();
}
