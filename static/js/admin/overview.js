// How the house does: figures in a row, charts of the span, who uses the most, the latest errors. Asks anew every ten
// seconds while somebody looks.

import { api } from "../api.js";
import { make, smallIcon } from "../dom.js";
import { choice, saidLine, trying } from "../fields.js";
import { bucketNames, compact, dayBefore, money, noonOf, seconds, share, short } from "../figures.js";
import { barOf } from "../gauge.js";
import { say, words } from "../i18n.js";
import { Chart } from "./chart.js";
import { took } from "./house.js";
import { heading } from "./parts.js";
import { queryOf } from "./route.js";
import { Rows, who } from "./rows.js";

const SPANS = { "24h": 0, "14d": 13, "90d": 89 }; // days before today
const EVERY_MS = 10_000;
const MOST = 8;

export async function show(route, go) {
  const view = new Overview(spanOf(route), go);
  await view.refresh({ loud: true });
  return view;
}

function spanOf({ rest: [span] }) {
  return span in SPANS ? span : "14d";
}

class Overview {
  #span;
  #said = saidLine();
  #facts = make("dl", { class: "facts" });
  #warning = make("p", { class: "hall__warning", hidden: true });
  #currency = "USD";
  #charts = chartsOf(() => this.#currency);
  #users;
  #errors = make("ul", { class: "faults" });
  #timer = setInterval(() => document.visibilityState === "visible" && this.refresh(), EVERY_MS);
  #seen = () => document.visibilityState === "visible" && this.refresh();
  #all = 0; // tokens of the span

