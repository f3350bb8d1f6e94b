// What models have read and written for me, today and this month, what that cost, and how much of it I may.

import { api } from "./api.js";
import { fullness } from "./budget.js";
import { laying, make } from "./dom.js";
import { money } from "./figures.js";
import { barOf } from "./gauge.js";
import { say, words } from "./i18n.js";

export function usagePart() {
  const place = make("div", { class: "panel__part" }, laying(say("account.loading")));
  api.get("/users/me/usage").then(
    (usage) => place.replaceChildren(make("div", { class: "table" }, table(usage)), ...budgetsOf(usage)),
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

/** The cost has a column where models have prices. */
function table(usage) {
  const hasCost = [usage.today, usage.month].some(({ cost }) => cost > 0);
  const columns = ["span", "read", "written", ...(hasCost ? ["cost"] : [])];
  const head = columns.map((word, at) => make("th", { scope: "col", class: at > 0 && "end" }, say(`usage.${word}`)));
  const rows = ["today", "month"].map((span) => {
    const { inputTokens, outputTokens, cost = 0 } = usage[span];
    const figures = [words.number(inputTokens), words.number(outputTokens)];
    if (hasCost) figures.push(money(cost, usage.currency));
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, say(`usage.${span}`)),
      ...figures.map((text) => make("td", { class: "end" }, text)),
    );
  });
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function budgetsOf({ budgets = [], currency }) {
  if (!budgets.length) return [];
  const lines = budgets.map((budget) => {
    const { part, kind, text } = fullness(budget, currency);
    const state = budget.state !== "under" && say(`budgets.state.${budget.state}`);
    const title = make("b", {}, say(`budgets.${budget.span}.${budget.unit}`, { currency }));
    return make(
      "li",
      { class: "budget" },
      make(
        "span",
        { class: "pair" },
        title,
        state && make("span", { class: `budget__state budget__state--${kind}` }, state),
      ),
      barOf(part, "", kind),
      make("small", {}, text),
    );
  });
  return [
    make(
      "section",
      { class: "set" },
      make("h3", {}, say("budgets.title")),
      make("ul", { class: "budget-list", "aria-label": say("budgets.title") }, ...lines),
    ),
  ];
}
