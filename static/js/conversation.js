// What this page knows of one room. Folding the same events in any order that the protocol allows gives the same state.

const ENDED = new Set(["complete", "stopped", "failed"]);

export function isRunning(message) {
  return message.status === "queued" || message.status === "streaming";
}

export class Conversation {
  #messages = new Map();
  #sorted = null;
  #streams = new Map(); // message id -> {attempt, next, text, thinking, gap}
  #low = Infinity; // seqs from #low to #high are here without a hole
  #high = 0;
  #first = 1; // what was said before this seq is not kept any more

  constructor(roomId, meId) {
    this.roomId = roomId;
    this.meId = meId;
    this.cursor = null; // highest changedSeq that the socket has brought; null before the first join
    this.moreBefore = false;
    this.moreAfter = false; // the part shown does not reach the newest
    this.members = new Map();
    this.typing = new Set();
    this.pending = new Map(); // clientId -> {clientId, text, replyTo, at, state: "sending" | "sent" | "failed", error}
    this.freshAfter = null; // seq behind which all was unread when the room was opened
  }

  // -- what the socket brings

  /** A page of a join. `wasFresh`: it was asked without a cursor, or the server started over. */
  joined(reply, wasFresh) {
    if (wasFresh) this.#startOver(reply);
    for (const message of reply.messages) this.#upsert(message);
    const highest = reply.messages.reduce((most, message) => Math.max(most, message.changedSeq), this.cursor ?? 0);
    this.cursor = reply.more ? highest : reply.head;
    this.members = new Map(reply.members.map((member) => [member.userId, member]));
    if (!reply.more) this.#takeStreams(reply.streams);
  }

  /** Its author's name as it is now: who takes a new one changes no message. */
  nameOf(message) {
    return this.members.get(message.userId)?.name ?? message.userName;
  }

  /** Whatever is older than `seq` is gone for good. Returns whether anything of it was here. */
  keptFrom(seq) {
    if (seq <= this.#first) return false;
    this.#first = seq;
    const gone = [...this.#messages.values()].filter((message) => message.seq < seq);
    for (const { id } of gone) {
      this.#messages.delete(id);
      this.#streams.delete(id);
    }
    if (this.#low <= seq) {
      this.#low = seq;
      this.moreBefore = false;
    }
    this.#sorted = null;
    return gone.length > 0;
  }

  message(message) {
    this.cursor = Math.max(this.cursor ?? 0, message.changedSeq);
    return this.#upsert(message);
  }

  /** Returns "grown", "gap" (pieces are missing: join again) or null (nothing new). */
  stream(piece) {
    const message = this.#messages.get(piece.messageId);
    if (message && ((ENDED.has(message.status) && message.attempt >= piece.attempt) || message.attempt > piece.attempt))
      return null;
    let run = this.#streams.get(piece.messageId);
    if (!run || piece.attempt > run.attempt) {
      run = { attempt: piece.attempt, next: 0, text: "", thinking: "", gap: false };
      this.#streams.set(piece.messageId, run);
    }
    if (piece.attempt < run.attempt || piece.n < run.next) return null;
    if (piece.n > run.next) {
      run.gap = true;
      return "gap";
    }
    if (piece.kind === "reasoning") run.thinking += piece.token;
    else run.text += piece.token;
    run.next = piece.next;
    run.gap = false;
    return "grown";
  }

  // -- what REST brings; it moves no cursor: the changes before it on the socket may still be on their way

  page({ messages, moreBefore, moreAfter }, where) {
    if (where === "around") {
      this.#low = Infinity;
      this.#high = 0;
    }
    for (const message of messages) {
      this.#upsert(message);
      this.#low = Math.min(this.#low, message.seq);
      this.#high = Math.max(this.#high, message.seq);
    }
    if (where !== "after") this.moreBefore = moreBefore;
    if (where !== "before") this.moreAfter = moreAfter;
    this.#sorted = null;
  }

  // -- sends of this page

  send({ clientId, text, replyTo, at }) {
    this.pending.set(clientId, { clientId, text, replyTo, at, state: "sending", error: null });
  }

  restore(send) {
    const came = (message) => message.clientId === send.clientId && message.userId === this.meId;
    if (!this.pending.has(send.clientId) && ![...this.#messages.values()].some(came))
      this.pending.set(send.clientId, send);
  }

  /** The server has it. It stays in sight until its message comes, or for good if that is here already. */
  sent(clientId, messageId) {
    const pending = this.pending.get(clientId);
    if (!pending) return;
    if (this.#messages.has(messageId)) this.pending.delete(clientId);
    else pending.state = "sent";
  }

  failed(clientId, error) {
    const pending = this.pending.get(clientId);
    if (pending) Object.assign(pending, { state: "failed", error });
  }

  retry(clientId) {
    const pending = this.pending.get(clientId);
    if (pending) Object.assign(pending, { state: "sending", error: null });
    return pending;
  }

  // -- reading

  get(id) {
    return this.#messages.get(id);
  }

  /** Messages from the lowest known to the newest (or to where the known part ends), in order. */
  list() {
    const end = this.moreAfter ? this.#high : Infinity;
    this.#sorted ??= [...this.#messages.values()]
      .filter((message) => message.seq >= this.#low && message.seq <= end)
      .sort((a, b) => a.seq - b.seq);
    return this.#sorted;
  }

  /** The text of a message as far as it is known, and what the model thought. */
  textOf(message) {
    const run = this.#running(message);
    return run ? run.text : message.text;
  }

  thinkingOf(message) {
    return this.#running(message)?.thinking || message.reasoning?.text || "";
  }

  /** The answer to my own words that runs or waits, newest first. */
  myRunningAnswer() {
    return this.list().findLast(
      (message) =>
        message.role === "bot" && isRunning(message) && this.#messages.get(message.replyTo)?.userId === this.meId,
    );
  }

  isAnswering() {
    return this.list().some((message) => message.role === "bot" && message.status === "streaming");
  }

  get lowest() {
    return this.#low;
  }

  get highest() {
    return this.list().at(-1)?.seq ?? 0;
  }

  // -- inside

  #running(message) {
    const run = this.#streams.get(message.id);
    return run && isRunning(message) && run.attempt >= (message.attempt ?? 0) ? run : null;
  }

  #startOver(reply) {
    this.#messages.clear();
    this.#streams.clear();
    this.cursor = null;
    this.#low = reply.messages[0]?.seq ?? this.#first;
    this.#high = 0;
    this.moreBefore = this.#low > this.#first;
    this.moreAfter = false;
    this.#sorted = null;
  }

  #upsert(message) {
    if (message.seq < this.#first) return false;
    const known = this.#messages.get(message.id);
    if (known && known.changedSeq >= message.changedSeq) return false;
    this.#messages.set(message.id, message);
    this.#sorted = null;
    const run = this.#streams.get(message.id);
    if (run && (ENDED.has(message.status) ? message.attempt >= run.attempt : message.attempt > run.attempt)) {
      this.#streams.delete(message.id);
    }
    if (message.clientId && message.userId === this.meId) this.pending.delete(message.clientId);
    return true;
  }

  #takeStreams(streams) {
    for (const { messageId, attempt, next, text } of streams) {
      const before = this.#streams.get(messageId);
      const thinking = before?.attempt === attempt ? before.thinking : "";
      this.#streams.set(messageId, { attempt, next, text, thinking, gap: false });
    }
  }
}
