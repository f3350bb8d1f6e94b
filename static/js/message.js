// One row of the log: a message, or a send on its way. Rebuilt when it changes; a growing answer only grows.

import { isRunning } from "./conversation.js";
import { botStamp, make, smallIcon, stamp } from "./dom.js";
import { say, words } from "./i18n.js";
import { Prose, replaceInText } from "./markdown.js";
import { cite, endedFoot, failedFoot, runningFoot, sourcesOf } from "./message_foot.js";

const READERS = 6;

export class MessageView {
  #context;
  #row = null;
  #shape = "";
  #content = make("div");
  #body = make("div", { class: "message__body" });
  #prose = new Prose(this.#body, (fragment) => this.#dress(fragment));
  #thought = null;
  #readers = null;
  #seconds = null; // the words that count while an answer runs
  #runsSince = null;

  /** context: {conversation(), me, canWrite(), actions} of the log. */
  constructor(context) {
    this.#context = context;
    this.node = make("li", { tabindex: "-1" });
  }

  get row() {
    return this.#row;
  }

  /** Show this row (arrange.js). Does nothing when it looks as before. */
  update(row, now) {
    const { message, pending } = row;
    const conversation = this.#context.conversation();
    const waits = message?.status === "queued" && conversation.isAnswering();
    const online = message && conversation.members.get(message.userId)?.online;
    const quoted = message?.replyTo && !row.below && conversation.get(message.replyTo);
    const shape = JSON.stringify([
      online,
      row.more,
      row.asked,
      row.below,
      message?.changedSeq,
      pending?.state,
      waits,
      message && conversation.nameOf(message),
      quoted && [quoted.changedSeq, conversation.nameOf(quoted)],
    ]);
    this.#row = row;
    if (shape !== this.#shape) this.#become(shape, now);
    this.#showReaders(row.readers);
  }

  #become(shape, now) {
    const { message } = this.#row;
    this.#shape = shape;
    this.node.className = this.#classes();
    this.node.id = `m-${this.#row.key}`;
    if (message && isRunning(message)) this.#runsSince ??= Math.max(new Date(message.ts), now - 600_000);
    else this.#runsSince = null;
    this.node.toggleAttribute("aria-busy", message?.status === "streaming");
    this.#readers = null;
    this.#build(now);
  }

