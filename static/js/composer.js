// Where one writes: drafts, replies, corrections, and who will answer. Enter is enter.js's.

import { whoAnswers } from "./answering.js";
import { make, mark, icon, smallIcon, tool } from "./dom.js";
import { Enter } from "./enter.js";
import { say } from "./i18n.js";
import { MentionList } from "./mention_list.js";

const MOST_CHARACTERS = 20_000;
const TYPING_EVERY_MS = 3_000;
const KEEP_AFTER_MS = 400;

export class Composer {
  #form = document.getElementById("composer");
  #field = document.getElementById("text");
  #about = document.getElementById("composer-about");
  #who = document.getElementById("who-answers");
  #count = document.getElementById("count");
  #button = document.getElementById("send");
  #enter = new Enter();
  #mentions = new MentionList(this.#field, () => this.#people());
  #store;
  #actions;
  #roomId = null;
  #drafts = new Map(); // room id -> {text, replyTo}
  #keep;
  #keepTimer = null;
  #replyTo = null; // a message
  #editing = null; // a message
  #typedAt = 0;
  #touch = matchMedia("(hover: none) and (pointer: coarse)");
  #grows = CSS.supports("field-sizing", "content");

  /** actions: send(text, replyTo), change(id, text), editLast(), stop(id), typing(on), settings(part). */
  constructor(store, actions, keep) {
    this.#store = store;
    this.#actions = actions;
    this.#keep = keep;
    const field = this.#field;
    field.addEventListener("compositionstart", () => this.#enter.start());
    field.addEventListener("compositionupdate", (event) => this.#enter.update(event.data));
    field.addEventListener("compositionend", (event) => this.#compositionEnded(event));
    field.addEventListener("keydown", (event) => this.#keydown(event));
    field.addEventListener("keyup", (event) => this.#enter.keyup(event));
    field.addEventListener("beforeinput", (event) => this.#beforeInput(event));
    field.addEventListener("input", () => this.#typed());
    field.addEventListener("blur", () => this.#stopTyping());
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#button.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps its focus
    this.#button.addEventListener("click", () => this.#pressed());
    this.#who.addEventListener("click", () => actions.settings("bot"));
    addEventListener("pagehide", () => this.#keepDraft());
    document.addEventListener("visibilitychange", () => this.#keepDraft());
    store.on(({ kind, roomId }) => this.#changed(kind, roomId));
  }

  /** drafts: from before a reload. What has been written since goes first. */
  restore(drafts) {
    this.#drafts = new Map([...drafts, ...this.#drafts]);
    const draft = this.#drafts.get(this.#roomId);
    if (!draft || !this.isEmpty || this.#editing || this.#enter.composing) return;
    this.#replyTo ??= draft.replyTo;
    this.#fill(draft.text);
  }

  get isEmpty() {
    return this.#field.value === "";
  }

  focus() {
    if (!this.#touch.matches) this.#field.focus();
  }

  #changed(kind, roomId) {
    if (kind === "open") this.#open();
    else if (kind === "rooms" || (roomId === this.#roomId && (kind === "log" || kind === "message"))) this.#show();
  }

  #open() {
    this.#keepDraft();
    this.#roomId = this.#store.roomId;
    const draft = this.#drafts.get(this.#roomId);
    this.#editing = null;
    this.#replyTo = draft?.replyTo ?? null;
    this.#fill(draft?.text ?? "");
    this.focus();
  }

  #keepDraft() {
    clearTimeout(this.#keepTimer);
    if (!this.#roomId || this.#editing) return;
    const draft = { text: this.#field.value, replyTo: this.#replyTo };
    const before = this.#drafts.get(this.#roomId);
    this.#drafts.set(this.#roomId, draft);
    if (draft.text !== (before?.text ?? "") || draft.replyTo?.id !== before?.replyTo?.id)
      this.#keep.putDraft(this.#roomId, draft);
  }

  #keepSoon() {
    clearTimeout(this.#keepTimer);
    this.#keepTimer = setTimeout(() => this.#keepDraft(), KEEP_AFTER_MS);
  }

  #fill(text) {
    this.#field.value = text;
    this.#grow();
    this.#show();
  }

  // -- keys

  #keydown(event) {
    if (this.#mentions.keydown(event, this.#enter.composing || event.isComposing)) return;
    if (this.#touch.matches) return; // Enter breaks the line there; the button sends
    const what = this.#enter.keydown(event);
    if (what === "send" || what === "swallow") event.preventDefault();
    if (what === "send") this.#submit();
    if (what === "send-later") setTimeout(() => this.#submit());
    if (event.key === "Escape" && !this.#enter.composing) this.#escape(event);
    if (event.key === "ArrowUp" && this.isEmpty && !this.#enter.composing) this.#actions.editLast();
  }

  #compositionEnded(event) {
    if (this.#enter.end(event.data, event.timeStamp) === "send") setTimeout(() => this.#submit());
  }

  #beforeInput(event) {
    const breaks = event.inputType === "insertLineBreak" || event.inputType === "insertParagraph";
    if (breaks && !this.#touch.matches && !this.#enter.allowsBreak(event.timeStamp)) event.preventDefault();
  }

  #escape(event) {
    if (!this.#editing && !this.#replyTo) return;
    event.stopPropagation();
    this.cancel();
  }

  #typed() {
    if (!this.#enter.composing) this.#grow();
    this.#show();
    this.#keepSoon();
    const now = Date.now();
    if (!this.#editing && !this.isEmpty && now - this.#typedAt > TYPING_EVERY_MS) {
      this.#typedAt = now;
      this.#actions.typing(true);
    }
  }

  #stopTyping() {
    if (this.#typedAt) this.#actions.typing(false);
    this.#typedAt = 0;
  }

  // -- sending

  #pressed() {
    const running = this.#stoppable();
    if (running) this.#actions.stop(running.id);
    else if (this.#enter.composing) this.#closeAndSend();
    else this.#submit();
    this.focus();
  }

  /** Phones compose all the time: leaving the field closes the syllable, and its end sends. */
  #closeAndSend() {
    this.#enter.mark();
    this.#field.blur();
    if (this.#touch.matches) this.#field.focus();
  }

  #submit() {
    if (this.#enter.composing) return this.#enter.mark(); // the next syllable has begun: with its end
    const text = this.#field.value.trim();
    if (!text || this.#isTooLong(text) || this.#isReadOnly()) return;
    const editing = this.#editing;
    const replyTo = this.#replyTo?.id;
    this.#editing = this.#replyTo = null;
    this.#typedAt = 0;
    this.#fill(editing ? (this.#drafts.get(this.#roomId)?.text ?? "") : "");
    this.#keepDraft();
    if (!editing) this.#actions.send(text, replyTo);
    else if (text !== editing.text) this.#actions.change(editing.id, text);
  }

  reply(message) {
    if (this.#editing) this.cancel();
    this.#replyTo = message;
    this.#show();
    this.#keepSoon();
    this.#field.focus();
  }

  /** Somebody's words before one's own, as Markdown quotes them. */
  quote(text) {
    if (this.#enter.composing) return;
    const quoted = text.trim().replace(/^/gm, "> ");
    const { value } = this.#field;
    this.#fill(`${value}${value && !value.endsWith("\n") ? "\n\n" : ""}${quoted}\n\n`);
    this.#field.focus();
    this.#field.setSelectionRange(this.#field.value.length, this.#field.value.length);
    this.#field.scrollTop = this.#field.scrollHeight;
    this.#keepSoon();
  }

  /** Whom one can call here. */
  #people() {
    const room = this.#store.room(this.#roomId);
    if (!room) return [];
    const bot = room.bot.when === "off" ? [] : [{ name: room.bot.name, userId: null }];
    const others = [...this.#store.conversation(this.#roomId).members.values()];
    return [...bot, ...others.filter(({ userId, name }) => userId !== this.#store.me.id && name)];
  }

  edit(message) {
    if (!this.#editing) this.#keepDraft();
    this.#editing = message;
    this.#replyTo = null;
    this.#fill(message.text);
    this.#field.focus();
  }

  cancel() {
    const draft = this.#editing ? this.#drafts.get(this.#roomId) : null;
    this.#editing = null;
    this.#replyTo = draft?.replyTo ?? null;
    if (draft) this.#fill(draft.text);
    else this.#show();
    this.#keepSoon();
  }

  // -- looks

  #isReadOnly() {
    return this.#store.room(this.#roomId)?.role === "reader";
  }

  #isTooLong(text) {
    return text.length > MOST_CHARACTERS && [...text].length > MOST_CHARACTERS;
  }

  #stoppable() {
    return this.isEmpty && this.#roomId ? this.#store.conversation(this.#roomId).myRunningAnswer() : undefined;
  }

  /** Everything around the field; the field itself is left alone, since somebody may be composing in it. */
  #show() {
    const room = this.#store.room(this.#roomId);
    if (!room) return;
    const name = room.name || say("room.unnamed");
    document.getElementById("text-label").textContent = say("composer.label", { room: name });
    const place = this.#isReadOnly()
      ? say("composer.readOnly")
      : room.name
        ? say("composer.place", { room: name })
        : say("composer.placeNew");
    if (this.#field.placeholder !== place) this.#field.placeholder = place;
    this.#field.readOnly = this.#isReadOnly();
    this.#showWho(room);
    this.#showCount();
    this.#showButton();
    this.#showAbout();
  }

  #showWho(room) {
    const { bot } = room;
    const what = this.#editing ? "off" : whoAnswers(bot, this.#field.value, this.#replyTo?.role === "bot");
    const text = say(`composer.${what}`, { bot: bot.name });
    this.#who.hidden = this.#editing !== null || this.#isReadOnly();
    if (this.#who.textContent === text) return;
    this.#who.title = say("composer.who", { bot: bot.name });
    this.#who.replaceChildren(mark(), make("span", {}, text));
  }

  #showCount() {
    const { value } = this.#field;
    const count = value.length > MOST_CHARACTERS * 0.9 ? [...value].length : 0;
    this.#count.hidden = count < MOST_CHARACTERS * 0.95;
    this.#count.textContent = say("composer.count", { n: count, limit: MOST_CHARACTERS });
    this.#count.classList.toggle("composer__count--over", count > MOST_CHARACTERS);
  }

  #showButton() {
    const stops = Boolean(this.#stoppable());
    const label = say(stops ? "composer.stop" : this.#editing ? "composer.save" : "composer.send");
    const text = this.#field.value.trim();
    this.#button.disabled = !stops && (!text || this.#isTooLong(text) || this.#isReadOnly());
    if (this.#button.getAttribute("aria-label") === label) return;
    this.#button.setAttribute("aria-label", label);
    this.#button.title = label;
    this.#button.classList.toggle("composer__send--stop", stops);
    this.#button.replaceChildren(icon(stops ? "stop" : this.#editing ? "check" : "send"));
  }

  #showAbout() {
    const about = this.#editing ?? this.#replyTo;
    this.#about.hidden = !about;
    if (!about) return;
    const text = this.#editing
      ? say("composer.editing")
      : say("composer.replying", { name: about.userName || say("message.nobody") });
    this.#about.replaceChildren(
      smallIcon(this.#editing ? "edit" : "reply"),
      make("span", {}, text),
      tool("close", say("composer.cancel"), () => this.cancel()),
    );
  }

  /** Browsers that can't size a field by its content get its height from us. */
  #grow() {
    if (this.#grows) return;
    this.#field.style.blockSize = "auto";
    this.#field.style.blockSize = `${this.#field.scrollHeight}px`;
  }
}
