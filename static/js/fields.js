// Pieces of forms that the parts of the panel and of the account share.

import { make, smallIcon } from "./dom.js";
import { words } from "./i18n.js";

/** One of a few. choices: [[value, label]]. */
export function choice(name, label, choices, chosen, changed, disabled = false) {
  const options = choices.map(([value, text]) =>
    make(
      "label",
      { class: "choice__option" },
      make("input", {
        type: "radio",
        name,
        value,
        checked: value === chosen,
        disabled,
        onchange: () => changed(value),
      }),
      text,
    ),
  );
  return make("div", { class: "choice", role: "radiogroup", "aria-label": label }, ...options);
}

/** Where a part says what happened. Returns {node, say(text), fault(text)}. */
export function saidLine() {
  const node = make("p", { class: "panel__said", role: "status" });
  const show = (text, isFault) => {
    node.textContent = text;
    node.classList.toggle("panel__said--fault", isFault);
  };
  return { node, say: (text) => show(text, false), fault: (text) => show(text, true) };
}

/** Runs `work`; what goes wrong is told in `said`. Returns whether it went well. */
export async function trying(said, work) {
  said.say("");
  try {
    await work();
    return true;
  } catch (error) {
    said.fault(words.error(error));
    return false;
  }
}

/** A text to take along: marked as a whole when one comes to it. */
export function copyField(value, label) {
  const field = make("input", { class: "input", readonly: true, value, "aria-label": label });
  field.addEventListener("focus", () => field.select());
  return field;
}

let numbered = 0;

/** A field under its label, with a line beneath it for a hint or for what is wrong with it. */
export function labelled(label, input, hint = "") {
  const id = `field-${++numbered}`;
  const field = input.matches("input, select, textarea") ? input : input.querySelector("select");
  field.id = id;
  field.setAttribute("aria-describedby", `${id}-note`);
  return make(
    "div",
    { class: "field" },
    make("label", { class: "field__label", for: id }, label),
    input,
    make("span", { class: "field__hint field__note", id: `${id}-note`, "data-hint": hint }, hint),
  );
}

/** A list to choose from. choices: [[value, label]]. */
export function select(name, choices, chosen, more = {}) {
  const options = choices.map(([value, text]) => make("option", { value, selected: value === chosen }, text));
  const list = make("select", { class: "input", name, ...more }, ...options);
  return make("span", { class: "select" }, list, smallIcon("down"));
}

/** A number on a line, said in words beside its label. range: {max, step} from 0. tell(n): those words. */
export function slider(name, label, { max, step }, value, tell, disabled) {
  const id = `field-${++numbered}`;
  const said = make("output", { class: "num", for: id }, tell(value));
  const range = make("input", { class: "range", id, name, type: "range", min: "0", max, step, value, disabled });
  range.addEventListener("input", () => {
    said.textContent = tell(Number(range.value));
    range.setAttribute("aria-valuetext", said.textContent);
  });
  range.setAttribute("aria-valuetext", said.textContent);
  const top = make("span", { class: "pair" }, make("label", { class: "field__label", for: id }, label), said);
  return make("div", { class: "field" }, top, range);
}

/** Yes or no, with what that means beneath. */
export function check(name, label, hint, checked, disabled) {
  const id = `field-${++numbered}`;
  return make(
    "div",
    { class: "check" },
    make("input", { type: "checkbox", id, name, checked, disabled, "aria-describedby": `${id}-note` }),
    make("label", { class: "field__label", for: id }, label),
    make("span", { class: "field__hint", id: `${id}-note` }, hint),
  );
}

function tellAt(field, text) {
  const note = document.getElementById(`${field.id}-note`);
  if (!note) return;
  note.textContent = text || note.dataset.hint;
  note.classList.toggle("field__note--fault", Boolean(text));
  if (text) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** Sending a form runs `work(fields)`, one at a time; a fault is told at the field that it names, else in `said`. */
export function onSubmit(form, said, work) {
  let isRunning = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isRunning) return;
    isRunning = true;
    for (const field of form.elements) tellAt(field, "");
    said.say("");
    try {
      await work(form.elements);
    } catch (error) {
      const field = error.field && form.elements[error.field];
      if (!field) return said.fault(words.error(error));
      tellAt(field, words.error(error));
      field.focus();
    } finally {
      isRunning = false;
    }
  });
  return form;
}
