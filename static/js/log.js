// The list of messages: follows the newest, keeps its place when something above changes, and keeps the DOM small.

import { arrange } from "./arrange.js";
import { make, smallIcon, soon } from "./dom.js";
import { say, words } from "./i18n.js";
import { MessageView } from "./message.js";
import { readersOf } from "./readers.js";
import { Span } from "./span.js";

const NEAR_PX = 48; // as good as at the end
const AHEAD_PX = 900; // history is asked for before its lack is seen

export class Log {
  #scroller = document.getElementById("log");
  #list = document.getElementById("messages");
  #newer = document.getElementById("newer");
  #store;
  #context;
  #views = new Map(); // message key -> MessageView
  #lines = new Map(); // day and fresh lines
  #span = new Span();
  #following = true;
  #seen = 0; // highest seq that was in sight at the end
  #paging = false;
  #soon = soon(() => this.#draw());
  #grown = new Set();

  /** actions: what messages can be asked to do, plus page(where, seq) and read(seq). */
  constructor(store, actions) {
    this.#store = store;
    this.actions = actions;
    this.#context = {
      me: store.me,
      actions,
      conversation: () => store.conversation(store.roomId),
      canWrite: () => store.room(store.roomId)?.role !== "reader",
      mentions: () => this.#mentions(),
    };
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newer.addEventListener("click", () => this.toEnd());
    const watch = new ResizeObserver(() => this.#following && this.#pin());
    watch.observe(this.#scroller);
    watch.observe(this.#list);
    document.addEventListener("visibilitychange", () => this.#tellRead());
    addEventListener("focus", () => this.#tellRead());
    setInterval(() => this.#tick(), 1_000);
    store.on((change) => this.#changed(change));
  }

  #changed({ kind, roomId, id }) {
    if (kind === "open") this.#reset();
    else if (roomId !== this.#store.roomId) return;
    else if (kind === "stream") this.#later(id);
    else if (kind === "log" || kind === "message" || kind === "people") this.#later();
  }

  /** All changes of a frame are drawn together. */
  #later(grownId) {
    if (grownId) this.#grown.add(grownId);
    else this.#grown.add("all");
    this.#soon();
  }

  #draw() {
    const grown = [...this.#grown];
    this.#grown.clear();
    if (!this.#store.roomId) return;
    this.#keepingPlace(() => {
      if (grown.includes("all")) this.#sync();
      else for (const id of grown) this.#views.get(id)?.grow();
    });
    this.#tellNewer();
    this.#tellRead();
    this.#more();
  }

  #reset() {
    this.#views.clear();
    this.#lines.clear();
    this.#list.replaceChildren();
    this.#span.reset();
    this.#following = true;
    this.#seen = 0;
    const roomId = this.#store.roomId;
    this.#scroller.hidden = !roomId;
    if (!roomId) return;
    this.#later();
  }

  #sync() {
    const conversation = this.#context.conversation();
    const list = conversation.list();
    const shown = this.#span.clip(list, this.#following && !conversation.moreAfter);
    const atEnd = this.#span.reachesEnd && !conversation.moreAfter;
    const pending = atEnd ? [...conversation.pending.values()] : [];
    const unread = list.filter(
      ({ seq, userId }) => seq > conversation.freshAfter && userId !== this.#store.me.id,
    ).length;
    const rows = arrange({
      messages: shown,
      pending,
      meId: this.#store.me.id,
      freshAfter: conversation.freshAfter,
      unread,
    });
    const now = Date.now();
    const readers = readersOf(rows, conversation.members.values(), this.#store.me.id);
    const nodes = rows.map((row) => this.#nodeOf({ ...row, readers: readers.get(row.key) ?? [] }, now));
    this.#place(nodes);
    const keys = new Set(rows.map(({ key }) => key));
    for (const key of this.#views.keys()) if (!keys.has(key)) this.#views.delete(key);
    for (const key of this.#lines.keys()) if (!keys.has(key)) this.#lines.delete(key);
    this.#scroller.setAttribute(
      "aria-label",
      say("room.log", { room: this.#store.room(this.#store.roomId)?.name || say("room.unnamed") }),
    );
  }

  #nodeOf(row, now) {
    if (row.kind === "day" || row.kind === "fresh") {
      if (!this.#lines.has(row.key)) this.#lines.set(row.key, line(row));
      return this.#lines.get(row.key);
    }
    // A send keeps its node when it becomes a message: nothing flickers.
    const before = row.message?.clientId && this.#views.get(row.message.clientId);
    let view = this.#views.get(row.key) ?? before;
    if (!view) view = new MessageView(this.#context);
    if (before) this.#views.delete(row.message.clientId);
    this.#views.set(row.key, view);
    view.update(row, now);
    return view.node;
  }

  /** Puts the nodes in order, moving only what is out of place. */
  #place(nodes) {
    const wanted = new Set(nodes);
    for (const node of [...this.#list.children]) if (!wanted.has(node)) node.remove();
    let here = this.#list.firstElementChild;
    for (const node of nodes) {
      if (node === here) here = here.nextElementSibling;
      else this.#list.insertBefore(node, here);
    }
  }

  #mentions() {
    const conversation = this.#context.conversation();
    const bot = this.#store.room(this.#store.roomId)?.bot.name;
    const names = [...conversation.members.values()].map(({ name }) => name).concat(bot ?? []);
    if (!names.length) return null;
    const longestFirst = names
      .sort((a, b) => b.length - a.length)
      .map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`@(?:${longestFirst.join("|")})`, "giu");
  }

  // -- place

  #keepingPlace(change) {
    if (this.#following) {
      change();
      this.#pin();
      return;
    }
    const top = this.#scroller.getBoundingClientRect().top;
    const anchor = [...this.#list.children].find((node) => node.getBoundingClientRect().bottom > top);
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor?.isConnected) this.#scroller.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #pin() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const conversation = this.#context.conversation();
    this.#following =
      scrollHeight - scrollTop - clientHeight < NEAR_PX && this.#span.reachesEnd && !conversation.moreAfter;
    this.#tellNewer();
    this.#tellRead();
    this.#more();
  }

  /** Before the reader comes to an edge, what lies behind it is shown, or fetched. */
  async #more() {
    if (this.#paging || !this.#store.roomId) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const conversation = this.#context.conversation();
    const list = conversation.list();
    if (!list.length) return;
    if (scrollTop < AHEAD_PX) {
      if (this.#span.up(list)) this.#later();
      else if (conversation.moreBefore) await this.#fetch("before", conversation.lowest);
    } else if (scrollHeight - scrollTop - clientHeight < AHEAD_PX) {
      if (this.#span.down(list)) this.#later();
      else if (conversation.moreAfter) await this.#fetch("after", conversation.highest);
    }
  }

  async #fetch(where, seq) {
    this.#paging = true;
    if (where === "before") this.#span.extend();
    const came = await this.actions.page(where, seq);
    if (!came) await new Promise((done) => setTimeout(done, 2_000)); // offline: not a try a frame
    this.#paging = false;
  }

  /** Bring a message into sight and show which it is. */
  async jump(seq) {
    const conversation = this.#context.conversation();
    const here = (list) => list.find((message) => message.seq === seq);
    if (!here(conversation.list()) && !(await this.actions.page("around", seq))) return;
    const message = here(conversation.list());
    if (!message) return;
    this.#following = false;
    this.#span.around(conversation.list(), seq);
    this.#sync();
    const { node } = this.#views.get(message.id);
    node.scrollIntoView({ block: "center" });
    node.focus({ preventScroll: true });
    node.classList.add("message--found");
    node.addEventListener("animationend", () => node.classList.remove("message--found"), { once: true });
    this.#tellNewer();
  }

  async toEnd() {
    if (this.#context.conversation().moreAfter) await this.actions.startOver();
    this.#span.reset();
    this.#following = true;
    this.#sync();
    this.#pin();
    this.#tellNewer();
    this.#tellRead();
  }

  // -- what is new

  #tellNewer() {
    const newest = this.#store.room(this.#store.roomId)?.lastSeq ?? 0;
    if (this.#following) this.#seen = newest;
    const count = newest - this.#seen;
    this.#newer.hidden = this.#following;
    const text = count > 0 ? say("newer", { n: count }) : say("toEnd");
    if (this.#newer.textContent !== text) this.#newer.replaceChildren(smallIcon("below"), text);
  }

  #tellRead() {
    if (!this.#following || document.visibilityState !== "visible" || !document.hasFocus() || !this.#store.roomId)
      return;
    this.actions.read(this.#context.conversation().highest);
  }

  #tick() {
    const now = Date.now();
    for (const view of this.#views.values()) view.tick(now);
  }

  // -- for the toolbar and the keys

  viewOf(node) {
    return [...this.#views.values()].find((view) => view.node === node);
  }

  /** Move the focus by so many messages. */
  walk(step) {
    const nodes = [...this.#list.querySelectorAll(".message")];
    const at = nodes.indexOf(document.activeElement?.closest?.(".message"));
    const next = at < 0 ? nodes.at(-1) : nodes[Math.min(nodes.length - 1, Math.max(0, at + step))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }
}

function line(row) {
  if (row.kind === "fresh") return make("li", { class: "fresh" }, say("fresh", { n: row.count }));
  return make(
    "li",
    { class: "day" },
    make("time", { datetime: row.at.toISOString().slice(0, 10) }, words.day(row.at, new Date())),
  );
}
