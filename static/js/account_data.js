// The account's data: taking it along, and leaving for good.

import { passwordField, wrongAt } from "./account_password.js";
import { api } from "./api.js";
import { open } from "./dialogs.js";
import { make, smallIcon } from "./dom.js";
import { labelled, onSubmit, saidLine } from "./fields.js";
import { say } from "./i18n.js";

export function dataPart(actions) {
  return make(
    "div",
    { class: "panel__part" },
    part(
      "data.export",
      make("a", { class: "button", href: "/users/me/export", download: "" }, smallIcon("download"), say("data.export")),
    ),
    part(
      "data.delete",
      make(
        "button",
        { type: "button", class: "button button--fault", onclick: () => askToDelete(actions) },
        smallIcon("trash"),
        say("data.delete"),
      ),
    ),
  );
}

function part(what, button) {
  return make(
    "section",
    { class: "set" },
    make("h3", {}, say(`${what}Title`)),
    make("p", { class: "account__lead" }, say(`${what}Text`)),
    make("div", { class: "panel__row" }, button),
  );
}

function askToDelete({ leaving, left }) {
  const said = saidLine();
  const password = passwordField("password", "current-password");
  const form = make(
    "form",
    { class: "dialog__form" },
    make("h2", {}, say("data.deleteAsk")),
    make("p", {}, say("data.deleteSure")),
    labelled(say("gate.password"), password),
    said.node,
    make(
      "div",
      { class: "dialog__end" },
      make("button", { type: "button", class: "button", onclick: () => dialog.close() }, say("dialog.cancel")),
      make("button", { class: "button button--fault" }, say("data.delete")),
    ),
  );
  onSubmit(form, said, async () => {
    leaving(true);
    try {
      await wrongAt("password", api.delete("/users/me", { password: password.value }));
    } catch (error) {
      leaving(false);
      throw error;
    }
    await left();
    location.assign("/login");
  });
  const dialog = make("dialog", { class: "dialog", "aria-label": say("data.deleteAsk") }, form);
  open(dialog);
  password.focus();
}
