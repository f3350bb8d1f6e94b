// What models have read and written for me: today and this month.

import { api } from "./api.js";
import { laying, make } from "./dom.js";
import { say, words } from "./i18n.js";

export function usagePart() {
  const place = make("div", { class: "table" }, laying(say("account.loading")));
  api.get("/users/me/usage").then(
    (usage) => place.replaceChildren(table(usage)),
    (error) => place.replaceChildren(make("p", { class: "panel__said panel__said--fault" }, words.error(error))),
  );
  return make(
    "section",
    { class: "panel__part" },
    make(
      "div",
      { class: "set" },
      make("h3", {}, say("usage.title")),
      make("p", { class: "account__lead" }, say("usage.lead")),
    ),
    place,
  );
}

function table(usage) {
  const head = ["span", "read", "written"].map((word, at) =>
    make("th", { scope: "col", class: at > 0 && "end" }, say(`usage.${word}`)),
  );
  const rows = ["today", "month"].map((span) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, say(`usage.${span}`)),
      ...[usage[span].inputTokens, usage[span].outputTokens].map((n) => make("td", { class: "end" }, words.number(n))),
    ),
  );
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}
