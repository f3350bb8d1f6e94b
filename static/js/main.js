// The chat page: makes the parts, ties them together, keeps the address bar and the open room the same.

import { api } from "./api.js";
import { Bar } from "./bar.js";
import { copyText } from "./clipboard.js";
import { Composer } from "./composer.js";
import { confirm, toast } from "./dialogs.js";
import { initial } from "./dom.js";
import { Found } from "./found.js";
import { say, words } from "./i18n.js";
import { listenToKeys } from "./keys.js";
import { Keep } from "./keep.js";
import { Live } from "./live.js";
import { Log } from "./log.js";
import { Notice } from "./notice.js";
import { Notify } from "./notify.js";
import { Outbox } from "./outbox.js";
import { Panel } from "./panel.js";
import { Rooms } from "./rooms.js";
import { Socket } from "./socket.js";
import { Spoken } from "./spoken.js";
import { Store } from "./store.js";
import { Tools } from "./tools.js";

// A link for a new password: the sign-in page sends here whoever is signed in, and does not see the hash.
if (location.hash.startsWith("#reset=")) location.replace(`/login?reset=1${location.hash}`);

const { userId, userName, userRole } = document.body.dataset;
const me = { id: userId, name: userName, role: userRole };
const store = new Store(me);
const keep = new Keep(me.id);
const outbox = new Outbox(store, keep);
const socket = new Socket(`${location.origin.replace(/^http/, "ws")}/ws`);
let isLeaving = false; // signed out here: the end of the session is no surprise
const fault = (error) => toast(words.error(error));
const live = new Live(socket, store, {
  onFault: fault,
  onRemoved: (roomId, reason) => roomId === store.roomId && toast(say(`room.${reason}`)),
});

// -- what people can do

const actions = {
  send: (text, replyTo) => {
    live.send(store.roomId, text, replyTo);
    log.toEnd();
  },
  change: (id, text) => live.edit(id, text),
  stop: (id) => live.stop(id),
  again: (id) => live.regenerate(id),
  retry: (clientId) => live.retry(store.roomId, clientId),
  drop: ({ clientId }) => store.drop(store.roomId, clientId),
  typing: (on) => live.typing(store.roomId, on),
  read: (seq) => live.read(store.roomId, seq),
  page: (where, seq) => live.page(store.roomId, where, seq),
  startOver: () => live.enter(store.roomId, { fresh: true }),
  reply: (message) => composer.reply(message),
  quote: (message) => composer.quote(selectedIn(message) || store.conversation(store.roomId).textOf(message)),
  edit: (message) => composer.edit(message),
  editLast() {
    const mine = store
      .conversation(store.roomId)
      .list()
      .findLast((message) => message.userId === me.id && !message.deleted);
    if (mine) composer.edit(mine);
  },
  async copy(message) {
    await copyText(store.conversation(store.roomId).textOf(message));
    toast(say("message.copied"));
  },
  async link(message) {
    await copyText(`${location.origin}/r/${message.roomId}#${message.seq}`);
    toast(say("message.copied"));
  },
  async remove(message) {
    const yes = await confirm({
      title: say("message.deleteTitle"),
      text: say("message.deleteText"),
      yes: say("message.delete"),
    });
    if (yes) live.delete(message.id);
  },
  jump: (seq) => log.jump(seq),
  async goTo(roomId, messageId) {
    try {
      const { seq } = await api.get(`/messages/${messageId}`);
      if (roomId !== store.roomId) await go(roomId);
      log.jump(seq);
    } catch (error) {
      fault(error);
    }
  },
  context: (message) => window.open(`/m/${message.id}`, "_blank", "noopener"),
  settings: (part) => panel.toggle(part),
  newChat,
};

/** What is selected of a message, if that is all that is selected. */
function selectedIn(message) {
  const selection = getSelection();
  const node = document.getElementById(`m-${message.id}`)?.querySelector(".message__body");
  return node?.contains(selection.anchorNode) && node.contains(selection.focusNode) ? selection.toString() : "";
}

/** Its own modules, which most visits never need. */
async function account() {
  try {
    const { showAccount } = await import("./account.js");
    showAccount({ me, renamed, leaving: (yes) => (isLeaving = yes), left: () => keep.forget() });
  } catch {
    fault({ code: "network" });
  }
}

function renamed(name) {
  store.renamed(name);
  showMe();
}

