// What is true of the whole house: its currency, its zone, how it does. Asked once; whoever hears anew tells it here.

import { api } from "../api.js";
import { make } from "../dom.js";
import { say } from "../i18n.js";

let asked = null;

/** The latest overview that is known. */
export function house() {
  asked ??= api.get("/admin/overview?span=24h").then(took, (error) => {
    asked = null;
    throw error;
  });
  return asked;
}

export function took(overview) {
  asked = Promise.resolve(overview);
  const less = overview.degraded.length > 0;
  const text = less
    ? say("house.less", { what: overview.degraded.join(", ") })
    : say("house.ready", { n: overview.now.pods });
  const place = document.getElementById("state");
  if (place.textContent !== text) place.replaceChildren(make("span", { class: less ? "ok ok--less" : "ok" }, text));
  return overview;
}
