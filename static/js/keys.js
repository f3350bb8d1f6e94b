// Keys for the whole page. Letters count only outside of fields.

import { keySheet } from "./dialogs.js";

const FIELD = "input, textarea, select, [contenteditable]";

/** actions: find(), newChat(), room(step), walk(step), end(), escape(), on(node, "reply" | "copy" | "edit"). */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const done =
      withModifier(event, actions) || (!event.target.closest(FIELD) && plain(event, actions)) || escape(event, actions);
    if (done) event.preventDefault();
  });
}

function withModifier(event, actions) {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.code === "KeyK") return call(actions.find);
  if (!event.altKey || event.ctrlKey || event.metaKey) return false;
  if (event.code === "KeyN") return call(actions.newChat);
  if (event.key === "ArrowUp") return call(actions.room, -1);
  if (event.key === "ArrowDown") return call(actions.room, 1);
  return false;
}

/** By the place of the key, so that they work with a Korean layout too. */
function plain(event, actions) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.key === "?") return call(keySheet);
  if (event.key === "End") return call(actions.end);
  if (event.code === "KeyJ") return call(actions.walk, 1);
  if (event.code === "KeyK") return call(actions.walk, -1);
  const act = { KeyR: "reply", KeyC: "copy", KeyE: "edit" }[event.code];
  const node = event.target.closest(".message");
  return Boolean(act && node) && call(actions.on, node, act);
}

function escape(event, actions) {
  return event.key === "Escape" && call(actions.escape);
}

function call(action, ...values) {
  action(...values);
  return true;
}
