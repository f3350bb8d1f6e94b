// The room's bot: its name, when it answers, with which model and how.

import { api } from "./api.js";
import { botStamp, make, smallIcon } from "./dom.js";
import { choice, saidLine } from "./fields.js";
import { say, words } from "./i18n.js";

export class BotPart {
  #store;
  #room;
  #when;
  #locked;
  #said = saidLine();
  #hint = make("p", { class: "field__hint" });

  constructor(store) {
    this.#store = store;
    this.#room = store.room(store.roomId);
    this.#when = this.#room.bot.when;
    this.#locked = this.#room.role !== "owner";
    this.node = this.#form();
    this.#tellHow();
    if (this.#locked) this.#said.say(say("panel.ownerOnly"));
    else this.#fillModels();
  }

  #form() {
    const { bot } = this.#room;
    const whens = ["always", "mention", "off"].map((when) => [when, say(`bot.${when}`)]);
    const disabled = this.#locked;
    const context = make("output", { class: "num" }, say("bot.contextCount", { n: bot.contextMessages }));
    const range = make("input", {
      class: "range",
      id: "context",
      name: "contextMessages",
      type: "range",
      min: "0",
      max: "100",
      value: String(bot.contextMessages),
      disabled,
    });
    range.addEventListener("input", () => (context.textContent = say("bot.contextCount", { n: Number(range.value) })));
    const name = make("input", {
      class: "input",
      name: "name",
      value: bot.name,
      maxlength: "80",
      required: true,
      disabled,
      oninput: () => this.#tellHow(),
    });
    const prompt = make("textarea", {
      class: "input input--area",
      name: "systemPrompt",
      rows: "5",
      maxlength: "8000",
      disabled,
    });
    prompt.value = bot.systemPrompt;
    const model = make(
      "select",
      { class: "input", name: "model", disabled },
      make("option", { value: "" }, bot.model ?? say("bot.default")),
    );
    return make(
      "form",
      { class: "panel__part", onsubmit: (event) => this.#save(event) },
      make(
        "div",
        { class: "persons" },
        make(
          "label",
          { class: "copyline" },
          botStamp(),
          make("span", { class: "view-only-by-ear" }, say("bot.name")),
          name,
        ),
      ),
      make(
        "div",
        { class: "set" },
        make("span", { class: "field__label" }, say("bot.when")),
        choice("when", say("bot.when"), whens, this.#when, (when) => this.#choose(when), disabled),
        this.#hint,
      ),
      make(
        "label",
        { class: "field" },
        make("span", { class: "field__label" }, say("bot.model")),
        make("span", { class: "select" }, model, smallIcon("down")),
      ),
      make("label", { class: "field" }, make("span", { class: "field__label" }, say("bot.prompt")), prompt),
      make(
        "div",
        { class: "field" },
        make(
          "span",
          { class: "pair" },
          make("label", { class: "field__label", for: "context" }, say("bot.context")),
          context,
        ),
        range,
      ),
      make(
        "div",
        { class: "panel__row" },
        !disabled && make("button", { class: "button button--main" }, say("panel.save")),
        this.#said.node,
      ),
    );
  }

  #choose(when) {
    this.#when = when;
    this.#tellHow();
  }

  #tellHow() {
    this.#hint.textContent =
      this.#when === "mention"
        ? say("bot.mentionHint", { bot: this.node?.elements.name.value || this.#room.bot.name })
        : "";
  }

  async #fillModels() {
    const { items } = await api.get("/models").catch(() => ({ items: [] }));
    const { bot } = this.#room;
    const standard = items.find((model) => model.default);
    const first = make(
      "option",
      { value: "" },
      standard ? say("bot.isDefault", { model: standard.model }) : say("bot.default"),
    );
    const others = items.map(({ provider, model }) =>
      make(
        "option",
        { value: `${provider} ${model}`, selected: provider === bot.provider && model === bot.model },
        model,
      ),
    );
    this.node.elements.model.replaceChildren(first, ...others);
  }

  async #save(event) {
    event.preventDefault();
    const fields = this.node.elements;
    const [provider, ...model] = fields.model.value.split(" ");
    const bot = {
      name: fields.name.value.trim(),
      when: this.#when,
      provider: provider || null,
      model: model.join(" ") || null,
      systemPrompt: fields.systemPrompt.value,
      contextMessages: Number(fields.contextMessages.value),
    };
    try {
      this.#room = await api.patch(`/rooms/${this.#room.id}`, { bot });
      this.#store.roomChanged(this.#room);
      this.#said.say(say("panel.saved"));
    } catch (error) {
      this.#said.fault(words.error(error));
    }
  }
}
