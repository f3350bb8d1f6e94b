// Who and what used how much, between two days: sorted by any column, as a file too.

import { api } from "../api.js";
import { toast } from "../dialogs.js";
import { make, smallIcon } from "../dom.js";
import { choice, labelled } from "../fields.js";
import { dayBefore, money, noonOf, share } from "../figures.js";
import { barOf } from "../gauge.js";
import { say, words } from "../i18n.js";
import { saveFile } from "./file.js";
import { house } from "./house.js";
import { Paged } from "./paged.js";
import { button, heading } from "./parts.js";
import { queryOf } from "./route.js";
import { Rows, who } from "./rows.js";

const BY = ["user", "room", "model", "day"];
const SORTS = ["name", "messages", "answers", "failed", "tokens", "cost"];
const RANGES = [0, 6, 29, 89]; // days before today

export async function show(route, go) {
  return new Usage(route, go, await house());
}

const tokens = ({ inputTokens, outputTokens }) => inputTokens + outputTokens;

class Usage {
  #go;
  #house;
  #asked = {};
  #rows;
  #paged;
  #whole = sumsOf([]); // of all lines
  #heads = make("div", { class: "tools-row" });
  #place = make("div");
  #files = make("span", { class: "panel__row" });

  constructor(route, go, known) {
    this.#go = go;
    this.#house = known;
    this.node = [heading(say("admin.usage"), this.#files), this.#heads, this.#place];
    this.moved(route);
  }

  /** What the address says, with what is meant where it says nothing. */
  #read({ rest: [by], query }) {
    const today = dayBefore(0, new Date(), this.#house.timeZone);
    const since = query.since || dayBefore(29, new Date(), this.#house.timeZone);
    const sort = SORTS.includes(query.sort) ? query.sort : by === "day" ? "name" : "tokens";
    return {
      by: BY.includes(by) ? by : "user",
      since,
      until: query.until || today,
      sort,
      order: query.order === "asc" ? "asc" : "desc",
    };
  }

  moved(route) {
    const before = this.#asked;
    this.#asked = this.#read(route);
    const { by, ...query } = this.#asked;
    if (by !== before.by) this.#begin();
    this.#rows.sortedBy(query.sort, query.order);
    this.#showHeads();
    this.#showFiles();
    this.#load();
  }

  #move(change) {
    const { by, ...query } = { ...this.#asked, ...change };
    this.#go("usage", [by], query, { quiet: true });
  }

  #begin() {
    const foot = make("tfoot");
    this.#rows = new Rows({
      label: say("admin.usage"),
      columns: this.#columns(),
      none: say("stats.none"),
      long: true,
      foot,
      sorted: (key) => this.#sort(key),
    });
    this.#paged = new Paged(this.#rows, () => this.#showSums(foot));
    this.#place.replaceChildren(this.#paged.node);
  }

