// Questions and sheets over the page: the browser's own modal dialog keeps the focus inside and gives it back.

import { make } from "./dom.js";
import { say } from "./i18n.js";

/** easy: a press beside it closes it. A press that only ends there (a text was marked) does not. */
export function open(dialog, { easy = true } = {}) {
  let beside = false;
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("pointerdown", (event) => (beside = event.target === dialog && isBeside(dialog, event)));
  dialog.addEventListener("click", () => easy && beside && dialog.close());
  dialog.showModal();
}

function isBeside(dialog, { clientX, clientY }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}

/** Resolves to whether the person said yes. */
export function confirm({ title, text, yes }) {
  return new Promise((resolve) => {
    const dialog = make(
      "dialog",
      { class: "dialog", "aria-label": title },
      make(
        "form",
        { class: "dialog__form", method: "dialog" },
        make("h2", {}, title),
        make("p", {}, text),
        make(
          "div",
          { class: "dialog__end" },
          make("button", { class: "button", value: "no" }, say("dialog.cancel")),
          make("button", { class: "button button--fault", value: "yes" }, yes),
        ),
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
    open(dialog);
  });
}

const KEYS = [
  ["keys.find", "Ctrl", "K"],
  ["keys.new", "Alt", "N"],
  ["keys.rooms", "Alt", "↑", "↓"],
  ["keys.walk", "J", "K"],
  ["keys.acts", "R", "C", "E"],
  ["keys.edit", "↑"],
  ["keys.end", "End"],
  ["keys.stop", "Esc"],
  ["keys.sheet", "?"],
];

export function keySheet() {
  const rows = KEYS.flatMap(([word, ...keys]) => [
    make("dt", {}, say(word)),
    make("dd", {}, ...keys.map((key) => make("kbd", { class: "key" }, key))),
  ]);
  const close = make("button", { class: "button" }, say("panel.close"));
  const form = make(
    "form",
    { class: "dialog__form", method: "dialog" },
    make("h2", {}, say("keys.title")),
    make("dl", { class: "keysheet" }, ...rows),
    make("div", { class: "dialog__end" }, close),
  );
  open(make("dialog", { class: "dialog", "aria-label": say("keys.title") }, form));
}

/** A line that goes by itself. */
export function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(place.timer);
  place.timer = setTimeout(() => (place.hidden = true), 5_000);
}
