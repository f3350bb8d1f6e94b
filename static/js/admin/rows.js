// A table: named columns, figures at the end, scrolling inside itself, sorted by its heads where they are buttons.

import { make, smallIcon, stamp } from "../dom.js";
import { say } from "../i18n.js";

export class Rows {
  #columns;
  #heads = new Map();
  #body = make("tbody");
  #none;

  /** columns: [{key, label, kind: "end" | "fixed" | "wide" | "", sort: is its head a button, cell(item) -> node or text}],
   * the first names the row. sorted(key): a head was pressed. long: it is wide, and scrolls on a phone. */
  constructor({ label, columns, none = "", sorted = null, long = false, foot = null }) {
    this.#columns = columns;
    this.#none = none;
    const heads = columns.map((column) => this.#head(column, sorted));
    const table = make(
      "table",
      { class: `rows ${long ? "rows--long" : ""}` },
      make("thead", {}, make("tr", {}, ...heads)),
      this.#body,
      foot,
    );
    this.node = make("div", { class: "rows-frame", role: "region", tabindex: "0", "aria-label": label }, table);
  }

  #head({ key, label, kind = "", sort }, sorted) {
    const inside = sort
      ? make("button", { type: "button", class: "rows__sort", onclick: () => sorted(key) }, label, smallIcon("down"))
      : label;
    const head = make("th", { scope: "col", class: kind }, inside);
    this.#heads.set(key, head);
    return head;
  }

  /** Says by which column it is sorted, and which way ("asc", "desc"). */
  sortedBy(key, order = "desc") {
    for (const [name, head] of this.#heads) {
      if (name === key) head.setAttribute("aria-sort", order === "asc" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  show(items) {
    this.#body.replaceChildren();
    this.add(items);
    if (items.length || !this.#none) return;
    const cell = make("td", { class: "rows__none", colspan: String(this.#columns.length) }, this.#none);
    this.#body.append(make("tr", {}, cell));
  }

  add(items) {
    this.#body.append(...items.map((item) => this.#row(item)));
  }

  #row(item) {
    const cells = this.#columns.map(({ kind = "", cell }, at) => {
      const inside = [cell(item)].flat().filter((one) => one !== "");
      return at ? make("td", { class: kind }, ...inside) : make("th", { scope: "row", class: kind }, ...inside);
    });
    return make("tr", {}, ...cells);
  }
}

/** A person's stamp and name, with what stands beneath. */
export function who(id, name, { href = null, note = "" } = {}) {
  const title = name || say("message.nobody");
  const named = href ? make("a", { href }, title) : make("span", { class: name ? "" : "faint" }, title);
  return make(
    "span",
    { class: "who" },
    stamp(name || "·", id, { size: "small" }),
    make("span", { class: "who__name" }, named, note && make("small", {}, note)),
  );
}