  #sort(key) {
    const { sort, order } = this.#asked;
    const first = key === "name" ? "asc" : "desc";
    this.#move({ sort: key, order: key === sort ? (order === "asc" ? "desc" : "asc") : first });
  }

  async #load() {
    const asked = this.#asked;
    const { since, until } = this.#query();
    const days = await allOf({ by: "day", since, until }).catch(() => []); // the list itself says what is wrong
    if (asked !== this.#asked) return;
    this.#whole = sumsOf(days);
    await this.#paged.load("/admin/stats", this.#query());
  }

  /** What is asked for, as the server takes it. */
  #query() {
    const { timeZone } = this.#house;
    const { since, until } = this.#asked;
    return { ...this.#asked, since: noonOf(since, timeZone), until: noonOf(until, timeZone) };
  }

  // -- above the table

  #showHeads() {
    const { by, since, until } = this.#asked;
    const zone = this.#house.timeZone;
    const ranges = RANGES.map((days) => [String(days), say("stats.days", { n: days + 1 })]);
    const today = dayBefore(0, new Date(), zone);
    const chosen = RANGES.find((days) => until === today && since === dayBefore(days, new Date(), zone));
    const range = (days) => this.#move({ since: dayBefore(Number(days), new Date(), zone), until: today });
    const field = (name, value) => {
      const input = make("input", { class: "input", type: "date", name, value, max: today });
      input.addEventListener("change", () => input.value && this.#move({ [name]: input.value }));
      return labelled(say(`stats.${name}`), input);
    };
    const held =
      document.activeElement?.name && this.#heads.contains(document.activeElement) && focusOf(document.activeElement);
    this.#heads.replaceChildren(
      choice(
        "by",
        say("stats.by"),
        BY.map((one) => [one, say(`stats.by.${one}`)]),
        by,
        (one) => this.#move({ by: one, sort: "", order: "" }),
      ),
      choice("range", say("overview.span"), ranges, String(chosen), range),
      make("span", { class: "tools-row__dates" }, field("since", since), field("until", until)),
    );
    if (held) this.#heads.querySelector(held)?.focus();
  }

  #showFiles() {
    const { by, since, until } = this.#asked;
    const query = this.#query();
    const csv = `/admin/stats${queryOf({ ...query, format: "csv" })}`;
    const name = `maru-${by}-${since}-${until}`;
    const json = async () => {
      try {
        saveFile(`${name}.json`, "application/json", JSON.stringify(await allOf(query), null, 2));
      } catch (error) {
        toast(words.error(error));
      }
    };
    this.#files.replaceChildren(
      make(
        "a",
        {
          class: "button button--small",
          href: csv,
          download: `${name}.csv`,
          "aria-label": say("stats.file", { format: "CSV" }),
        },
        smallIcon("download"),
        "CSV",
      ),
      button("JSON", json, { sign: "download", small: true, "aria-label": say("stats.file", { format: "JSON" }) }),
    );
  }

  // -- the table

  #columns() {
    const { by } = this.#asked;
    const number = (key, of, sort = true) => ({
      key,
      label: say(`stats.${key}`),
      kind: "end",
      sort,
      cell: (item) => words.number(of(item)),
    });
    return [
      {
        key: "name",
        label: say(`stats.${by}`),
        sort: true,
        kind: by === "user" || by === "room" ? "" : "fixed",
        cell: (item) => nameOf(by, item),
      },
      number("messages", (item) => item.messages),
      number("answers", (item) => item.answers),
      number("failed", (item) => item.failed),
      number("read", (item) => item.inputTokens, false),
      number("written", (item) => item.outputTokens, false),
      number("tokens", tokens),
      {
        key: "cost",
        label: say("stats.costIn", { currency: this.#house.currency }),
        kind: "end",
        sort: true,
        cell: (item) => this.#money(item.cost),
      },
      { key: "share", label: say("stats.share"), kind: "fixed", cell: (item) => this.#share(item) },
    ];
  }

  #money(cost) {
    return money(cost, this.#house.currency, this.#whole.cost < 10 ? 4 : 2);
  }

  /** Of all that is in the column by which it is sorted; of tokens when that is names. */
  #share(item) {
    const of = {
      messages: (one) => one.messages,
      answers: (one) => one.answers,
      failed: (one) => one.failed,
      cost: (one) => one.cost,
    };
    const value = of[this.#asked.sort] ?? tokens;
    const whole = Math.max(value(this.#whole), value(item)); // what is deleted counts for a day, and may for nobody
    const part = whole ? value(item) / whole : 0;
    return make(
      "span",
      { class: "bar-with" },
      barOf(part, ""),
      make("span", { class: "num" }, share(value(item), whole)),
    );
  }

  #showSums(foot) {
    const sums = this.#whole;
    const cells = [sums.messages, sums.answers, sums.failed, sums.inputTokens, sums.outputTokens, tokens(sums)].map(
      words.number.bind(words),
    );
    foot.replaceChildren(
      make(
        "tr",
        {},
        make("th", { scope: "row" }, say("stats.all")),
        ...[...cells, this.#money(sums.cost)].map((text) => make("td", { class: "end" }, text)),
        make("td"),
      ),
    );
  }
}

function nameOf(by, { key, name }) {
  if (by === "user") return who(key, name, { href: name ? `#people/${key}` : null });
  if (by === "room") return make("a", { href: `#rooms/${key}` }, name || say("room.unnamed"));
  return by === "model" ? make("code", {}, key) : key;
}

function sumsOf(lines) {
  const sums = { messages: 0, answers: 0, failed: 0, inputTokens: 0, outputTokens: 0, cost: 0 };
  for (const line of lines) for (const name of Object.keys(sums)) sums[name] += line[name] ?? 0;
  return sums;
}

async function allOf(query) {
  const items = [];
  for (let cursor = ""; ;) {
    const page = await api.get(`/admin/stats${queryOf({ ...query, limit: 200, cursor })}`);
    items.push(...page.items);
    if (!page.next) return items;
    cursor = page.next;
  }
}

/** How to find a field again that is made anew. */
function focusOf({ name, value, type }) {
  return type === "radio" ? `[name="${name}"][value="${CSS.escape(value)}"]` : `[name="${name}"]`;
}
