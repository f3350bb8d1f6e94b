// What is said, as lines: the newest so many, each message once, and those that came while nothing was to move. Pure.

export class LiveLines {
  #limit;
  #lines = new Map(); // message id -> line, the latest to have begun at the end
  #waiting = new Map();
  isPaused = false;

  constructor(limit = 300) {
    this.#limit = limit;
  }

  /** Returns whether anything that is shown changed. */
  take(line) {
    if (!this.isPaused) {
      this.#put(this.#lines, line);
      return true;
    }
    this.#put(this.#waiting, line);
    return false;
  }

  pause() {
    this.isPaused = true;
  }

  resume() {
    this.isPaused = false;
    for (const line of this.#waiting.values()) this.#put(this.#lines, line);
    this.#waiting.clear();
  }

  /** Messages that came or changed since the pause. */
  get waiting() {
    return this.#waiting.size;
  }

  /** What was said is not to be shown any more. */
  forget() {
    for (const lines of [this.#lines, this.#waiting]) {
      for (const [id, { text: _, ...line }] of lines) lines.set(id, line);
    }
  }

  clear() {
    this.#lines.clear();
    this.#waiting.clear();
  }

  /** Newest first. */
  shown(filter) {
    return [...this.#lines.values()].reverse().filter((line) => fits(line, filter));
  }

  #put(lines, line) {
    lines.set(line.id, { ...lines.get(line.id), ...line });
    if (lines.size > this.#limit) lines.delete(lines.keys().next().value);
  }
}

/** filter: {text, kind: "", "people", "bot", "running" or "failed"}. Words are looked for in names, text and faults. */
export function fits(line, { text = "", kind = "" }) {
  if (kind === "people" && line.role === "bot") return false;
  if (kind === "bot" && line.role !== "bot") return false;
  if (kind === "running" && !["queued", "streaming"].includes(line.status)) return false;
  if (kind === "failed" && line.status !== "failed") return false;
  const wanted = text.toLowerCase();
  const known = [line.userName, line.roomName, line.text, line.model, line.error?.code, line.error?.message];
  return !wanted || known.some((one) => one?.toLowerCase().includes(wanted));
}
