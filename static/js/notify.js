// Tells somebody who is not looking that something was said: only after he asked for it, on this device.

import { say, words } from "./i18n.js";

const KEPT = "maru.notify";
const SETTLES_MS = 1_500; // own words from another device are read a moment later
const MOST_TEXT = 140;

export class Notify {
  #store;
  #goTo;
  #button = document.getElementById("notify");
  #told = new Set(); // message ids
  #timers = new Map(); // room id -> timer
  #isOn = false;

  /** goTo(roomId, messageId?): show it. denied(): the browser does not allow it. */
  constructor(store, { goTo, denied }) {
    this.#store = store;
    this.#goTo = goTo;
    if (!("Notification" in globalThis)) return;
    this.#button.hidden = false;
    this.#button.addEventListener("click", () => this.#toggle(denied));
    this.#set(read() && Notification.permission === "granted");
    store.on(({ kind, roomId, id }) => {
      if (!this.#isOn || isLooking()) return;
      if (kind === "message") this.#message(store.conversation(roomId).get(id));
      else if (kind === "activity") this.#activity(roomId);
    });
    for (const name of ["focus", "pagehide"]) addEventListener(name, () => this.#forget());
  }

  async #toggle(denied) {
    if (this.#isOn) return this.#set(false, true);
    const yes = (await Notification.requestPermission()) === "granted";
    this.#set(yes, true);
    if (!yes) denied();
    return undefined;
  }

  #set(isOn, isChosen = false) {
    this.#isOn = isOn;
    if (isChosen) write(isOn);
    this.#button.setAttribute("aria-pressed", String(isOn));
    this.#button.title = say(isOn ? "notify.on" : "notify.off");
  }

  /** Only what is new and finished: an answer is told when it is there, an edit never. */
  #message(message) {
    const { me } = this.#store;
    const isNew = message && message.userId !== me.id && !message.editedAt && !message.deleted && message.status === "complete";
    if (!isNew || this.#told.has(message.id)) return;
    this.#told.add(message.id);
    const room = this.#store.room(message.roomId)?.name || say("room.unnamed");
    this.#show(message.roomId, `${message.userName} · ${room}`, message.text.slice(0, MOST_TEXT), message.id);
  }

  /** Of a room that is not open here only the number is known. */
  #activity(roomId) {
    clearTimeout(this.#timers.get(roomId));
    const tell = () => {
      const n = this.#store.room(roomId) ? this.#store.unread(roomId) : 0;
      if (n && !isLooking()) this.#show(roomId, this.#store.room(roomId).name || say("room.unnamed"), say("notify.count", { n }));
    };
    this.#timers.set(roomId, setTimeout(tell, SETTLES_MS));
  }

  #show(roomId, title, body, messageId) {
    let shown;
    try {
      shown = new Notification(title, { body, tag: roomId, icon: "/static/img/icon-192.png", lang: words.language });
    } catch {
      return; // Android lets only a service worker do this
    }
    shown.onclick = () => {
      window.focus();
      shown.close();
      this.#goTo(roomId, messageId);
    };
  }

  #forget() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#told.clear();
  }
}

const isLooking = () => document.visibilityState === "visible" && document.hasFocus();

function read() {
  try {
    return localStorage.getItem(KEPT) === "on";
  } catch {
    return false;
  }
}

function write(isOn) {
  try {
    localStorage.setItem(KEPT, isOn ? "on" : "off");
  } catch {
    // Good for this page at least.
  }
}
