// The budgets of one: of a person, of a room, or of everybody who has none of his own. One form; what changed is sent.

import { api } from "../api.js";
import { KINDS, faultOf, fullness, limitIn, plain } from "../budget.js";
import { laying, make } from "../dom.js";
import { saidLine, trying } from "../fields.js";
import { barOf } from "../gauge.js";
import { say } from "../i18n.js";
import { house } from "./house.js";
import { button } from "./parts.js";

export class Budgets {
  #kind;
  #id;
  #said = saidLine();
  #body = make("ul", { class: "budgets__lines", "aria-label": say("budgets.title") });
  #lines = [];
  #currency = "";

  /** kind: "user" or "room". id: undefined for the default. */
  constructor(kind, id) {
    this.#kind = kind;
    this.#id = id;
    this.node = make("div", { class: "budgets" }, laying(say("account.loading")));
    this.#fill();
  }

  async #fill() {
    const came = await trying(this.#said, async () => {
      const [items, { currency }] = await Promise.all([api.all("/admin/budgets"), house()]);
      this.#currency = currency;
      this.#take(items.filter(({ kind, id }) => kind === this.#kind && id === this.#id));
    });
    this.node.replaceChildren(...(came ? [this.#form()] : [this.#said.node]));
  }

  #take(budgets) {
    this.#lines = KINDS.map(([span, unit]) =>
      this.#line(budgets.find((one) => one.span === span && one.unit === unit) ?? { span, unit }),
    );
    this.#body.replaceChildren(...this.#lines.map(({ node }) => node));
  }

  #form() {
    const heads = ["kind", "soft", "hard", "now"].map((word) => make("span", {}, say(`budgets.${word}`)));
    const form = make(
      "form",
      { class: "budgets__form" },
      make("div", { class: "budgets__heads", "aria-hidden": "true" }, ...heads), // each field says it again for itself
      this.#body,
      make("div", { class: "panel__row" }, button(say("panel.save"), null), this.#said.node),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    return form;
  }

  #line(budget) {
    const { span, unit, soft, hard } = budget;
    const name = say(`budgets.${span}.${unit}`, { currency: this.#currency });
    const field = (which, value) =>
      make("input", {
        class: "input budgets__limit",
        inputmode: unit === "money" ? "decimal" : "numeric",
        value: plain(value),
        placeholder: say("budgets.none"),
        autocomplete: "off",
        "aria-label": `${name}, ${say(`budgets.${which}`)}`,
      });
    const fields = { soft: field("soft", soft), hard: field("hard", hard) };
    const labelled = ["soft", "hard"].map((which) =>
      make(
        "span",
        { class: "budgets__field" },
        make("small", { "aria-hidden": "true" }, say(`budgets.${which}`)),
        fields[which],
      ),
    );
    const now = make("span", { class: "budgets__now" }, ...this.#now(budget));
    return { node: make("li", { class: "budgets__line" }, make("b", {}, name), ...labelled, now), budget, fields };
  }

  #now(budget) {
    const { soft, hard, spent, state } = budget;
    if (soft === undefined && hard === undefined) return [make("span", { class: "faint" }, say("budgets.unlimited"))];
    if (spent === undefined) return [make("span", { class: "faint" }, say("budgets.each"))];
    const { part, kind, text } = fullness(budget, this.#currency);
    const word = state && state !== "under" ? `${say(`budgets.state.${state}`)}. ` : "";
    return [
      barOf(part, "", kind),
      make("span", { class: kind === "over" ? "budgets__text state--fault" : "budgets__text" }, word, text),
    ];
  }

  async #save() {
    const changed = this.#lines
      .map((line) => ({ ...line, now: this.#read(line) }))
      .filter(({ budget, now, fields }) => {
        for (const field of Object.values(fields)) field.removeAttribute("aria-invalid");
        return now.soft !== (budget.soft ?? null) || now.hard !== (budget.hard ?? null);
      });
    for (const { now, fields } of changed) {
      const fault = faultOf(now.soft, now.hard);
      if (!fault) continue;
      const wrong = Number.isNaN(now.hard) ? fields.hard : fields.soft;
      wrong.setAttribute("aria-invalid", "true");
      wrong.focus();
      this.#said.fault(fault);
      return;
    }
    await trying(this.#said, async () => {
      for (const { budget, now } of changed) {
        const of = this.#id === undefined ? {} : { id: this.#id };
        await api.post("/admin/budgets", { kind: this.#kind, ...of, span: budget.span, unit: budget.unit, ...now });
      }
      const items = await api.all("/admin/budgets");
      this.#take(items.filter(({ kind, id }) => kind === this.#kind && id === this.#id));
      this.#said.say(say("panel.saved"));
    });
  }

  #read({ budget, fields }) {
    return { soft: limitIn(fields.soft.value, budget.unit), hard: limitIn(fields.hard.value, budget.unit) };
  }
}
