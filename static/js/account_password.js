// Changing the password, and telling that the one that was given is wrong.

import { ApiError, api } from "./api.js";
import { make } from "./dom.js";
import { labelled, onSubmit, saidLine } from "./fields.js";
import { say } from "./i18n.js";

export function passwordForm(changed) {
  const said = saidLine();
  const form = make(
    "form",
    { class: "account__form" },
    make("h3", {}, say("password.title")),
    labelled(say("password.old"), passwordField("oldPassword", "current-password")),
    labelled(say("password.new"), passwordField("newPassword", "new-password"), say("password.hint")),
    make("div", { class: "panel__row" }, make("button", { class: "button" }, say("password.save")), said.node),
  );
  return onSubmit(form, said, async ({ oldPassword, newPassword }) => {
    const body = { oldPassword: oldPassword.value, newPassword: newPassword.value };
    await wrongAt("oldPassword", api.post("/auth/password", body));
    form.reset();
    said.say(say("password.saved"));
    changed();
  });
}

export function passwordField(name, autocomplete) {
  return make("input", { class: "input", name, type: "password", autocomplete, maxlength: "256", required: true });
}

/** The server says auth.forbidden of a wrong password, which elsewhere has other words. */
export async function wrongAt(field, answer) {
  try {
    return await answer;
  } catch (error) {
    throw error.code === "auth.forbidden" ? new ApiError({ code: "password.wrong", field }) : error;
  }
}