  /** Small stamps of those who have read up to here. */
  #showReaders(readers) {
    const ids = readers.map(({ userId }) => userId).join(" ");
    if (ids === (this.#readers?.dataset.ids ?? "")) return;
    this.#readers?.remove();
    this.#readers = readers.length ? readersLine(readers, ids) : null;
    if (this.#readers) this.node.append(this.#readers);
  }

  #classes() {
    const { message, pending, more, asked } = this.#row;
    const own = pending || message.userId === this.#context.me.id;
    const bot = message?.role === "bot";
    return [
      "message",
      own && !message?.deleted && "message--own",
      more && "message--more",
      asked && "message--asked",
      bot && "message--answer",
      message && isRunning(message) && "message--streaming",
      message?.deleted && "message--gone",
      pending?.state === "sending" && "message--pending",
      pending?.state === "failed" && "message--failed",
    ]
      .filter(Boolean)
      .join(" ");
  }

  #build(now) {
    const { message, more } = this.#row;
    this.#fillBody();
    const parts = [
      !more && this.#head(),
      this.#quote(),
      this.#thinking(),
      this.#body,
      message && sourcesOf(message, this.#context),
      this.#foot(now),
    ];
    const side = more ? this.#time("message__at", true) : make("span", { class: "message__stamp" }, this.#stamp());
    if (this.#content.parentNode) this.node.firstElementChild.replaceWith(side);
    else this.node.prepend(side, this.#content);
    for (const node of [...this.node.children].slice(2)) if (!node.matches(".message__tools")) node.remove();
    this.#arrange(parts.filter(Boolean));
  }

  /** The body is never moved: a long answer would be laid out anew, and the reader's selection lost. */
  #arrange(parts) {
    for (const node of [...this.#content.childNodes]) if (!parts.includes(node)) node.remove();
    let here = this.#content.firstChild;
    for (const part of parts) {
      if (part === here) here = here.nextSibling;
      else this.#content.insertBefore(part, here);
    }
  }

  #stamp() {
    const { message } = this.#row;
    if (message?.role === "bot") return botStamp();
    const { me } = this.#context;
    const id = message ? message.userId : me.id;
    const online = id !== me.id && this.#context.conversation().members.get(id)?.online;
    return stamp(this.#name(), id, { own: id === me.id && !message?.deleted, online });
  }

  #name() {
    const { message } = this.#row;
    return message ? this.#nameOf(message) : this.#context.me.name;
  }

  #nameOf(message) {
    return this.#context.conversation().nameOf(message) || say("message.nobody");
  }

  #time(className, short = false) {
    const { at } = this.#row;
    return make(
      "time",
      { class: className, datetime: at.toISOString(), title: at.toLocaleString(words.language) },
      short ? words.shortTime(at) : words.time(at),
    );
  }

  #head() {
    const { message, below } = this.#row;
    const asker = message?.role === "bot" && !below ? this.#context.conversation().get(message.replyTo) : null;
    return make(
      "header",
      { class: "message__head" },
      make("span", { class: "message__name" }, this.#name()),
      asker &&
        make("span", { class: "message__meta" }, say("message.to", { name: this.#nameOf(asker) })),
      this.#sendState() ?? this.#time("message__meta"),
      message?.editedAt && make("span", { class: "message__meta" }, say("message.edited")),
    );
  }

  #sendState() {
    const { pending } = this.#row;
    if (pending?.state === "sending") {
      return make("span", { class: "state state--wait" }, smallIcon("clock"), say("message.sending"));
    }
    if (pending?.state !== "failed") return null;
    return make("span", { class: "state state--fault" }, smallIcon("warning"), say("message.notSent"));
  }

  #quote() {
    const { message, pending, below } = this.#row;
    const id = (message ?? pending).replyTo;
    const quoted = id && !below ? this.#context.conversation().get(id) : null;
    if (!quoted) return null;
    const text = quoted.deleted ? say("message.gone") : quoted.text.slice(0, 200);
    const go = (event) => {
      event.preventDefault();
      this.#context.actions.jump(quoted.seq);
    };
    return make(
      "a",
      { class: "quote", href: `#${quoted.seq}`, onclick: go },
      make("b", {}, this.#nameOf(quoted)),
      make("span", {}, text),
    );
  }

  #thinking() {
    const { message } = this.#row;
    const text = message?.role === "bot" ? this.#context.conversation().thinkingOf(message) : "";
    if (!text) return (this.#thought = null);
    this.#thought ??= make(
      "details",
      { class: "thought" },
      make("summary", {}, smallIcon("right"), make("span")),
      make("p", { class: "thought__text" }),
    );
    const seconds = message.reasoning && Math.max(1, Math.round(message.reasoning.ms / 1000));
    this.#thought.querySelector("summary span").textContent = seconds
      ? say("answer.thought", { n: seconds })
      : say("answer.thinking");
    this.#thought.querySelector("p").textContent = text;
    return this.#thought;
  }

  #fillBody() {
    const { message, pending } = this.#row;
    const conversation = this.#context.conversation();
    if (pending) this.#prose.show(pending.text);
    else if (message.deleted) this.#body.replaceChildren(make("p", {}, say("message.gone")));
    else if (message.status === "queued") this.#wait(conversation.isAnswering());
    else this.#prose.show(conversation.textOf(message), message.status !== "streaming");
  }

  #wait(behindAnother) {
    this.#prose = new Prose(this.#body, (fragment) => this.#dress(fragment));
    this.#body.replaceChildren(
      make("p", { class: "state state--live" }, say(behindAnother ? "answer.queued" : "answer.starting")),
    );
  }

  #foot(now) {
    const { message, pending } = this.#row;
    if (pending) return pending.state === "failed" ? failedFoot(pending, this.#context) : null;
    if (message.status !== "streaming") return endedFoot(message, this.#context);
    this.#seconds = make("span", { class: "state state--live" });
    this.tick(now);
    return runningFoot(message, this.#seconds, this.#context);
  }

  /** More of a running answer has come. */
  grow() {
    if (this.#row.message?.status !== "streaming") return;
    this.#fillBody();
    const thought = this.#thinking();
    if (thought && !thought.isConnected) this.#body.before(thought);
  }

  /** A second has passed. */
  tick(now) {
    if (this.#runsSince !== null && this.#seconds) {
      this.#seconds.textContent = say("answer.running", { n: Math.max(0, Math.round((now - this.#runsSince) / 1000)) });
    }
  }

  /** Mentions stand out; the numbers with which an answer cites lead to its sources. */
  #dress(fragment) {
    const pattern = this.#context.mentions();
    if (pattern) {
      replaceInText(fragment, pattern, ([text]) => {
        const you = text.slice(1).toLowerCase() === this.#context.me.name.toLowerCase();
        return make("span", { class: you ? "mention mention--you" : "mention" }, text);
      });
    }
    const sources = this.#row.message?.sources ?? [];
    const citing = ([, number]) => sources[number - 1] && cite(sources[number - 1], number, this.#context);
    if (sources.length) replaceInText(fragment, /\[(\d{1,2})\]/g, citing);
  }
}

function readersLine(readers, ids) {
  const names = readers.map(({ name }) => name || say("message.nobody"));
  const label = say("readBy", { names: words.list(names) });
  const stamps = readers.slice(0, READERS).map(({ name, userId }) => stamp(name, userId, { size: "tiny" }));
  const more = readers.length > READERS && make("span", {}, say("readMore", { n: readers.length - READERS }));
  return make("div", { class: "readers", role: "img", "aria-label": label, title: label, "data-ids": ids }, ...stamps, more);
}
