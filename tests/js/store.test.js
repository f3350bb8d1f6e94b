// What the store makes of events: the same, in whatever order the protocol lets them come.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../../static/js/store.js";

const ROOM = "r1";
const me = { id: "me", name: "한지수" };

function room(fields = {}) {
  return {
    id: ROOM,
    name: "방",
    createdAt: "2026-11-25T00:00:00.000Z",
    head: 0,
    lastSeq: 0,
    role: "owner",
    readSeq: 0,
    memberCount: 2,
    bot: { name: "마루", when: "always" },
    ...fields,
  };
}

function message(seq, fields = {}) {
  return {
    id: `m${seq}`,
    roomId: ROOM,
    seq,
    changedSeq: seq,
    userId: "u",
    userName: "민준",
    role: "user",
    text: `글 ${seq}`,
    ts: "2026-11-25T01:00:00.000Z",
    status: "complete",
    ...fields,
  };
}

function reply(messages, fields = {}) {
  const head = Math.max(0, ...messages.map((one) => one.changedSeq));
  return {
    room: room({ head, lastSeq: Math.max(0, ...messages.map((one) => one.seq)) }),
    members: [],
    head,
    messages,
    more: false,
    streams: [],
    ...fields,
  };
}

function opened(messages = [], fields = {}) {
  const store = new Store(me);
  store.listed([room()]);
  store.open(ROOM);
  store.joined(reply(messages, fields), true);
  return store;
}

const texts = (store) =>
  store
    .conversation(ROOM)
    .list()
    .map((one) => store.conversation(ROOM).textOf(one));

test("the highest changedSeq wins, in whichever order changes come", () => {
  const store = opened([message(1)]);
  store.message(message(1, { changedSeq: 3, text: "고친 글" }));
  store.message(message(1, { changedSeq: 2, text: "늦게 온 옛 글" }));
  assert.deepEqual(texts(store), ["고친 글"]);
  assert.equal(store.conversation(ROOM).cursor, 3);
});

test("pages of history do not move the cursor", () => {
  const store = opened([message(60, { changedSeq: 60 })]);
  store.page(ROOM, { messages: [message(59, { changedSeq: 75 })], moreBefore: true, moreAfter: true }, "before");
  assert.equal(store.conversation(ROOM).cursor, 60);
  assert.deepEqual(
    store
      .conversation(ROOM)
      .list()
      .map((one) => one.seq),
    [59, 60],
  );
});

test("a changed message from before the known part waits until its page comes", () => {
  const store = opened([message(60)]);
  store.message(message(5, { changedSeq: 61, deleted: true, text: "" }));
  assert.deepEqual(
    store
      .conversation(ROOM)
      .list()
      .map((one) => one.seq),
    [60],
  );
});

test("coming back with a cursor adds, and starting over forgets", () => {
  const store = opened([message(1), message(2)]);
  store.joined(reply([message(2, { changedSeq: 3, text: "고침" }), message(3, { changedSeq: 4 })]), false);
  assert.deepEqual(texts(store), ["글 1", "고침", "글 3"]);
  store.joined(reply([message(9)], { reset: true }), false);
  assert.deepEqual(texts(store), ["글 9"]);
});

test("with more to come the cursor is the highest change that came", () => {
  const store = opened([message(1)]);
  store.joined(reply([message(2)], { head: 50, more: true }), false);
  assert.equal(store.conversation(ROOM).cursor, 2);
});

const answer = (fields) =>
  message(2, {
    id: "a",
    userId: null,
    userName: "마루",
    role: "bot",
    status: "streaming",
    attempt: 1,
    text: "",
    replyTo: "m1",
    ...fields,
  });
const piece = (n, token, fields = {}) => ({
  roomId: ROOM,
  messageId: "a",
  attempt: 1,
  n,
  next: n + 1,
  token,
  ...fields,
});

test("pieces grow an answer, and the final message replaces them", () => {
  const store = opened([message(1), answer()]);
  store.stream(piece(0, "안녕"));
  store.stream(piece(1, "하세요"));
  store.stream(piece(1, "하세요"));
  assert.equal(texts(store)[1], "안녕하세요");
  store.message(answer({ changedSeq: 5, status: "complete", text: "안녕하세요." }));
  store.stream(piece(2, "늦음"));
  assert.equal(texts(store)[1], "안녕하세요.");
});

test("a higher attempt starts the text again and a lower one is ignored", () => {
  const store = opened([message(1), answer()]);
  store.stream(piece(0, "처음"));
  store.stream(piece(0, "다시", { attempt: 2 }));
  store.stream(piece(1, "옛것"));
  assert.equal(texts(store)[1], "다시");
});

