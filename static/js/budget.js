// A budget as lines of a form and as words. Pure but for the words.

import { say, words } from "./i18n.js";
import { money, share } from "./figures.js";

/** Each span with each unit, in the order in which they are shown. */
export const KINDS = [
  ["day", "tokens"],
  ["month", "tokens"],
  ["day", "money"],
  ["month", "money"],
];

export function amount(unit, value, currency) {
  return unit === "money" ? money(value, currency) : say("budgets.tokens", { n: value });
}

/** How full it is: {part of 1, kind for the bar, text}. A limit that is soft alone is a whole too. */
export function fullness({ unit, soft, hard, spent = 0, state }, currency) {
  const whole = hard ?? soft;
  const text = say("budgets.spent", {
    spent: amount(unit, spent, currency),
    limit: amount(unit, whole, currency),
    share: share(spent, whole),
  });
  return { part: whole ? spent / whole : 1, kind: { soft: "soft", over: "over" }[state] ?? "", text };
}

/** What stands in a field, as the server takes it: null for nothing. NaN for what is no amount. */
export function limitIn(text, unit) {
  const plain = text.trim().replaceAll(",", "");
  if (!plain) return null;
  const value = Number(plain);
  return value >= 0 && (unit === "money" || Number.isInteger(value)) ? value : NaN;
}

/** Why these two can not be, or "". */
export function faultOf(soft, hard) {
  if (Number.isNaN(soft) || Number.isNaN(hard)) return say("budgets.noAmount");
  return soft !== null && hard !== null && soft > hard ? say("budgets.softOverHard") : "";
}

export const plain = (value) => (value === undefined || value === null ? "" : words.number(value));
