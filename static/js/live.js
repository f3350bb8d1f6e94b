// Carries between socket, REST and store: enters rooms with a cursor, sends what waits, tells what was read.

import { api } from "./api.js";

const JOINED_AT_MOST = 6; // rooms visited last stay joined, so that going back to one is instant
const GAP_MS = 3_000;

export class Live {
  #socket;
  #store;
  #joined = []; // room ids, the one visited last at the end
  #pumping = false;
  #gapAt = 0;
  #readTold = new Map();
  #typingOff = new Map();

  /** onFault(error): a command that a person gave was refused. onRemoved(roomId, reason): a room can't be read any more. */
  constructor(socket, store, { onFault, onRemoved }) {
    this.#socket = socket;
    this.#store = store;
    this.onFault = onFault;
    this.onRemoved = onRemoved;
    socket.onOpen = () => this.#opened();
    socket.onEvent = (event, data) => this.#event(event, data);
    store.on(({ kind, roomId }) => kind === "gap" && this.#gap(roomId));
  }

  // -- coming in

  async #opened() {
    const again = this.#joined.filter((roomId) => roomId !== this.#store.roomId);
    this.#joined = [];
    this.#readTold.clear();
    if (this.#store.roomId) await this.enter(this.#store.roomId);
    this.pump();
    this.refreshRooms();
    for (const roomId of again) this.enter(roomId, { shown: false });
  }

  async refreshRooms() {
    try {
      this.#store.listed(await api.all("/rooms"));
    } catch {
      // The socket's next opening asks again.
    }
  }

  /** Join with the cursor, page by page; events follow the last page without a hole. Returns false when it can't be entered. */
  async enter(roomId, { fresh = false, shown = true } = {}) {
    if (shown) this.#remember(roomId);
    else this.#joined.unshift(roomId);
    const conversation = this.#store.conversation(roomId);
    let reply;
    try {
      do {
        const after = fresh ? null : conversation.cursor;
        reply = await this.#socket.ask("join", after === null ? { roomId } : { roomId, after });
        this.#store.joined(reply, after === null);
        fresh = false;
      } while (reply.more);
      return true;
    } catch (error) {
      if (error.code === "room.not_found") {
        this.#joined = this.#joined.filter((id) => id !== roomId);
        this.#store.removed(roomId);
        return false;
      }
      return error.code === "network" ? true : this.#fault(error);
    }
  }

  #remember(roomId) {
    this.#joined = [...this.#joined.filter((id) => id !== roomId), roomId];
    while (this.#joined.length > JOINED_AT_MOST) this.#socket.tell("leave", { roomId: this.#joined.shift() });
  }

  isJoined(roomId) {
    return this.#joined.includes(roomId);
  }

  #gap(roomId) {
    const now = Date.now();
    if (now - this.#gapAt < GAP_MS) return;
    this.#gapAt = now;
    this.enter(roomId, { shown: roomId === this.#store.roomId });
  }

  #event(event, data) {
    const store = this.#store;
    if (event === "message") store.message(data);
    else if (event === "stream") store.stream(data);
    else if (event === "activity") this.#activity(data.rooms);
    else if (event === "typing") this.#typing(data);
    else if (event === "presence") store.presence(data);
    else if (event === "read") store.read(data);
    else if (event === "room") this.#room(data);
    else if (event === "removed") this.#removed(data);
  }

  #removed({ roomId, reason }) {
    this.#joined = this.#joined.filter((id) => id !== roomId);
    this.onRemoved(roomId, reason);
    this.#store.removed(roomId);
  }

  #activity(rooms) {
    this.#store.activity(rooms, new Date().toISOString());
    if (rooms.some(({ roomId }) => !this.#store.room(roomId))) this.refreshRooms();
  }

  /** Ends by itself after 6 s: the one who types may have lost his connection. */
  #typing(data) {
    const key = `${data.roomId} ${data.userId}`;
    clearTimeout(this.#typingOff.get(key));
    this.#store.typing(data);
    if (data.on)
      this.#typingOff.set(
        key,
        setTimeout(() => this.#store.typing({ ...data, on: false }), 6_000),
      );
  }

  async #room(room) {
    this.#store.roomChanged(room);
    if (room.membersChanged && this.isJoined(room.id))
      this.#store.members(room.id, await api.all(`/rooms/${room.id}/members`));
  }

  // -- sending: one at a time, in order, until the server has each

  send(roomId, text, replyTo) {
    this.#store.send(roomId, { clientId: crypto.randomUUID(), text, replyTo, at: new Date().toISOString() });
    this.pump();
  }

  retry(roomId, clientId) {
    this.#store.retry(roomId, clientId);
    this.pump();
  }

  async pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let next; (next = this.#store.waiting()[0]) && this.#socket.isOpen;) {
        if (!(await this.#deliver(next))) break;
      }
    } finally {
      this.#pumping = false;
    }
  }

  async #deliver({ roomId, clientId, text, replyTo }) {
    try {
      const { messageId } = await this.#socket.ask("send", { roomId, clientId, text, ...(replyTo && { replyTo }) });
      this.#store.sent(roomId, clientId, messageId);
    } catch (error) {
      if (error.code === "network") return false; // the next opening goes on
      if (error.retryable) await new Promise((done) => setTimeout(done, error.retryAfterMs ?? 1_000));
      else if (error.code === "room.not_found") this.#lost(roomId, clientId, error);
      else this.#store.failed(roomId, clientId, error);
    }
    return true;
  }

  /** There is no room any more in which it could be sent again. */
  #lost(roomId, clientId, error) {
    this.#store.drop(roomId, clientId);
    this.onFault(error);
  }

  // -- other commands

  async #command(event, data) {
    try {
      return await this.#socket.ask(event, data);
    } catch (error) {
      return this.#fault(error);
    }
  }

  #fault(error) {
    this.onFault(error);
    return false;
  }

  edit(messageId, text) {
    return this.#command("edit", { messageId, text });
  }

  delete(messageId) {
    return this.#command("delete", { messageId });
  }

  stop(messageId) {
    return this.#command("stop", { messageId });
  }

  regenerate(messageId) {
    return this.#command("regenerate", { messageId });
  }

  typing(roomId, on) {
    this.#socket.tell("typing", { roomId, on });
  }

  /** Everything up to `seq` has been seen. */
  read(roomId, seq) {
    if (seq <= (this.#readTold.get(roomId) ?? 0) || !this.#socket.isOpen) return;
    this.#readTold.set(roomId, seq);
    this.#socket.tell("read", { roomId, seq });
    this.#store.read({ roomId, userId: this.#store.me.id, seq });
  }

  // -- history

  async page(roomId, where, seq) {
    try {
      this.#store.page(roomId, await api.get(`/rooms/${roomId}/messages?${where}=${seq}&limit=50`), where);
      return true;
    } catch (error) {
      return error.code === "network" ? false : this.#fault(error);
    }
  }
}
