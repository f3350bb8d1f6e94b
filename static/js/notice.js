// Honest words about the connection: in the side's foot at once, as a banner when it takes longer than two seconds.

import { laying, make, smallIcon } from "./dom.js";
import { say } from "./i18n.js";

const LATE_MS = 2_000;

export class Notice {
  #store;
  #banner = document.getElementById("notice");
  #line = document.getElementById("net");
  #timer = null;

  /** connect(): try at once. */
  constructor(store, connect) {
    this.#store = store;
    this.connect = connect;
    store.on(({ kind }) => {
      if (kind === "net") this.#changed();
      else if (kind === "log") this.#show();
    });
    this.#changed();
  }

  #changed() {
    const { state, late } = this.#store.net;
    if (state === "open") {
      clearTimeout(this.#timer);
      this.#timer = null;
      if (late) return this.#store.connection({ late: false });
    } else {
      this.#timer ??= setTimeout(() => this.#store.connection({ late: true }), LATE_MS);
    }
    document.documentElement.dataset.net = state;
    document.getElementById("my-stamp").classList.toggle("stamp--online", state === "open");
    return this.#show();
  }

  #show() {
    const { state, late } = this.#store.net;
    const known = state === "offline" ? "waiting" : state;
    const line = ["open", "connecting", "waiting"].includes(known)
      ? say(`net.${known === "connecting" && late ? "waiting" : known}`)
      : "";
    if (this.#line.textContent !== line) this.#line.textContent = line;
    this.#banner.hidden = !(late || state === "stopped");
    if (!this.#banner.hidden) this.#fill(state);
  }

  #fill(state) {
    const waiting = this.#store.waiting().length;
    const words = [say(state === "offline" ? "net.offline" : state === "stopped" ? "net.stopped" : "net.waiting")];
    if (waiting) words.push(say("net.pending", { n: waiting }));
    const text = words.join(" ");
    if (this.#banner.querySelector("span:not(.laying)")?.textContent === text) return;
    const sign = state === "offline" ? smallIcon("offline") : state === "stopped" ? smallIcon("warning") : laying();
    const now =
      state !== "stopped" &&
      make("button", { type: "button", class: "button button--small", onclick: this.connect }, say("net.now"));
    this.#banner.replaceChildren(sign, make("span", {}, text), ...(now ? [now] : []));
  }
}
