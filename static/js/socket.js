// The native door: one connection that comes back by itself. Knows frames and waiting; knows nothing of rooms.

const HEARTBEAT_MS = 20_000;
const PATIENCE_MS = 8_000;
const WAKE_MS = 5_000;

/** The connection went away before the reply: nobody knows whether it was done, a retry with the same id is safe. */
export class Lost extends Error {
  code = "network";
  retryable = true;
}

/** An error reply. */
export class Refused extends Error {
  constructor({ code, message, retryable, retryAfterMs, field }) {
    super(message);
    Object.assign(this, { code, retryable, retryAfterMs, field });
  }
}

/** Wait before try number `tries` (from 0): doubled each time to half a minute, and spread, so that all don't come at once. */
export function backOff(tries, random, restarting = false) {
  const most = restarting && tries === 0 ? 1500 : Math.min(30_000, 500 * 2 ** tries);
  return Math.round(most * (0.5 + random / 2));
}

/** What a close code asks of a client: "again", "sign-in" or "stay-away". */
export function afterClose(code) {
  if (code === 4502) return "stay-away";
  return code >= 4500 && code <= 4999 ? "sign-in" : "again";
}

export class Socket {
  #url;
  #make;
  #socket = null;
  #replies = new Map();
  #nextId = 1;
  #tries = 0;
  #timer = null;
  #heartbeat = null;
  #heardAt = 0;
  #ended = false;

  onOpen = () => {};
  onEvent = () => {}; // (event, data)
  onState = () => {}; // "connecting" | "open" | "waiting" | "offline" | "ended" | "stopped"
  isSignedIn = async () => true; // asked when the server refused the upgrade: a browser does not tell why

  constructor(url, make = (address) => new WebSocket(address)) {
    this.#url = url;
    this.#make = make;
  }

  get isOpen() {
    return this.#socket?.readyState === 1;
  }

  start() {
    addEventListener("online", () => this.connectNow());
    addEventListener("offline", () => this.#drop("offline"));
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#check());
    let last = Date.now();
    setInterval(() => {
      const slept = Date.now() - last > 3 * WAKE_MS;
      last = Date.now();
      if (slept) this.#check(); // the machine was asleep, and sockets die silently
    }, WAKE_MS);
    this.#connect();
  }

  /** Don't wait any longer. */
  connectNow() {
    if (this.#ended || this.isOpen || this.#socket?.readyState === 0) return;
    this.#tries = 0;
    this.#connect();
  }

  /** The reply's data. Rejects with Refused or Lost. */
  ask(event, data) {
    if (!this.isOpen) return Promise.reject(new Lost(event));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#replies.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, event, data }));
    });
  }

  /** A hint whose failure does not matter. */
  tell(event, data) {
    this.ask(event, data).catch(() => {});
  }

  #connect() {
    clearTimeout(this.#timer);
    this.onState("connecting");
    const socket = (this.#socket = this.#make(this.#url));
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#heard();
      this.#tries = 0;
      this.#heartbeat = setInterval(() => this.#check(), HEARTBEAT_MS);
      this.onState("open");
      this.onOpen();
    };
    socket.onmessage = ({ data }) => {
      this.#heard();
      this.#take(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#closed(code, opened);
    };
  }

  #take(frame) {
    if (frame.ok === undefined) {
      this.onEvent(frame.event, frame.data);
      return;
    }
    const reply = this.#replies.get(frame.id);
    this.#replies.delete(frame.id);
    if (frame.ok) reply?.resolve(frame.data);
    else reply?.reject(new Refused(frame.error));
  }

  #heard() {
    this.#heardAt = Date.now();
  }

  /** Is somebody there? A proxy may have forgotten us without a word. */
  #check() {
    if (this.#ended || this.#socket?.readyState === 0) return;
    if (!this.isOpen) {
      this.connectNow();
      return;
    }
    const asked = Date.now();
    const socket = this.#socket;
    this.tell("ping", {});
    setTimeout(() => {
      if (socket === this.#socket && this.isOpen && this.#heardAt < asked) this.#drop("waiting");
    }, PATIENCE_MS);
  }

  /** Give the connection up without waiting for a close that may never come. */
  #drop(state) {
    if (this.#ended) return;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#loseReplies();
    this.#again(state);
  }

  async #closed(code, opened) {
    this.#socket = null;
    this.#loseReplies();
    const what = afterClose(code);
    if (what !== "again") {
      this.#end(what === "sign-in" ? "ended" : "stopped");
      return;
    }
    const restarting = code === 1001 || code === 1012;
    this.#again(navigator.onLine ? "waiting" : "offline", restarting);
    if (!opened && !(await this.isSignedIn())) this.#end("ended");
  }

  #again(state, restarting = false) {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.onState(state);
    this.#timer = setTimeout(() => this.#connect(), backOff(this.#tries++, Math.random(), restarting));
  }

  #end(state) {
    this.#ended = true;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.onState(state);
  }

  #loseReplies() {
    const lost = [...this.#replies.values()];
    this.#replies.clear();
    for (const { reject } of lost) reject(new Lost("connection lost"));
  }
}
