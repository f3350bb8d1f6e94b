// Conversations as they go on: who, where, how long, with what outcome. What is said is shown when somebody asks for it,
// having read that the asking is written down.

import { confirm } from "../dialogs.js";
import { botStamp, laying, make, soon, stamp } from "../dom.js";
import { choice, saidLine } from "../fields.js";
import { say, words } from "../i18n.js";
import { LiveLines } from "./live_lines.js";
import { find } from "./paged.js";
import { button, heading, searchField } from "./parts.js";
import { queryOf } from "./route.js";

const KINDS = ["", "people", "bot", "running", "failed"];

export async function show({ rest: [roomId] }, go) {
  const room = roomId ? await find("/admin/rooms", roomId) : null;
  return new Live(roomId, room ? room.name || say("room.unnamed") : "", go);
}

class Live {
  #roomId;
  #go;
  #lines = new LiveLines();
  #filter = { text: "", kind: "" };
  #withText = false;
  #source = null;
  #views = new Map(); // message id -> {node, line}
  #list = make("ol", { class: "told" });
  #none = make("p", { class: "told__none" }, say("live.none"));
  #state = make("span", { class: "told__state", role: "status" });
  #said = saidLine();
  #pause = button(say("live.pause"), () => this.#setPaused(!this.#lines.isPaused), {
    small: true,
    "aria-pressed": "false",
  });
  #text = button(say("live.show"), () => this.#setText(!this.#withText), {
    small: true,
    "aria-pressed": "false",
    "aria-describedby": "live-note",
  });
  #later = soon(() => this.#draw());

  constructor(roomId, roomName, go) {
    this.#roomId = roomId;
    this.#go = go;
    const kinds = KINDS.map((kind) => [kind, say(`live.kind.${kind || "all"}`)]);
    const look = (text) => this.#narrow({ text });
    const all = roomId && make("a", { class: "button button--small", href: "#live" }, say("live.all"));
    this.node = [
      heading(roomName ? say("live.of", { room: roomName }) : say("live.title"), this.#state),
      make("p", { class: "hall__lead", id: "live-note" }, say("live.note")),
      make(
        "div",
        { class: "tools-row" },
        searchField(say("live.find"), "", look),
        choice("kind", say("live.kinds"), kinds, "", (kind) => this.#narrow({ kind })),
        make("span", { class: "tools-row__end" }, all, this.#text, this.#pause),
      ),
      this.#said.node,
      make(
        "div",
        { class: "told-frame", role: "region", tabindex: "0", "aria-label": say("admin.live") },
        this.#list,
        this.#none,
      ),
    ].filter(Boolean);
    this.#connect();
  }

  stop() {
    this.#source?.close();
  }

  moved({ rest: [roomId] }) {
    if (roomId !== this.#roomId) this.#go("live", roomId ? [roomId] : []);
  }

  // -- the stream

  #connect() {
    this.#source?.close();
    this.#tell("connecting");
    const source = new EventSource(
      `/admin/live${queryOf({ roomId: this.#roomId, text: this.#withText ? "true" : "" })}`,
    );
    this.#source = source;
    source.addEventListener("open", () => this.#tell("open"));
    source.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return this.#tell("again"); // the browser tries by itself
      this.#tell("ended");
      return this.#said.fault(say("live.ended"));
    });
  }

  #tell(state) {
    const text = say(`live.state.${state}`);
    this.#state.replaceChildren(...(state === "open" ? [laying(), text] : [text]));
    this.#state.dataset.state = state;
  }

  #take(line) {
    if (line.id === undefined) return; // `open`, as some servers of events name it too
    if (this.#lines.take(line)) this.#later();
    else this.#tellPause();
  }

  // -- what one can do

  #narrow(filter) {
    Object.assign(this.#filter, filter);
    this.#draw();
  }

  #setPaused(isPaused) {
    if (isPaused) this.#lines.pause();
    else this.#lines.resume();
    this.#pause.setAttribute("aria-pressed", String(isPaused));
    this.#tellPause();
    this.#draw();
  }

  #tellPause() {
    const n = this.#lines.waiting;
    this.#pause.textContent = this.#lines.isPaused
      ? n
        ? say("live.resumeNew", { n })
        : say("live.resume")
      : say("live.pause");
  }

  async #setText(isOn) {
    const question = { title: say("live.showTitle"), text: say("live.showText"), yes: say("live.showYes") };
    if (isOn && !(await confirm(question))) return;
    this.#withText = isOn;
    this.#text.setAttribute("aria-pressed", String(isOn));
    this.#text.textContent = say(isOn ? "live.hide" : "live.show");
    if (!isOn) this.#lines.forget();
    this.#connect();
    this.#draw();
  }

  // -- drawing

  /** Rows stay while their line does; the newest stands first. */
  #draw() {
    const lines = this.#lines.shown(this.#filter);
    const kept = new Map();
    const nodes = lines.map((line) => {
      const known = this.#views.get(line.id);
      const view = known?.line === line ? known : { line, node: rowOf(line, !this.#roomId) };
      kept.set(line.id, view);
      return view.node;
    });
    this.#views = kept;
    const wanted = new Set(nodes);
    for (const node of [...this.#list.children]) if (!wanted.has(node)) node.remove();
    let here = this.#list.firstElementChild;
    for (const node of nodes) {
      if (node === here) here = here.nextElementSibling;
      else this.#list.insertBefore(node, here);
    }
    this.#none.hidden = lines.length > 0;
  }
}

function rowOf(line, withRoom) {
  const { role, userId, userName, roomId, roomName, ts, text, error, deleted } = line;
  const at = new Date(ts);
  const name = userName || say("message.nobody");
  return make(
    "li",
    { class: `told__line told__line--${line.status}` },
    make("time", { datetime: ts }, words.shortTime(at)),
    role === "bot" ? botStamp("small") : stamp(name, userId, { size: "small" }),
    make(
      "div",
      { class: "told__what" },
      make(
        "p",
        { class: "told__head" },
        userId ? make("a", { href: `#people/${userId}` }, name) : make("b", {}, name),
        withRoom && make("a", { href: `#rooms/${roomId}`, class: "told__room" }, roomName || say("room.unnamed")),
      ),
      deleted && make("p", { class: "told__gone" }, say("message.gone")),
      !deleted && text !== undefined && make("p", { class: "told__text" }, text),
      error && make("p", { class: "told__fault" }, make("code", {}, error.code), " ", error.message ?? ""),
    ),
    make("p", { class: "told__facts" }, ...factsOf(line)),
  );
}

function factsOf({ role, status, chars, model, usage }) {
  const state =
    role === "bot" && make("span", { class: `told__status told__status--${status}` }, say(`live.status.${status}`));
  const facts = [
    state,
    make("span", {}, say("live.chars", { n: chars })),
    model && make("span", {}, model),
    usage && make("span", {}, say("live.tokens", { read: usage.inputTokens, written: usage.outputTokens })),
  ];
  return facts.filter(Boolean);
}
