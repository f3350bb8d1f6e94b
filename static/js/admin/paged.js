// A list of the server's, page by page: the first at once, others when they are asked for.

import { api } from "../api.js";
import { laying, make } from "../dom.js";
import { saidLine, trying } from "../fields.js";
import { say } from "../i18n.js";
import { queryOf } from "./route.js";

export class Paged {
  #rows;
  #path = "";
  #query = {};
  #next = null;
  #turn = 0; // of the latest asking: what was asked before it is not shown any more
  #wait = make("div", { class: "hall__wait" }, laying(say("account.loading")));
  #more;
  said = saidLine();

  /** rows: a Rows. loaded(items): all that are shown now. */
  constructor(rows, loaded = () => {}) {
    this.#rows = rows;
    this.loaded = loaded;
    this.items = [];
    this.#more = make("button", { type: "button", class: "button button--small", hidden: true }, say("found.more"));
    this.#more.addEventListener("click", () => this.#page());
    this.node = make("div", { class: "paged" }, this.#wait, this.said.node, this.#more);
  }

  /** Begins anew. query: of the first page and of all behind it. */
  async load(path, query = {}) {
    this.#path = path;
    this.#query = query;
    this.#next = null;
    await this.#page();
  }

  /** The same once more, as something in it has changed. */
  again() {
    return this.load(this.#path, this.#query);
  }

  async #page() {
    const turn = ++this.#turn;
    const isFirst = this.#next === null;
    this.#rows.node.classList.add("paged--old");
    await trying(this.said, async () => {
      const query = { ...this.#query, limit: 50, ...(isFirst ? {} : { cursor: this.#next }) };
      const page = await api.get(this.#path + queryOf(query));
      if (turn !== this.#turn) return;
      this.items = isFirst ? page.items : [...this.items, ...page.items];
      if (isFirst) this.#rows.show(page.items);
      else this.#rows.add(page.items);
      this.#next = page.next ?? null;
      this.#more.hidden = !page.next;
      if (!this.#rows.node.isConnected) this.node.prepend(this.#rows.node);
      this.loaded(this.items);
    });
    if (turn !== this.#turn) return;
    this.#wait.remove();
    this.#rows.node.classList.remove("paged--old");
  }
}

/** The one of a list with this id, looked for page by page; null when there is none. */
export async function find(path, id, query = {}) {
  for (let cursor = ""; ;) {
    const { items, next } = await api.get(path + queryOf({ ...query, limit: 200, cursor }));
    const found = items.find((item) => item.id === id);
    if (found || !next) return found ?? null;
    cursor = next;
  }
}
