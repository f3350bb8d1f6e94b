// All state of the page, and every change of it. No DOM, clock or network: times come in, news go out to listeners.

import { Conversation } from "./conversation.js";

export class Store {
  #rooms = new Map(); // id -> {room, mentioned, activeAt}
  #conversations = new Map();
  #listeners = new Set();

  constructor(me) {
    this.me = me;
    this.net = { state: "connecting", late: false }; // late: it has taken longer than people should have to wonder
    this.roomId = null; // the room that is open
    this.roomsKnown = false;
  }

  /** `listener(change)`, change: {kind: "rooms" | "net" | "open" | "log" | "message" | "stream" | "people" | "activity" | "gap", roomId?, id?}. */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(kind, roomId, id) {
    for (const listener of this.#listeners) listener({ kind, roomId, id });
  }

  /** One has another name now; no event tells. */
  renamed(name) {
    this.me.name = name;
    for (const [roomId, { members }] of this.#conversations) {
      const member = members.get(this.me.id);
      if (member) member.name = name;
      this.#tell("people", roomId);
    }
    this.#tell("rooms");
  }

  // -- reading

  rooms() {
    return [...this.#rooms.values()].sort((a, b) => (a.activeAt < b.activeAt ? 1 : -1));
  }

  room(id) {
    return this.#rooms.get(id)?.room;
  }

  conversation(id) {
    if (!this.#conversations.has(id)) this.#conversations.set(id, new Conversation(id, this.me.id));
    return this.#conversations.get(id);
  }

  unread(id) {
    const { room } = this.#rooms.get(id);
    return Math.max(0, room.lastSeq - room.readSeq);
  }

  /** Sends that wait for the connection, in the order of their making. */
  waiting() {
    return [...this.#conversations.values()].flatMap((conversation) =>
      [...conversation.pending.values()]
        .filter((one) => one.state === "sending")
        .map((one) => ({ roomId: conversation.roomId, ...one })),
    );
  }

  /** A room's sends that are not messages yet. */
  pending(roomId) {
    return [...(this.#conversations.get(roomId)?.pending.values() ?? [])];
  }

  // -- rooms

  listed(rooms) {
    const before = this.#rooms;
    this.#rooms = new Map();
    for (const room of rooms) this.#take(room, before.get(room.id));
    this.roomsKnown = true;
    this.#tell("rooms");
  }

  roomChanged(room) {
    this.#take(room, this.#rooms.get(room.id));
    if (room.firstSeq && this.conversation(room.id).keptFrom(room.firstSeq)) this.#tell("log", room.id);
    this.#tell("rooms", room.id);
    this.#tell("people", room.id);
  }

  #take(room, before) {
    const { membersChanged: _, firstSeq: __, ...rest } = room;
    const own = room.lastMessage?.userId === this.me.id ? room.lastMessage.seq : 0; // who speaks has read
    const readSeq = Math.max(room.readSeq, before?.room.readSeq ?? 0, own);
    const lastSeq = Math.max(room.lastSeq, before?.room.lastSeq ?? 0);
    const activeAt = [room.lastMessage?.ts ?? room.createdAt, before?.activeAt ?? ""].sort().at(-1);
    this.#rooms.set(room.id, { room: { ...rest, readSeq, lastSeq }, mentioned: before?.mentioned ?? false, activeAt });
  }

  removed(roomId) {
    this.#rooms.delete(roomId);
    this.#conversations.delete(roomId);
    this.#tell("rooms", roomId);
    if (roomId === this.roomId) this.open(null);
  }

  /** now: RFC 3339, as the server writes times. */
  activity(rooms, now) {
    for (const { roomId, lastSeq, mentioned } of rooms) {
      const known = this.#rooms.get(roomId);
      if (!known) continue;
      known.room.lastSeq = Math.max(known.room.lastSeq, lastSeq);
      known.activeAt = now;
      known.mentioned ||= mentioned;
      this.#tell("activity", roomId);
    }
    this.#tell("rooms");
  }

  open(roomId) {
    this.roomId = roomId;
    const room = this.room(roomId);
    if (room) this.conversation(roomId).freshAfter = room.lastSeq > room.readSeq ? room.readSeq : null;
    this.#tell("open", roomId);
  }

  // -- a room's events

  joined(reply, wasFresh) {
    const roomId = reply.room.id;
    const conversation = this.conversation(roomId);
    const first = conversation.cursor === null && roomId === this.roomId;
    if (reply.room.firstSeq) conversation.keptFrom(reply.room.firstSeq);
    conversation.joined(reply, wasFresh || reply.reset === true);
    this.#take(reply.room, this.#rooms.get(roomId));
    const room = this.room(roomId);
    if (first) conversation.freshAfter = room.lastSeq > room.readSeq ? room.readSeq : null;
    this.#tell("rooms", roomId);
    this.#tell("people", roomId);
    this.#tell("log", roomId);
  }

  message(message) {
    if (!this.conversation(message.roomId).message(message)) return;
    const known = this.#rooms.get(message.roomId);
    if (known && message.seq > known.room.lastSeq) {
      known.room.lastSeq = message.seq;
      known.activeAt = message.ts;
      if (message.userId === this.me.id) known.room.readSeq = message.seq;
      known.mentioned ||=
        message.role !== "bot" && message.text.toLowerCase().includes(`@${this.me.name.toLowerCase()}`);
    }
    this.conversation(message.roomId).typing.delete(message.userId);
    this.#tell("message", message.roomId, message.id);
    this.#tell("rooms", message.roomId);
  }

  stream(piece) {
    const outcome = this.conversation(piece.roomId).stream(piece);
    if (outcome) this.#tell(outcome === "gap" ? "gap" : "stream", piece.roomId, piece.messageId);
  }

  page(roomId, page, where) {
    this.conversation(roomId).page(page, where);
    this.#tell("log", roomId);
  }

  typing({ roomId, userId, on }) {
    const { typing } = this.conversation(roomId);
    if (on) typing.add(userId);
    else typing.delete(userId);
    this.#tell("people", roomId);
  }

  presence({ roomId, userId, online }) {
    const member = this.conversation(roomId).members.get(userId);
    if (member) member.online = online;
    this.#tell("people", roomId);
  }

  members(roomId, members) {
    this.conversation(roomId).members = new Map(members.map((member) => [member.userId, member]));
    this.#tell("people", roomId);
  }

  /** A read mark moved: somebody's, or one's own (here or on another device). */
  read({ roomId, userId, seq }) {
    const member = this.#conversations.get(roomId)?.members.get(userId);
    if (member && seq > member.readSeq) {
      member.readSeq = seq;
      this.#tell("people", roomId);
    }
    const known = this.#rooms.get(roomId);
    if (known && userId === this.me.id && seq > known.room.readSeq) {
      known.room.readSeq = seq;
      if (seq >= known.room.lastSeq) known.mentioned = false;
      this.#tell("rooms", roomId);
    }
  }

  // -- sends

  send(roomId, draft) {
    this.conversation(roomId).send(draft);
    this.#tell("log", roomId);
  }

  /** A send from before a reload, as it was. Its message may have come already. */
  restore(roomId, send) {
    this.conversation(roomId).restore(send);
    this.#tell("log", roomId);
  }

  sent(roomId, clientId, messageId) {
    this.conversation(roomId).sent(clientId, messageId);
    this.#tell("log", roomId);
  }

  failed(roomId, clientId, error) {
    this.conversation(roomId).failed(clientId, error);
    this.#tell("log", roomId);
  }

  retry(roomId, clientId) {
    this.conversation(roomId).retry(clientId);
    this.#tell("log", roomId);
  }

  drop(roomId, clientId) {
    this.conversation(roomId).pending.delete(clientId);
    this.#tell("log", roomId);
  }

  // -- the connection

  connection(net) {
    this.net = { ...this.net, ...net };
    this.#tell("net");
  }
}
