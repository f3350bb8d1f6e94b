// Keeps on disk what the store shows as pending, and brings it back after a reload. The same clientId goes out once,
// however many tabs and reloads send it: the server sees to that.

export class Outbox {
  #store;
  #keep;
  #kept = new Map(); // clientId -> {roomId, state}

  constructor(store, keep) {
    this.#store = store;
    this.#keep = keep;
    store.on(({ kind, roomId }) => roomId && kind !== "stream" && kind !== "people" && this.#compare(roomId));
  }

  /** How many sends the server does not have: those that wait, and those that it refused. */
  get unsent() {
    return [...this.#kept.values()].filter(({ state }) => state !== "sent").length;
  }

  /** sends: as keep.js loads them. */
  restore(sends) {
    for (const { roomId, clientId, text, replyTo, at, state, error } of sends) {
      this.#kept.set(clientId, { roomId, state });
      this.#store.restore(roomId, { clientId, text, replyTo, at, state, error });
    }
  }

  #compare(roomId) {
    const pending = this.#store.pending(roomId);
    const now = new Set(pending.map(({ clientId }) => clientId));
    for (const [clientId, kept] of this.#kept) {
      if (kept.roomId !== roomId || now.has(clientId)) continue;
      this.#kept.delete(clientId);
      this.#keep.dropSend(clientId);
    }
    for (const one of pending) {
      if (this.#kept.get(one.clientId)?.state === one.state) continue;
      this.#kept.set(one.clientId, { roomId, state: one.state });
      // What the server has acknowledged is its own to keep; it only waits here for its message.
      if (one.state === "sent") this.#keep.dropSend(one.clientId);
      else this.#keep.putSend({ roomId, ...one, error: one.error && plain(one.error) });
    }
  }
}

/** An error as rows can hold it. */
function plain({ code, message, retryAfterMs, field }) {
  return { code, message, retryAfterMs, field };
}
