// The account's API keys: making one (it is shown once), and deleting them.

import { OwnList, entry } from "./account_list.js";
import { api } from "./api.js";
import { copyWith } from "./clipboard.js";
import { confirm } from "./dialogs.js";
import { make, smallIcon, tool } from "./dom.js";
import { copyField, labelled, onSubmit, saidLine, select } from "./fields.js";
import { say, words } from "./i18n.js";

const DAYS = [30, 90, 365];
const DAY_MS = 86_400_000;

export function keysPart() {
  const said = saidLine();
  const list = new OwnList("/users/me/keys", say("apiKeys.title"), said, row, say("apiKeys.none"));
  const fresh = make("div", { class: "account__fresh", role: "status" });
  return make(
    "div",
    { class: "panel__part" },
    make("p", { class: "account__lead" }, say("apiKeys.lead")),
    makeForm(fresh, list),
    fresh,
    make("section", { class: "set" }, make("h3", {}, say("apiKeys.title")), list.node, said.node),
  );
}

function makeForm(fresh, list) {
  const said = saidLine();
  const name = make("input", { class: "input", name: "name", maxlength: "80", required: true, autocomplete: "off" });
  const days = DAYS.map((n) => [String(n), say("apiKeys.days", { n })]);
  const expiry = select("expiresAt", [["", say("apiKeys.never")], ...days], "");
  const form = make(
    "form",
    { class: "account__form" },
    labelled(say("apiKeys.name"), name),
    labelled(say("apiKeys.expiry"), expiry),
    make("div", { class: "panel__row" }, make("button", { class: "button" }, say("apiKeys.make")), said.node),
  );
  return onSubmit(form, said, async ({ expiresAt }) => {
    const ends = Number(expiresAt.value) * DAY_MS;
    const until = ends ? { expiresAt: new Date(Date.now() + ends).toISOString() } : {};
    const key = await api.post("/users/me/keys", { name: name.value.trim(), ...until });
    form.reset();
    fresh.replaceChildren(...shownOnce(key.key));
    fresh.querySelector("input").focus();
    list.fill();
  });
}

function shownOnce(key) {
  const label = make("span", {}, say("message.copy"));
  const copy = make(
    "button",
    { type: "button", class: "button", onclick: () => copyWith(key, label) },
    smallIcon("copy"),
    label,
  );
  return [
    make("p", { class: "account__once" }, say("apiKeys.once")),
    make("div", { class: "copyline" }, copyField(key, say("apiKeys.new")), copy),
  ];
}

function row({ name, createdAt, expiresAt }, end) {
  const remove = async () => {
    const title = say("apiKeys.deleteTitle", { name });
    if (await confirm({ title, text: say("apiKeys.deleteText"), yes: say("apiKeys.deleteYes") }))
      await end(say("apiKeys.deleted"));
  };
  const ends = expiresAt && new Date(expiresAt);
  const until = ends && say(ends > new Date() ? "apiKeys.until" : "apiKeys.over", { day: words.fullDate(ends) });
  const made = say("apiKeys.made", { day: words.fullDate(new Date(createdAt)) });
  return entry("key", name, [made, until], tool("trash", say("apiKeys.delete", { name }), remove));
}
