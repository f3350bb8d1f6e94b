// Answers for who listens: whole sentences in a polite live region, never tokens.

import { isRunning } from "./conversation.js";

const SENTENCE = /[\s\S]*(?:[.!?。…](?=\s)|\n\n)/;

/** What of `text` behind `from` is complete: up to its last finished sentence, or all when nothing more will come. */
export function finishedPart(text, from, isWhole) {
  const rest = text.slice(from);
  return isWhole ? rest : (SENTENCE.exec(rest)?.[0] ?? "");
}

export class Spoken {
  #region = document.getElementById("spoken");
  #said = new Map(); // message id -> characters spoken

  constructor(store) {
    store.on(({ kind, roomId, id }) => {
      if (kind === "open") this.#said.clear();
      else if (roomId === store.roomId && id && (kind === "stream" || kind === "message"))
        this.#speak(store.conversation(roomId), id);
    });
  }

  #speak(conversation, id) {
    const message = conversation.get(id);
    if (message?.role !== "bot") return;
    const running = isRunning(message);
    if (!running && !this.#said.has(id)) return; // it was over before we looked
    const text = withoutCode(conversation.textOf(message));
    const from = Math.min(this.#said.get(id) ?? 0, text.length);
    const part = finishedPart(text, from, !running);
    this.#said.set(id, from + part.length);
    if (part.trim()) this.#region.textContent = plain(part);
    if (!running) this.#said.delete(id);
  }
}

/** Nobody wants to hear code; an open block is left out to its end, so what comes before never shifts. */
function withoutCode(text) {
  return text.replace(/```[\s\S]*?(```|$)/g, " ");
}

function plain(text) {
  return text.replace(/[*_`#>|]+/g, "").trim();
}