function showMe() {
  document.getElementById("my-stamp").replaceChildren(initial(me.name));
  document.getElementById("my-name").textContent = me.name;
}

async function newChat() {
  try {
    const room = await api.post("/rooms", { bot: { name: say("botName") } });
    store.roomChanged(room);
    await go(room.id);
  } catch (error) {
    fault(error);
  }
}

async function signOut() {
  const { unsent } = outbox;
  const text = say("signOutUnsent", { n: unsent });
  if (unsent && !(await confirm({ title: say("signOutTitle"), text, yes: say("signOut") }))) return undefined;
  isLeaving = true;
  try {
    await api.post("/auth/logout");
  } catch (error) {
    isLeaving = error.status === 401;
    if (!isLeaving) return fault(error);
  }
  await keep.forget();
  return location.assign("/login");
}

// -- the address and the open room

async function go(roomId, { push = true } = {}) {
  if (push) history.pushState(null, "", roomId ? `/r/${roomId}` : "/");
  store.open(roomId);
  if (roomId && socket.isOpen && !(await live.enter(roomId))) leave(say("room.gone"));
}

function leave(text) {
  toast(text);
  history.replaceState(null, "", "/");
  store.open(null);
}

function addressed() {
  const [, roomId] = /^\/r\/([^/]+)$/.exec(location.pathname) ?? [];
  return { roomId: roomId ?? null, seq: Number(location.hash.slice(1)) || null };
}

async function follow() {
  const { roomId, seq } = addressed();
  if (roomId !== store.roomId) await go(roomId, { push: false });
  if (roomId && seq) log.jump(seq);
}

/** With room for both, somebody who opens `/` sees the room of the latest talk beside the list. */
function openLatest() {
  const [latest] = store.rooms();
  if (store.roomId === null && latest && matchMedia("(width >= 48rem)").matches) go(latest.room.id, { push: false });
}

// -- the parts

new Bar(store, actions);
const log = new Log(store, actions);
const composer = new Composer(store, actions, keep);
const panel = new Panel(store);
const rooms = new Rooms(store, (roomId) => go(roomId));
new Found(store, actions);
const tools = new Tools(log, store, actions);
new Notify(store, {
  goTo: (roomId, messageId) => (messageId ? actions.goTo(roomId, messageId) : go(roomId)),
  denied: () => toast(say("notify.denied")),
});
new Notice(store, () => socket.connectNow());
new Spoken(store);

listenToKeys({
  find: () => document.getElementById("find").focus(),
  newChat,
  room(step) {
    const order = rooms.order();
    const next = order[order.indexOf(store.roomId) + step];
    if (next) go(next);
  },
  walk: (step) => log.walk(step),
  end: () => log.toEnd(),
  escape() {
    if (panel.isOpen) return panel.close();
    tools.hide();
    const running = store.roomId && store.conversation(store.roomId).myRunningAnswer();
    return running && actions.stop(running.id);
  },
  on(node, act) {
    const message = log.viewOf(node)?.row?.message;
    if (message && !message.deleted && (act !== "edit" || message.userId === me.id)) actions[act](message);
  },
});

document.getElementById("new-chat").addEventListener("click", newChat);
document.getElementById("sign-out").addEventListener("click", signOut);
document.getElementById("account").addEventListener("click", account);
showMe();
document.querySelector("#bar .narrow").addEventListener("click", (event) => {
  event.preventDefault();
  go(null);
});
addEventListener("popstate", follow);
document.getElementById("messages").addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || link.target || event.defaultPrevented || !link.pathname.startsWith("/r/")) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  follow();
});

socket.onState = (state) => {
  store.connection({ state });
  if (state === "ended" && !isLeaving) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
};
socket.isSignedIn = () =>
  api.get("/users/me").then(
    () => true,
    (error) => error.status !== 401,
  );

store.on(({ kind, roomId }) => {
  if (kind === "open" && roomId === null && location.pathname !== "/") history.replaceState(null, "", "/");
});
store.open(addressed().roomId);
const first = store.on(({ kind }) => {
  if (kind !== "rooms" || !store.roomsKnown) return;
  first();
  openLatest();
});
if (addressed().seq) {
  const jump = store.on(({ kind }) => {
    if (kind !== "log") return;
    jump();
    log.jump(addressed().seq);
  });
}
socket.start();
keep.load().then(({ sends, drafts }) => {
  composer.restore(drafts);
  outbox.restore(sends);
  live.pump();
});
