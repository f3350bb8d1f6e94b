// A chart of buckets: boards laid on each other, or lines; for who does not see it a sentence, and a table beneath.

import UPlot from "../../vendor/uplot/uPlot.esm.js";
import { make, smallIcon } from "../dom.js";
import { say } from "../i18n.js";
import { Rows } from "./rows.js";
import { linesOver, namesTold, stacked } from "./scale.js";

const HEIGHT = 200;
const DENSE = 40; // more boards than that stand too close for seams
const NAME_PX = 58; // what a name below needs
const INKS = ["people", "bot", "text", "fault", "seam", "faint", "surface", "edge"];

export class Chart {
  #title;
  #series;
  #tell;
  #axis;
  #isWhole;
  #isBars;
  #plot = null;
  #count = 0; // of the buckets that the plot was made for
  #names = [];
  #values = []; // of each series, as they are told
  #colours = {};
  #probes = Object.fromEntries(INKS.map((ink) => [ink, make("i", { class: `chart__probe ink-${ink}`, hidden: true })]));
  #tip = make("div", { class: "chart__tip", hidden: true, "aria-hidden": "true" });
  #stage = make("div", { class: "chart__stage", role: "img" });
  #caption = make("span");
  #table;
  #details;
  #watch;
  #themes;
  #dark = matchMedia("(prefers-color-scheme: dark)");
  #recolour = () => {
    this.#readColours();
    this.#plot?.redraw();
  };

  /** series: [{name, ink, of(bucket) -> number or null}], the lowest board first. tell(value): as text, for tip and
   * table; axis(value, highest): shorter, beside the lines. kind: "bars" or "lines". isWhole: what is counted has no halves. */
  constructor({ series, tell, axis = tell, kind = "bars", isWhole = true }) {
    [this.#series, this.#tell, this.#axis, this.#isWhole, this.#isBars] = [
      series,
      tell,
      axis,
      isWhole,
      kind === "bars",
    ];
    const legend = [...series].map(({ name, ink }) =>
      make("span", { class: `ink-${ink}` }, make("i", { "aria-hidden": "true" }), name),
    );
    this.#details = make(
      "details",
      { class: "chart__table", ontoggle: () => this.#fillTable() },
      make("summary", {}, smallIcon("right"), say("chart.table")),
    );
    this.node = make(
      "figure",
      { class: "chart" },
      make("figcaption", {}, this.#caption, series.length > 1 && make("span", { class: "legend" }, ...legend)),
      this.#stage,
      this.#details,
    );
    this.#stage.append(...Object.values(this.#probes), this.#tip);
    this.#watch = new ResizeObserver(() => this.#fit());
    this.#watch.observe(this.#stage);
    this.#themes = new MutationObserver(() => this.#recolour());
    this.#themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.#dark.addEventListener("change", this.#recolour);
  }

  stop() {
    this.#watch.disconnect();
    this.#themes.disconnect();
    this.#dark.removeEventListener("change", this.#recolour);
    this.#plot?.destroy();
  }

  /** names: of the buckets, {axis, whole}. */
  show(title, buckets, names) {
    this.#title = title;
    this.#caption.textContent = title;
    this.#names = names;
    this.#values = this.#series.map(({ of }) => buckets.map((bucket) => of(bucket) ?? null));
    const whole = names.map((name) => name.whole);
    const sums = this.#isBars
      ? buckets.map((_, at) => this.#values.reduce((sum, row) => sum + (row[at] ?? 0), 0))
      : null;
    const told = sums
      ? [sentence(title, whole, sums, this.#tell)]
      : this.#series.map(({ name }, at) => sentence(`${title}, ${name}`, whole, this.#values[at], this.#tell));
    this.#stage.setAttribute("aria-label", told.join(" "));
    this.#draw(buckets.length);
    this.#fillTable();
  }

  // -- drawing

  /** What is drawn first lies behind: the highest reach of the boards. */
  #data() {
    const rows = this.#isBars ? stacked(this.#values).reverse() : this.#values;
    return [this.#names.map((_, at) => at), ...rows];
  }

  /** Of another count of buckets it is made anew: boards that are many have no seams between them. */
  #draw(count) {
    if (this.#plot && this.#count === count) this.#plot.setData(this.#data());
    else {
      this.#plot?.destroy();
      this.#plot = null;
      this.#count = count;
      this.#fit();
    }
  }

  #fit() {
    const width = Math.floor(this.#stage.clientWidth);
    if (!width) return;
    if (this.#plot) this.#plot.setSize({ width, height: HEIGHT });
    else if (this.#names.length) {
      this.#readColours();
      this.#plot = new UPlot(this.#options(width), this.#data(), this.#stage);
    }
  }

  #readColours() {
    for (const [ink, probe] of Object.entries(this.#probes)) this.#colours[ink] = getComputedStyle(probe).color;
  }

  #options(width) {
    const colour = (ink) => () => this.#colours[ink];
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const drawn = this.#isBars ? [...this.#series].reverse() : this.#series;
    const isDense = this.#names.length > DENSE;
    const bars = this.#isBars && {
      paths: UPlot.paths.bars({ size: [isDense ? 0.75 : 0.6, 36] }),
      width: isDense ? 0 : 2,
    };
    return {
      width,
      height: HEIGHT,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false, setScale: false }, points: { show: false } },
      hooks: { setCursor: [(plot) => this.#point(plot)] },
      scales: {
        x: { time: false, range: () => [-0.5, Math.max(0, this.#names.length - 1) + 0.5] },
        y: { range: (_, __, most) => [0, linesOver(most ?? 0, this.#isWhole).at(-1)] },
      },
      series: [
        {},
        ...drawn.map(({ ink }) =>
          bars
            ? { ...bars, fill: colour(ink), stroke: colour("surface"), points: { show: false } }
            : { stroke: colour(ink), width: 2, points: { show: this.#names.length < 2, size: 7 }, spanGaps: true },
        ),
      ],
      axes: [
        {
          stroke: colour("faint"),
          font,
          size: 24,
          gap: 6,
          grid: { show: false },
          ticks: { show: false },
          splits: (plot) => namesTold(this.#names.length, plot.width / NAME_PX),
          values: (_, places) => briefly(places.map((at) => this.#names[at])),
        },
        {
          stroke: colour("faint"),
          font,
          size: 46,
          gap: 8,
          grid: { stroke: colour("seam"), width: 1 },
          ticks: { show: false },
          splits: (plot, _, __, most) => linesOver(most * 0.999, this.#isWhole),
          values: (_, lines) => lines.map((line) => this.#axis(line, lines.at(-1))),
        },
      ],
    };
  }

  #point(plot) {
    const { idx, left } = plot.cursor;
    const here = left >= 0 && idx !== null && idx !== undefined && this.#names[idx];
    this.#tip.hidden = !here;
    if (!here) return;
    const lines = this.#series.map(({ name }, at) => {
      const value = this.#values[at][idx];
      return `${name}  ${value === null ? "–" : this.#tell(value)}`;
    });
    this.#tip.textContent = [here.whole, ...lines].join("\n");
    const x = plot.over.offsetLeft + left;
    const past = x + 12 + this.#tip.offsetWidth > this.#stage.clientWidth;
    this.#tip.style.translate = `${Math.max(0, past ? x - 12 - this.#tip.offsetWidth : x + 12)}px 8px`;
  }

  // -- the table

  #fillTable() {
    if (!this.#details.open) return;
    if (!this.#table) {
      const columns = this.#series.map(({ name }, at) => ({
        key: name,
        label: name,
        kind: "end",
        cell: (row) => (this.#values[at][row] === null ? "–" : this.#tell(this.#values[at][row])),
      }));
      const first = { key: "at", label: say("chart.when"), kind: "fixed", cell: (row) => this.#names[row].whole };
      this.#table = new Rows({ label: this.#title, columns: [first, ...columns] });
      this.#details.append(this.#table.node);
    }
    this.#table.show(this.#names.map((_, at) => this.#names.length - 1 - at));
  }
}

/** A month is told once. */
function briefly(names) {
  return names.map((name, at) => (at && name.over === names[at - 1].over ? name.brief : name.axis));
}

/** What a chart says to who does not see it: from when to when, the least, the most, the last. */
function sentence(title, names, values, tell) {
  const known = values.map((value, at) => [value, at]).filter(([value]) => value !== null);
  if (!known.length) return say("chart.nothing", { title });
  const least = known.reduce((a, b) => (b[0] < a[0] ? b : a));
  const most = known.reduce((a, b) => (b[0] > a[0] ? b : a));
  return say("chart.sentence", {
    title,
    first: names[0],
    last: names.at(-1),
    least: tell(least[0]),
    most: tell(most[0]),
    when: names[most[1]],
    now: tell(known.at(-1)[0]),
  });
}
