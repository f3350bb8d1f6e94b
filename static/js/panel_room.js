// The room itself: its name, what was said in it as a file, leaving it, deleting it.

import { api } from "./api.js";
import { confirm } from "./dialogs.js";
import { make, smallIcon } from "./dom.js";
import { labelled, onSubmit, saidLine, trying } from "./fields.js";
import { say } from "./i18n.js";
import { mayKeep } from "./keeping.js";

export class RoomPart {
  #store;
  #room;
  #said = saidLine();

  constructor(store) {
    this.#store = store;
    this.#room = store.room(store.roomId);
    const isOwner = this.#room.role === "owner";
    if (!isOwner) this.#said.say(say("panel.ownerOnly"));
    this.node = make(
      "div",
      { class: "panel__part" },
      this.#rename(isOwner),
      this.#said.node,
      isOwner ? this.#keeping() : keptFor(this.#room),
      this.#export(),
      this.#ends(isOwner),
    );
  }

  #rename(isOwner) {
    const field = make("input", {
      class: "input",
      name: "name",
      value: this.#room.name,
      maxlength: "100",
      required: true,
      disabled: !isOwner,
    });
    const save = async (event) => {
      event.preventDefault();
      await trying(this.#said, async () => {
        this.#store.roomChanged(await api.patch(`/rooms/${this.#room.id}`, { name: field.value.trim() }));
        this.#said.say(say("panel.saved"));
      });
    };
    return make(
      "form",
      { class: "panel__part", onsubmit: save },
      make("label", { class: "field" }, make("span", { class: "field__label" }, say("roomPart.name")), field),
      isOwner &&
        make("div", { class: "panel__row" }, make("button", { class: "button button--main" }, say("panel.save"))),
    );
  }

  /** How long messages are kept. Asks before it shortens that. */
  #keeping() {
    const said = saidLine();
    const days = make("input", {
      class: "input",
      name: "retentionDays",
      type: "number",
      min: "1",
      max: "36500",
      value: this.#room.retentionDays ?? "",
      autocomplete: "off",
    });
    const form = make(
      "form",
      { class: "panel__form", novalidate: true },
      labelled(say("roomPart.keptDays"), days, say("roomPart.keptHint")),
      make("div", { class: "panel__row" }, make("button", { class: "button" }, say("roomPart.keptSave")), said.node),
    );
    return onSubmit(form, said, async () => {
      const wanted = days.value === "" ? null : Number(days.value);
      if (!(await mayKeep(wanted, this.#room.retentionDays))) return;
      this.#room = await api.patch(`/rooms/${this.#room.id}`, { retentionDays: wanted });
      this.#store.roomChanged(this.#room);
      said.say(say("panel.saved"));
    });
  }

  /** Plain links: the browser downloads a large room to the disk, piece by piece. */
  #export() {
    const link = (format, label) =>
      make(
        "a",
        {
          class: "button",
          href: `/rooms/${this.#room.id}/export?format=${format}`,
          download: "",
          "aria-label": say("roomPart.exportAs", { format: label }),
        },
        smallIcon("download"),
        label,
      );
    return make(
      "div",
      { class: "field" },
      make("span", { class: "field__label" }, say("roomPart.export")),
      make("div", { class: "panel__row" }, link("markdown", "Markdown"), link("json", "JSON")),
    );
  }

  #ends(isOwner) {
    const room = this.#room.name || say("room.unnamed");
    const leave = () => this.#end("leave", room, `/rooms/${this.#room.id}/members/${this.#store.me.id}`);
    const remove = () => this.#end("delete", room, `/rooms/${this.#room.id}`);
    return make(
      "div",
      { class: "panel__row" },
      make("button", { type: "button", class: "button", onclick: leave }, smallIcon("exit"), say("roomPart.leave")),
      isOwner &&
        make(
          "button",
          { type: "button", class: "button button--fault", onclick: remove },
          smallIcon("trash"),
          say("roomPart.delete"),
        ),
    );
  }

  async #end(what, room, path) {
    const yes = await confirm({
      title: say(`roomPart.${what}Title`, { room }),
      text: say(`roomPart.${what}Text`),
      yes: say(`roomPart.${what}`),
    });
    if (yes) await trying(this.#said, () => api.delete(path)); // the room's `removed` event does the rest
  }
}

function keptFor({ retentionDays }) {
  const text = retentionDays ? say("roomPart.keptFor", { n: retentionDays }) : say("roomPart.keptAsServer");
  return make(
    "div",
    { class: "field" },
    make("span", { class: "field__label" }, say("roomPart.kept")),
    make("span", { class: "field__hint" }, text),
  );
}
