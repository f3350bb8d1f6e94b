// A secret that is shown once, in a dialog that no stray press closes.

import { copyWith } from "../clipboard.js";
import { open } from "../dialogs.js";
import { make, smallIcon } from "../dom.js";
import { copyField } from "../fields.js";
import { say } from "../i18n.js";

export function showOnce(title, text, secret) {
  const label = make("span", {}, say("message.copy"));
  const copy = make(
    "button",
    { type: "button", class: "button", onclick: () => copyWith(secret, label) },
    smallIcon("copy"),
    label,
  );
  const field = copyField(secret, title);
  const form = make(
    "form",
    { class: "dialog__form", method: "dialog" },
    make("h2", {}, title),
    make("p", {}, text),
    make("div", { class: "copyline" }, field, copy),
    make("div", { class: "dialog__end" }, make("button", { class: "button" }, say("panel.close"))),
  );
  open(make("dialog", { class: "dialog", "aria-label": title }, form), { easy: false });
  field.focus();
}
