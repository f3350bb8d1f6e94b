// Which part of a long list is in the DOM: at most LIMIT messages, moving with the reader. Pure.

export const LIMIT = 400;
const STEP = 50;

export class Span {
  #from = 0; // seq of the first shown
  #to = null; // seq of the last shown; null: up to the newest, and whatever comes

  reset() {
    this.#from = 0;
    this.#to = null;
  }

  get reachesEnd() {
    return this.#to === null;
  }

  /** The part of `list` (in order of seq) to show. following: the reader is at the end, so it is the top that leaves. */
  clip(list, following) {
    if (following) this.#to = null;
    let shown = list.filter(({ seq }) => seq >= this.#from && (this.#to === null || seq <= this.#to));
    if (shown.length > LIMIT && following) {
      shown = shown.slice(-LIMIT);
      this.#from = shown[0].seq;
    } else if (shown.length > LIMIT + STEP) {
      shown = shown.slice(0, LIMIT);
      this.#to = shown.at(-1).seq;
    }
    return shown;
  }

  /** Show older ones. Returns false when the list has none: they are to be fetched. */
  up(list) {
    const first = list.findIndex(({ seq }) => seq >= this.#from);
    if (first <= 0) return false;
    const from = Math.max(0, first - STEP);
    this.#from = list[from].seq;
    const last = list[from + LIMIT - 1];
    if (last && (this.#to === null || last.seq < this.#to)) this.#to = last.seq;
    return true;
  }

  /** Show newer ones. Returns false when the list has none. */
  down(list) {
    if (this.#to === null) return false;
    const last = list.findLastIndex(({ seq }) => seq <= this.#to) + STEP;
    this.#to = last >= list.length - 1 ? null : list[last].seq;
    this.#from = list[Math.max(0, Math.min(last, list.length - 1) - LIMIT + 1)].seq;
    return true;
  }

  /** Begin wherever the list begins: an older page has come in front. */
  extend() {
    this.#from = 0;
  }

  around(list, seq) {
    const at = list.findIndex((message) => message.seq >= seq);
    this.#from = list[Math.max(0, at - LIMIT / 2)].seq;
    const last = at + LIMIT / 2;
    this.#to = last >= list.length - 1 ? null : list[last].seq;
  }
}
