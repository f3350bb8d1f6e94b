// The room's bot: its name, when it answers, with which model and how.

import { api } from "./api.js";
import { botStamp, make, smallIcon } from "./dom.js";
import { check, choice, labelled, saidLine, slider } from "./fields.js";
import { say, words } from "./i18n.js";
import { previewPart } from "./panel_preview.js";

const contextWords = (n) => say("bot.contextCount", { n });
const temperatureWords = (n) => (n === 1 ? say("bot.temperatureDefault") : words.number(n));

export class BotPart {
  #store;
  #room;
  #when;
  #locked;
  #said = saidLine();
  #hint = make("p", { class: "field__hint" });
  #fields;

  constructor(store) {
    this.#store = store;
    this.#room = store.room(store.roomId);
    this.#when = this.#room.bot.when;
    this.#locked = this.#room.role !== "owner";
    this.#fields = this.#form();
    this.node = make("div", { class: "panel__part" }, this.#fields);
    this.#tellHow();
    if (this.#locked) return this.#said.say(say("panel.ownerOnly"));
    this.node.append(previewPart(this.#room.id, () => this.#settings()));
    this.#fillModels();
  }

  #form() {
    const { bot } = this.#room;
    const disabled = this.#locked;
    const whens = ["always", "mention", "off"].map((when) => [when, say(`bot.${when}`)]);
    const name = make("input", { class: "input", name: "name", value: bot.name, maxlength: "80", required: true, disabled });
    name.addEventListener("input", () => this.#tellHow());
    const prompt = make("textarea", { class: "input input--area", name: "systemPrompt", rows: "5", maxlength: "8000", disabled });
    prompt.value = bot.systemPrompt;
    const first = make("option", { value: "" }, bot.model ?? say("bot.default"));
    const model = make("select", { class: "input", name: "model", disabled }, first);
    return make(
      "form",
      { class: "panel__part", onsubmit: (event) => this.#save(event) },
      make("label", { class: "copyline" }, botStamp(), make("span", { class: "view-only-by-ear" }, say("bot.name")), name),
      make(
        "div",
        { class: "set" },
        make("span", { class: "field__label" }, say("bot.when")),
        choice("when", say("bot.when"), whens, this.#when, (when) => this.#choose(when), disabled),
        this.#hint,
      ),
      labelled(say("bot.model"), make("span", { class: "select" }, model, smallIcon("down"))),
      labelled(say("bot.prompt"), prompt),
      slider("contextMessages", say("bot.context"), { max: 200, step: 1 }, bot.contextMessages, contextWords, disabled),
      slider("temperature", say("bot.temperature"), { max: 2, step: 0.1 }, bot.temperature, temperatureWords, disabled),
      check("retrieval", say("bot.retrieval"), say("bot.retrievalHint"), bot.retrieval, disabled),
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
        ? say("bot.mentionHint", { bot: this.#fields?.elements.name.value || this.#room.bot.name })
        : "";
  }

  async #fillModels() {
    const items = await api.all("/models").catch(() => []);
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
    this.#fields.elements.model.replaceChildren(first, ...others);
  }

  /** As the form has them, whether saved or not. */
  #settings() {
    const fields = this.#fields.elements;
    const [provider, ...model] = fields.model.value.split(" ");
    return {
      name: fields.name.value.trim() || this.#room.bot.name,
      when: this.#when,
      provider: provider || null,
      model: model.join(" ") || null,
      systemPrompt: fields.systemPrompt.value,
      temperature: Number(fields.temperature.value),
      contextMessages: Number(fields.contextMessages.value),
      retrieval: fields.retrieval.checked,
    };
  }

  async #save(event) {
    event.preventDefault();
    const bot = this.#settings();
    try {
      this.#room = await api.patch(`/rooms/${this.#room.id}`, { bot });
      this.#store.roomChanged(this.#room);
      this.#said.say(say("panel.saved"));
    } catch (error) {
      this.#said.fault(words.error(error));
    }
  }
}
