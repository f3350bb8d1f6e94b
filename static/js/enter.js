// What Enter means in the composer, whatever the input method and the browser's order of events. No DOM, no clock:
// times are the events' own. Sources: UI Events; WebKit ends a composition before its keydown (keyCode 229), Chromium on
// some systems sends a second keydown (13) for the press that ended it, Firefox calls the key "Process".

const HANGUL = /[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]$/;
const SAME_PRESS_MS = 500;
const SAFARI_MS = 50;

const isEnter = ({ key, code }) => key === "Enter" || code === "Enter" || code === "NumpadEnter";

export class Enter {
  #composing = false;
  #data = "";
  #marked = null; // "key" or "button": it was pressed while a syllable was open, so send once that has closed
  #endedAt = -Infinity;
  #swallowUntil = -Infinity;

  get composing() {
    return this.#composing;
  }

  start() {
    this.#composing = true;
    this.#data = "";
  }

  update(data) {
    this.#data = data ?? this.#data;
  }

  /** Returns "send" when the composition was ended by the Enter that sends; the text is in the field a task later. */
  end(data, at) {
    this.#composing = false;
    this.#data = data || this.#data;
    this.#endedAt = at;
    return this.#takeMark(at);
  }

  /** The button was pressed in the middle of a syllable: send when it has closed. */
  mark() {
    this.#marked ??= "button";
  }

  /**
   * event: {key, code, keyCode, isComposing, shiftKey, altKey, ctrlKey, metaKey, timeStamp}.
   * Returns "send", "send-later" (in the next task), "swallow" (do nothing, and keep the browser from it) or null (its own way).
   */
  keydown(event) {
    if (!isEnter(event)) return null;
    const at = event.timeStamp;
    if (this.#composing || event.isComposing) {
      if (HANGUL.test(this.#data) && !event.shiftKey) this.#marked = "key";
      return null;
    }
    if (event.keyCode === 229) {
      // Safari: the composition has just ended by this very press. Kana and Hanzi were only committed by it.
      if (at - this.#endedAt > SAFARI_MS || !HANGUL.test(this.#data) || event.shiftKey) return null;
      this.#endedAt = -Infinity;
      this.#swallowUntil = at + SAME_PRESS_MS;
      return "send-later";
    }
    if (at < this.#swallowUntil && !event.shiftKey) return "swallow";
    if (event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return null;
    return "send";
  }

  /** A new press may send again. */
  keyup(event) {
    if (isEnter(event) && event.keyCode !== 229) this.#swallowUntil = -Infinity;
  }

  /** May this input (a line break) go into the field? Windows sends it for the press that ended a composition. */
  allowsBreak(at) {
    return at >= this.#swallowUntil;
  }

  #takeMark(at) {
    const marked = this.#marked;
    this.#marked = null;
    if (marked === "key") this.#swallowUntil = at + SAME_PRESS_MS;
    return marked && "send";
  }
}
