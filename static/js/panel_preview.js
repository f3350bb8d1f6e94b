// Trying a bot's settings before they are saved: one question, one answer, for the owner's eyes alone.

import { api } from "./api.js";
import { laying, make } from "./dom.js";
import { labelled, onSubmit, saidLine } from "./fields.js";
import { say } from "./i18n.js";
import { Prose } from "./markdown.js";

/** settings(): the bot's, as they stand in the form. */
export function previewPart(roomId, settings) {
  const said = saidLine();
  const text = make("textarea", { class: "input", name: "text", rows: "2", maxlength: "4000", required: true });
  const button = make("button", { class: "button" }, say("bot.previewRun"));
  const answer = make("div", { class: "preview", role: "status", hidden: true });
  const form = make(
    "form",
    { class: "panel__part panel__part--next", "aria-label": say("bot.preview") },
    labelled(say("bot.previewText"), text),
    make("div", { class: "panel__row" }, button, said.node),
    answer,
  );
  return onSubmit(form, said, async (fields) => {
    button.disabled = true;
    answer.hidden = false;
    answer.replaceChildren(laying(say("bot.previewWait")));
    try {
      const asked = { text: fields.text.value.trim(), bot: settings() };
      show(answer, await api.post(`/rooms/${roomId}/preview`, asked));
    } catch (error) {
      answer.hidden = true;
      throw error;
    } finally {
      button.disabled = false;
    }
  });
}

function show(node, { text, model, outputTokens }) {
  const body = make("div", { class: "preview__body" });
  new Prose(body).show(text);
  const facts = `${model} · ${say("answer.tokens", { n: outputTokens })}`;
  node.replaceChildren(make("p", { class: "preview__label" }, say("bot.previewNote")), body);
  node.append(make("p", { class: "preview__label" }, facts));
}
