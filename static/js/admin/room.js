// One room: how long it is kept, its budgets, following it live, deleting it. What is said in it is not shown here.

import { api } from "../api.js";
import { confirm } from "../dialogs.js";
import { make, smallIcon } from "../dom.js";
import { labelled, onSubmit, saidLine, trying } from "../fields.js";
import { day } from "../figures.js";
import { say, words } from "../i18n.js";
import { mayKeep } from "../keeping.js";
import { Budgets } from "./budgets.js";
import { find } from "./paged.js";
import { block, button, fewFacts, heading, up } from "./parts.js";
import { keptFor, roomName } from "./rooms.js";

export async function show({ rest: [id] }, go) {
  const room = await find("/admin/rooms", id);
  const back = up("#rooms", say("admin.rooms"));
  if (!room)
    return { node: [back, heading(say("rooms.gone")), make("p", { class: "hall__lead" }, say("rooms.goneText"))] };
  const facts = make("div");
  const tell = (now) =>
    facts.replaceChildren(
      fewFacts([
        [say("stats.members"), words.number(now.memberCount)],
        [say("stats.messages"), words.number(now.messageCount)],
        [say("rooms.kept"), keptFor(now)],
        [say("rooms.made"), day(now.createdAt)],
      ]),
    );
  tell(room);
  const follow = make("a", { class: "button", href: `#live/${room.id}` }, smallIcon("context"), say("rooms.follow"));
  return {
    node: [
      back,
      heading(roomName(room), follow),
      facts,
      block(say("rooms.kept"), retention(room, tell)),
      block(
        say("budgets.title"),
        make("p", { class: "block__note" }, say("budgets.ofRoom")),
        new Budgets("room", room.id).node,
      ),
      end(room, () => go("rooms")),
    ],
  };
}

function retention(room, tell) {
  const said = saidLine();
  const days = make("input", {
    class: "input budgets__limit",
    name: "retentionDays",
    type: "number",
    min: "1",
    max: "36500",
    step: "1",
    value: room.retentionDays ?? "",
    placeholder: say("rooms.asServer"),
  });
  const form = make(
    "form",
    { class: "account__form", novalidate: true },
    labelled(say("roomPart.keptDays"), days, say("roomPart.keptHint")),
    make("div", { class: "panel__row" }, button(say("panel.save"), null), said.node),
  );
  return onSubmit(form, said, async () => {
    const wanted = days.value === "" ? null : Number(days.value);
    if (!(await mayKeep(wanted, room.retentionDays))) return;
    room = { ...room, ...(await api.patch(`/admin/rooms/${room.id}`, { retentionDays: wanted })) };
    if (wanted === null) delete room.retentionDays;
    tell(room);
    said.say(say("panel.saved"));
  });
}

function end(room, left) {
  const said = saidLine();
  const remove = async () => {
    const title = say("roomPart.deleteTitle", { room: roomName(room) });
    if (!(await confirm({ title, text: say("rooms.deleteText"), yes: say("roomPart.delete") }))) return;
    await trying(said, async () => {
      await api.delete(`/admin/rooms/${room.id}`);
      left();
    });
  };
  return block(
    say("roomPart.delete"),
    make("p", { class: "block__note" }, say("rooms.deleteText")),
    make(
      "div",
      { class: "panel__row" },
      button(say("roomPart.delete"), remove, { sign: "trash", fault: true }),
      said.node,
    ),
  );
}