test("a gap is told once it is seen, and the reply of a new join fills it", () => {
  const store = opened([message(1), answer()]);
  const told = [];
  store.on(({ kind }) => told.push(kind));
  store.stream(piece(0, "가"));
  store.stream(piece(2, "다"));
  assert.deepEqual(told, ["stream", "gap"]);
  assert.equal(texts(store)[1], "가");
  store.joined(reply([], { head: 2, streams: [{ messageId: "a", attempt: 1, next: 3, text: "가나다" }] }), false);
  store.stream(piece(3, "라"));
  assert.equal(texts(store)[1], "가나다라");
});

test("thinking is kept apart from the text but numbered along", () => {
  const store = opened([message(1), answer()]);
  store.stream(piece(0, "음", { kind: "reasoning" }));
  store.stream(piece(1, "답"));
  const conversation = store.conversation(ROOM);
  assert.equal(conversation.textOf(conversation.get("a")), "답");
  assert.equal(conversation.thinkingOf(conversation.get("a")), "음");
});

test("a send becomes its message whether the reply or the event comes first", () => {
  for (const eventFirst of [true, false]) {
    const store = opened();
    store.send(ROOM, { clientId: "c1", text: "안녕", at: "2026-11-25T01:00:00.000Z" });
    assert.equal(store.waiting().length, 1);
    const event = () => store.message(message(1, { userId: "me", clientId: "c1" }));
    if (eventFirst) event();
    store.sent(ROOM, "c1", "m1");
    if (!eventFirst) event();
    assert.equal(store.conversation(ROOM).pending.size, 0);
    assert.equal(store.waiting().length, 0);
    assert.equal(texts(store).length, 1);
  }
});

test("a failed send waits for a retry under the same clientId", () => {
  const store = opened();
  store.send(ROOM, { clientId: "c1", text: "안녕", at: "2026-11-25T01:00:00.000Z" });
  store.failed(ROOM, "c1", { code: "room.read_only" });
  assert.equal(store.waiting().length, 0);
  store.retry(ROOM, "c1");
  assert.deepEqual(
    store.waiting().map((one) => one.clientId),
    ["c1"],
  );
});

test("unread is what came behind the read mark, here or in rooms not joined", () => {
  const store = opened([message(1)]);
  store.activity([{ roomId: ROOM, lastSeq: 4, mentioned: true }], "2026-11-25T02:00:00.000Z");
  assert.equal(store.unread(ROOM), 4);
  assert.equal(store.rooms()[0].mentioned, true);
  store.read({ roomId: ROOM, userId: "me", seq: 4 });
  assert.equal(store.unread(ROOM), 0);
  assert.equal(store.rooms()[0].mentioned, false);
});

test("a part around an old message hides the newest until it has been reached", () => {
  const store = opened([message(13), message(14)]);
  store.page(ROOM, { messages: [message(10), message(11)], moreBefore: true, moreAfter: true }, "around");
  store.message(message(15, { changedSeq: 200 }));
  assert.deepEqual(
    store
      .conversation(ROOM)
      .list()
      .map((one) => one.seq),
    [10, 11],
  );
  store.page(ROOM, { messages: [message(12), message(13)], moreBefore: true, moreAfter: false }, "after");
  assert.deepEqual(
    store
      .conversation(ROOM)
      .list()
      .map((one) => one.seq),
    [10, 11, 12, 13, 14, 15],
  );
});

test("a removed room is closed and forgotten", () => {
  const store = opened([message(1)]);
  store.removed(ROOM);
  assert.equal(store.roomId, null);
  assert.equal(store.rooms().length, 0);
});

test("what is not kept any more leaves at once, and does not come back", () => {
  const store = opened([message(1), message(2), message(3)]);
  const told = [];
  store.on(({ kind }) => told.push(kind));
  const seqs = () =>
    store
      .conversation(ROOM)
      .list()
      .map((one) => one.seq);
  store.roomChanged(room({ firstSeq: 3, retentionDays: 30 }));
  assert.deepEqual(seqs(), [3]);
  assert.ok(told.includes("log"));
  assert.deepEqual([store.room(ROOM).retentionDays, store.room(ROOM).firstSeq], [30, undefined]);
  store.message(message(2, { changedSeq: 50 }));
  assert.deepEqual(seqs(), [3]);
  assert.equal(store.conversation(ROOM).moreBefore, false);
});

test("above what is kept older messages can still be asked for", () => {
  const store = opened([message(10), message(11)]);
  store.roomChanged(room({ firstSeq: 5 }));
  assert.equal(store.conversation(ROOM).moreBefore, true);
  store.page(ROOM, { messages: [message(4), message(5)], moreBefore: false, moreAfter: false }, "before");
  assert.equal(store.conversation(ROOM).list()[0].seq, 5);
});

test("who comes back after older messages went hears of it with the room", () => {
  const store = opened([message(1), message(2)]);
  store.joined(reply([message(3)], { room: room({ firstSeq: 3 }) }), false);
  assert.deepEqual(
    store
      .conversation(ROOM)
      .list()
      .map((one) => one.seq),
    [3],
  );
});
