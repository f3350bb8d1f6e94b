// Pieces that several views share: the heading, a search field, facts in a row.

import { make, smallIcon } from "../dom.js";

export function heading(title, ...ends) {
  return make("header", { class: "hall__head" }, make("h1", {}, title), ...ends);
}

export function up(href, text) {
  return make("a", { class: "hall__up", href }, smallIcon("back"), text);
}

export function button(label, onclick, { sign = null, fault = false, main = false, small = false, ...more } = {}) {
  const kinds = ["button", fault && "button--fault", main && "button--main", small && "button--small"];
  return make(
    "button",
    { type: onclick ? "button" : "submit", class: kinds.filter(Boolean).join(" "), onclick, ...more },
    sign && smallIcon(sign),
    label,
  );
}

/** Looks for what is typed once that has rested for a moment. */
export function searchField(label, value, look) {
  let timer = null;
  const field = make("input", { type: "search", value, placeholder: label, "aria-label": label, autocomplete: "off" });
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => look(field.value.trim()), 250);
  });
  return make("label", { class: "find" }, smallIcon("search"), field);
}

export function block(title, ...inside) {
  return make("section", { class: "block block--seamed" }, make("h2", {}, title), ...inside);
}

/** facts: [[name, value, note]]; a note may be a node. */
export function fewFacts(facts) {
  return make(
    "dl",
    { class: "facts facts--few" },
    ...facts.map(([name, value, note]) =>
      make("div", { class: "fact" }, make("dt", {}, name), make("dd", {}, value), note && make("dd", {}, note)),
    ),
  );
}
