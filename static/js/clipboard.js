// Copying, also over plain http, where browsers have no clipboard API.

import { say } from "./i18n.js";

export async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "view-only-by-ear";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** Copies, and says so for two seconds where the button's label stands. */
export async function copyWith(text, label) {
  await copyText(text);
  const before = label.dataset.before ?? label.textContent;
  label.dataset.before = before;
  label.textContent = say("message.copied");
  setTimeout(() => (label.textContent = before), 2_000);
}