  constructor(span, go) {
    this.#span = span;
    document.addEventListener("visibilitychange", this.#seen);
    const spans = Object.keys(SPANS).map((one) => [one, say(`overview.${one}`)]);
    const chosen = (one) => go("overview", [one], {}, { quiet: true });
    this.#users = topUsers((tokens) => [tokens, this.#all]);
    const { messages, first, tokens, cost, errors } = this.#charts;
    this.node = [
      heading(say("admin.overview"), choice("span", say("overview.span"), spans, span, chosen)),
      this.#said.node,
      this.#facts,
      this.#warning,
      make("div", { class: "charts" }, messages.node, first.node, tokens.node, cost.node),
      make(
        "div",
        { class: "blocks" },
        titled(say("overview.most"), "#usage/user", say("overview.allUsage"), this.#users.node),
        make(
          "div",
          { class: "block" },
          errors.node,
          titled(say("overview.errors"), "#errors", say("overview.allErrors"), this.#errors),
        ),
      ),
    ];
  }

  moved(route) {
    this.#span = spanOf(route);
    this.refresh();
  }

  stop() {
    clearInterval(this.#timer);
    document.removeEventListener("visibilitychange", this.#seen);
    for (const chart of Object.values(this.#charts)) chart.stop();
  }

  /** loud: what goes wrong is for the caller; else it is told here, and the figures stay. */
  async refresh({ loud = false } = {}) {
    const work = async () => {
      const span = this.#span;
      const overview = await api.get(`/admin/overview?span=${span}`);
      const { timeZone } = overview;
      const since = noonOf(dayBefore(SPANS[span], new Date(), timeZone), timeZone);
      const [users, errors] = await Promise.all([
        api.get(`/admin/stats${queryOf({ by: "user", since, sort: "tokens", order: "desc", limit: MOST })}`),
        api.get("/admin/errors"),
      ]);
      if (span === this.#span) this.#show(took(overview), users.items.slice(0, MOST), errors.items.slice(0, 3));
    };
    if (loud) await work();
    else await trying(this.#said, work);
  }

  #show(overview, users, errors) {
    this.#currency = overview.currency;
    this.#facts.replaceChildren(...factsOf(overview, say(`overview.in.${this.#span}`)));
    this.#warning.hidden = !overview.unpriced.length;
    const unpriced = say("overview.unpriced", { models: words.list(overview.unpriced) });
    this.#warning.replaceChildren(smallIcon("warning"), make("span", {}, unpriced));
    const isHours = this.#span === "24h";
    const names = overview.buckets.map(({ at }) => bucketNames(new Date(at), isHours, overview.timeZone));
    for (const [name, chart] of Object.entries(this.#charts)) {
      chart.show(say(`chart.${name}${isHours ? ".hour" : ""}`), overview.buckets, names);
    }
    this.#all = overview.total.inputTokens + overview.total.outputTokens;
    this.#users.show(users);
    this.#errors.replaceChildren(...(errors.length ? errors.map(faultLine) : [make("li", {}, say("errors.none"))]));
  }
}

function titled(title, href, text, ...inside) {
  return make("section", { class: "block" }, make("h2", {}, title, make("a", { href }, text)), ...inside);
}

function chartsOf(currency) {
  const count = { tell: (value) => words.number(value), axis: short };
  const toSeconds = (value) => say("figures.seconds", { n: seconds(value) });
  const line = (name, ink, of) => ({ name, ink, of });
  return {
    messages: new Chart({
      ...count,
      series: [
        line(say("chart.people"), "people", ({ messages }) => messages),
        line(say("chart.bot"), "bot", ({ answers }) => answers),
      ],
    }),
    first: new Chart({
      kind: "lines",
      isWhole: false,
      tell: toSeconds,
      axis: (value) => say("figures.seconds", { n: String(Number((value / 1000).toFixed(2))) }),
      series: [
        line("p95", "bot", ({ firstTokenP95Ms }) => firstTokenP95Ms),
        line("p50", "text", ({ firstTokenP50Ms }) => firstTokenP50Ms),
      ],
    }),
    tokens: new Chart({
      ...count,
      series: [
        line(say("usage.read"), "people", ({ inputTokens }) => inputTokens),
        line(say("usage.written"), "bot", ({ outputTokens }) => outputTokens),
      ],
    }),
    cost: new Chart({
      isWhole: false,
      tell: (value) => money(value, currency()),
      axis: (value, highest) => money(value, currency(), highest < 0.1 ? 4 : 2),
      series: [line(say("stats.cost"), "bot", ({ cost }) => cost)],
    }),
    errors: new Chart({
      ...count,
      series: [
        line(say("chart.failed"), "fault", ({ failed }) => failed),
        line(say("chart.faults"), "people", ({ errors }) => errors),
      ],
    }),
  };
}

function factsOf({ now, today, month, total, currency }, span) {
  const [tokens, unit] = compact(month.inputTokens + month.outputTokens);
  const { firstTokenP95Ms: p95, firstTokenP50Ms: p50 } = today;
  const failed = make("span", { class: today.failed ? "state--fault" : "" }, say("facts.failed", { n: today.failed }));
  const running = now.streaming + now.queued;
  return [
    fact(
      "here",
      [words.number(now.people)],
      say("facts.connections", { n: now.connections }),
      say("facts.pods", { n: now.pods }),
    ),
    fact("messages", [words.number(today.messages)], say("facts.inSpan", { n: total.messages, span })),
    fact(
      "answers",
      [words.number(today.answers)],
      failed,
      say("facts.stopped", { n: today.stopped }),
      running && say("facts.running", { n: running }),
    ),
    fact(
      "first",
      p95 === undefined ? ["–"] : [seconds(p95), unitOf(say("figures.s"))],
      p50 !== undefined && say("facts.p50", { s: say("figures.seconds", { n: seconds(p50) }) }),
    ),
    fact(
      "tokens",
      [tokens, unit && unitOf(unit)],
      say("facts.read", { n: short(month.inputTokens) }),
      say("facts.written", { n: short(month.outputTokens) }),
    ),
    fact("cost", [money(month.cost, currency)], say("facts.costToday", { cost: money(today.cost, currency) })),
    fact("errors", [words.number(today.errors)], say("facts.inSpan", { n: total.errors, span })),
  ];
}

const unitOf = (text) => make("small", {}, text);

/** notes: of them those that are there, one behind the other. */
function fact(name, value, ...notes) {
  const known = notes.filter(Boolean);
  const said = known.flatMap((note, at) => [make("span", { class: "fixed" }, note, at < known.length - 1 && ","), " "]);
  return make(
    "div",
    { class: "fact" },
    make("dt", {}, say(`facts.${name}`)),
    make("dd", {}, ...value.filter(Boolean)),
    make("dd", {}, ...said),
  );
}

/** of(tokens): [part, whole] */
function topUsers(of) {
  const tokens = ({ inputTokens, outputTokens }) => inputTokens + outputTokens;
  const name = (item) => who(item.key, item.name, { href: item.name ? `#people/${item.key}` : null });
  const bar = (item) => {
    const [part, whole] = of(tokens(item));
    const text = share(part, whole);
    return make(
      "span",
      { class: "bar-with" },
      barOf(whole ? part / whole : 0, ""),
      make("span", { class: "num" }, text),
    );
  };
  return new Rows({
    label: say("overview.most"),
    long: true,
    none: say("overview.nobody"),
    columns: [
      { key: "name", label: say("stats.user"), cell: name },
      { key: "messages", label: say("stats.messages"), kind: "end", cell: (item) => words.number(item.messages) },
      { key: "tokens", label: say("stats.tokens"), kind: "end", cell: (item) => words.number(tokens(item)) },
      { key: "share", label: say("stats.share"), cell: bar },
    ],
  });
}

function faultLine({ kind, lastAt, example, count }) {
  const at = new Date(lastAt);
  return make(
    "li",
    {},
    smallIcon("warning"),
    make("code", {}, kind),
    make("time", { datetime: lastAt }, words.when(at, new Date())),
    make("p", {}, say("errors.times", { n: count }), " ", example),
  );
}
