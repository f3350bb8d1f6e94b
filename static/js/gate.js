// What the sign-in and invitation pages share: sending a form and saying what went wrong beside it.

import { words } from "./i18n.js";

/** Runs `work` while the form waits; a fault is shown under the fields, its field is marked. */
export async function submitting(form, work) {
  const button = form.querySelector("button");
  const line = form.querySelector(".gate__fault");
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  line.textContent = "";
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    line.textContent = words.error(error);
    const field = error.field && form.elements[error.field];
    field?.setAttribute("aria-invalid", "true");
    field?.focus();
    button.disabled = false;
  }
}
