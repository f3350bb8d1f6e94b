// What is kept on disk follows what is pending, and comes back after a reload.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../../static/js/outbox.js";
import { Store } from "../../static/js/store.js";

class Disk {
  sends = new Map();
  putSend(send) {
    this.sends.set(send.clientId, structuredClone(send));
  }
  dropSend(clientId) {
    this.sends.delete(clientId);
  }
  get states() {
    return Object.fromEntries([...this.sends].map(([clientId, { state }]) => [clientId, state]));
  }
}

function ready() {
  const store = new Store({ id: "me", name: "나" });
  const disk = new Disk();
  return { store, disk, outbox: new Outbox(store, disk) };
}

const draft = (clientId) => ({ clientId, text: `말 ${clientId}`, replyTo: null, at: "2026-11-26T00:00:00.000Z" });
const message = (clientId) => ({
  id: `m-${clientId}`,
  roomId: "r",
  seq: 1,
  changedSeq: 1,
  userId: "me",
  role: "user",
  text: "말",
  ts: "2026-11-26T00:00:00.000Z",
  status: "complete",
  clientId,
});

test("a send is kept until the server has it", () => {
  const { store, disk } = ready();
  store.send("r", draft("a"));
  store.send("r", draft("b"));
  assert.deepEqual(disk.states, { a: "sending", b: "sending" });
  store.sent("r", "a", "m-a");
  assert.deepEqual(disk.states, { b: "sending" });
  store.message(message("b"));
  assert.deepEqual(disk.states, {});
});

test("a refused send is kept with its reason, and a dropped one is not", () => {
  const { store, disk } = ready();
  store.send("r", draft("a"));
  store.failed("r", "a", Object.assign(new Error("no"), { code: "room.read_only" }));
  assert.equal(disk.sends.get("a").error.code, "room.read_only");
  store.retry("r", "a");
  assert.deepEqual(disk.states, { a: "sending" });
  store.drop("r", "a");
  assert.deepEqual(disk.states, {});
});

test("what the server does not have is counted, whether it waits or was refused", () => {
  const { store, outbox } = ready();
  for (const clientId of ["a", "b", "c"]) store.send("r", draft(clientId));
  store.failed("r", "a", { code: "room.read_only" });
  store.sent("r", "b", "m-b");
  assert.equal(outbox.unsent, 2);
});

test("what a room had waiting goes with the room", () => {
  const { store, disk } = ready();
  store.send("r", draft("a"));
  store.removed("r");
  assert.deepEqual(disk.states, {});
});

test("after a reload all is pending again, in order, but what has come meanwhile", () => {
  const before = ready();
  for (const clientId of ["a", "b", "c"]) before.store.send("r", draft(clientId));
  const { store, disk, outbox } = ready();
  disk.sends = before.disk.sends;
  store.message(message("b"));
  outbox.restore([...disk.sends.values()]);
  assert.deepEqual(store.waiting().map(({ clientId }) => clientId), ["a", "c"]);
  store.sent("r", "a", "m-a");
  store.sent("r", "c", "m-c");
  assert.deepEqual(disk.states, {});
});
