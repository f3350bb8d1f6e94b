// Pieces of forms that the panel's parts share.

import { make } from "./dom.js";

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
