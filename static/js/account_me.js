// The account's first part: my name, my email, the page's language and theme.

import { api } from "./api.js";
import { make, smallIcon } from "./dom.js";
import { choice, labelled, onSubmit, saidLine } from "./fields.js";
import { say } from "./i18n.js";

const THEMES = ["system", "light", "dark"];

export function mePart({ me, renamed }) {
  const said = saidLine();
  const email = make("span", { class: "account__fact" });
  // Also when somebody has no email to show: the name is known at once, the email comes.
  api.get("/users/me").then(
    (user) => (email.textContent = user.email),
    () => {},
  );
  return make(
    "div",
    { class: "panel__part" },
    nameForm(me, renamed, said),
    make("div", { class: "field" }, make("span", { class: "field__label" }, say("gate.email")), email),
    language(),
    theme(),
    me.role === "admin" &&
      make(
        "div",
        { class: "panel__row" },
        make("a", { class: "button", href: "/admin" }, smallIcon("sliders"), say("account.admin")),
      ),
  );
}

function nameForm(me, renamed, said) {
  const field = make("input", {
    class: "input",
    name: "name",
    value: me.name,
    maxlength: "80",
    required: true,
    autocomplete: "nickname",
  });
  const form = make(
    "form",
    { class: "account__form" },
    labelled(say("gate.name"), field, say("gate.nameHint")),
    make("div", { class: "panel__row" }, make("button", { class: "button" }, say("panel.save")), said.node),
  );
  return onSubmit(form, said, async () => {
    const user = await api.patch("/users/me", { name: field.value.trim() });
    field.value = user.name;
    renamed(user.name);
    said.say(say("panel.saved"));
  });
}

/** preferences.js hears the press, and writes the page anew. */
function language() {
  const other = document.documentElement.lang === "ko" ? "en" : "ko";
  return make(
    "div",
    { class: "field" },
    make("span", { class: "field__label" }, say("account.language")),
    make(
      "div",
      { class: "panel__row" },
      make(
        "button",
        { type: "button", class: "button", "data-language": other, lang: other },
        smallIcon("globe"),
        say("otherLanguage"),
      ),
    ),
  );
}

/** preferences.js hears the change of what is called "theme". */
function theme() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  const choices = THEMES.map((one) => [one, say(`account.theme.${one}`)]);
  return make(
    "div",
    { class: "field" },
    make("span", { class: "field__label" }, say("account.theme")),
    choice("theme", say("account.theme"), choices, chosen, () => {}),
  );
}
