// Waiting and close codes, and a socket whose network is a few lines.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Lost, Refused, Socket, afterClose, backOff } from "../../static/js/socket.js";

globalThis.addEventListener ??= () => {};
globalThis.navigator ??= { onLine: true };
globalThis.document ??= { addEventListener() {}, visibilityState: "visible" };

class FakeSocket {
  static made = [];
  readyState = 0;
  sent = [];

  constructor() {
    FakeSocket.made.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  end(code) {
    this.readyState = 3;
    this.onclose({ code });
  }
}

/** A started socket on fake time. */
function started(context) {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  FakeSocket.made = [];
  const socket = new Socket("ws://x/ws", () => new FakeSocket());
  const states = [];
  socket.onState = (state) => states.push(state);
  socket.start();
  return { socket, states, last: () => FakeSocket.made.at(-1) };
}

test("the wait doubles to half a minute and is spread", () => {
  assert.deepEqual(
    [0, 1, 2, 10].map((tries) => backOff(tries, 1)),
    [500, 1000, 2000, 30_000],
  );
  assert.equal(backOff(3, 0), 2000);
  assert.ok(backOff(0, 1, true) <= 1500);
});

test("close codes say whether to come back", () => {
  assert.deepEqual([1001, 1006, 1012, 4000, 4001, 4499].map(afterClose), Array(6).fill("again"));
  assert.deepEqual([4500, 4501, 4503, 4999].map(afterClose), Array(4).fill("sign-in"));
  assert.equal(afterClose(4502), "stay-away");
});

test("replies find their questions, refusals are errors with a code", async (context) => {
  const { socket, last } = started(context);
  last().open();
  const good = socket.ask("ping", {});
  const bad = socket.ask("join", {});
  const [first, second] = last().sent;
  last().say({ id: second.id, ok: false, error: { code: "room.not_found", message: "no", retryable: false } });
  last().say({ id: first.id, ok: true, data: { ts: "now" } });
  assert.deepEqual(await good, { ts: "now" });
  await assert.rejects(bad, (error) => error instanceof Refused && error.code === "room.not_found");
});

test("what was under way when the connection went is lost, and the socket comes back", async (context) => {
  const { socket, states, last } = started(context);
  last().open();
  const asked = socket.ask("send", {});
  last().end(1006);
  await assert.rejects(asked, Lost);
  context.mock.timers.tick(600);
  assert.equal(FakeSocket.made.length, 2);
  last().open();
  assert.deepEqual(states, ["connecting", "open", "waiting", "connecting", "open"]);
});

test("after a session's end it does not come back", (context) => {
  const { states, last } = started(context);
  last().open();
  last().end(4500);
  context.mock.timers.tick(120_000);
  assert.equal(FakeSocket.made.length, 1);
  assert.equal(states.at(-1), "ended");
});

test("a refused upgrade asks whether one is still signed in", async (context) => {
  const { socket, states, last } = started(context);
  socket.isSignedIn = async () => false;
  last().end(1006);
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(states.at(-1), "ended");
});

test("a connection that has gone silent is given up", (context) => {
  const { states, last } = started(context);
  last().open();
  context.mock.timers.tick(20_000);
  assert.equal(last().sent.at(-1).event, "ping");
  context.mock.timers.tick(8_001);
  assert.ok(states.includes("waiting"));
});
