// A chart of buckets. Final is solid, provisional is hatched, what still fills is dotted and outlined: never by colour alone.
// It is one thing to the keyboard: arrows choose a bucket, Enter asks where its number comes from.

import uPlot from "/static/uplot/uPlot.esm.js";

import { el, setAttribute } from "./dom.js";
import { number, short } from "./numbers.js";
import { preferences } from "./preferences.js";
import { SURE, columns } from "./series.js";
import { Unusual, bandText } from "./unusual.js";
import * as times from "./times.js";

/** @typedef {ReturnType<import("./series.js").Buckets["upto"]>} Slots */
/** @typedef {import("./series.js").Bucket["sure"]} Sure */

const KINDS = /** @type {const} */ (["final", "provisional", "open"]);
const HEIGHT = 280;
/** Pixels of a bar. */
const NARROW = 8;

export class Chart {
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {Slots} */
  #slots = [];
  #measure = { name: "count", label: "events" };
  #unusual = new Unusual();
  /** @type {number | null} the chosen bucket's start, while it is the reader who chose it */
  #chosen = null;
  /** @type {Map<string, CanvasPattern | string>} */
  #fills = new Map();
  #gone = new AbortController();

  /**
   * @param {HTMLElement} root
   * @param {{ pick: (slot: Slots[number]) => void, look: (slot: Slots[number] | null) => void }} on
   */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    root.replaceChildren((this.place = el("div", { class: "plot" })));
    const { signal } = this.#gone;
    root.addEventListener("keydown", (event) => this.#key(event), { signal });
    root.addEventListener("focus", () => this.#choose(this.#chosenIndex()), { signal });
    root.addEventListener("blur", () => this.#choose(null), { signal });
    const resized = new ResizeObserver(() => this.#plot?.setSize(this.#size()));
    resized.observe(this.place);
    signal.addEventListener("abort", () => resized.disconnect());
  }

  /** Another chart takes its place. */
  remove() {
    this.#gone.abort();
    this.#plot?.destroy();
  }

  /** @param {Slots} slots @param {{ name: string, label: string }} measure @param {Unusual} unusual */
  show(slots, measure, unusual) {
    this.#slots = slots;
    this.#measure = measure;
    this.#unusual = unusual;
    const data = columns(slots, measure.name);
    if (this.#plot) this.#plot.setData(/** @type {any} */ (data));
    else if (slots.length) this.#plot = new uPlot(this.#options(), /** @type {any} */ (data), this.place);
    this.#describe();
    if (this.#plot) this.#look(this.#plot);
  }

  /** The bucket under the pointer, else the chosen one. @param {uPlot} plot */
  #look(plot) {
    const hovered = (plot.cursor.left ?? -1) >= 0 ? this.#slots[plot.cursor.idx ?? -1] : undefined;
    this.on.look(hovered ?? this.#slots[this.#chosenIndex()] ?? null);
  }

  /** Other colours, or another zone. */
  redraw() {
    this.#fills.clear();
    this.#plot?.redraw(false, true);
    this.#describe();
  }

  #size() {
    return { width: Math.max(200, this.place.clientWidth), height: HEIGHT };
  }

  /** @param {string} name */
  #colour(name) {
    return getComputedStyle(this.root).getPropertyValue(name).trim();
  }

  /** @param {Sure} sure */
  #fill(sure) {
    let fill = this.#fills.get(sure);
    if (!fill) {
      fill = sure === "final" ? this.#colour("--water") : this.#pattern(sure);
      this.#fills.set(sure, fill);
    }
    return fill;
  }

  /** @param {Sure} sure */
  #pattern(sure) {
    const scale = devicePixelRatio;
    const side = 6 * scale;
    const tile = el("canvas", { width: side, height: side });
    const ctx = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    ctx.fillStyle = this.#colour("--water-shallow");
    ctx.fillRect(0, 0, side, side);
    ctx.strokeStyle = ctx.fillStyle = this.#colour("--water");
    if (sure === "provisional") {
      ctx.lineWidth = 1.4 * scale;
      ctx.beginPath();
      for (const shift of [-side, 0, side]) {
        ctx.moveTo(shift - 1, side + 1);
        ctx.lineTo(shift + side + 1, -1);
      }
      ctx.stroke();
    } else {
      ctx.fillRect(side / 2 - scale / 2, side / 2 - scale / 2, scale, scale);
    }
    return ctx.createPattern(tile, "repeat") ?? this.#colour("--water-shallow");
  }

  /** @returns {uPlot.Options} */
  #options() {
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: () => this.#colour("--ink-soft"), font, ticks: { show: false } };
    const grid = { stroke: () => this.#colour("--rule"), width: 1 };
    const makeBars = /** @type {NonNullable<typeof uPlot.paths.bars>} */ (uPlot.paths.bars);
    const [apart, joined] = [1, 0].map((gap) => makeBars({ size: [1, Infinity], align: 1, gap }));
    return {
      ...this.#size(),
      legend: { show: false },
      padding: [12, 20, 0, 0],
      tzDate: (t) => (preferences.zone === "utc" ? uPlot.tzDate(new Date(t * 1000), "Etc/UTC") : new Date(t * 1000)),
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: false, y: false },
        dataIdx: (_plot, _series, _closest, x) => this.#indexAt(x),
      },
      scales: {
        x: { time: true, range: () => [this.#slots[0]?.start ?? 0, this.#slots.at(-1)?.end ?? 1] },
        y: { range: (_plot, _low, high) => [0, this.#top(high) * 1.12 || 1] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 64, values: (_plot, splits) => splits.map((s) => this.#tick(s)) },
        { ...axis, grid, size: 52, space: 48, values: (_plot, splits) => splits.map((s) => short(s)) },
      ],
      series: [
        {},
        ...KINDS.map((sure) => /** @type {uPlot.Series} */ ({
          paths: (plot, ...more) => /** @type {any} */ (this.#narrow(plot) ? joined : apart)(plot, ...more),
          fill: () => /** @type {string} */ (this.#fill(sure)),
          stroke: (plot) => (sure === "final" || this.#narrow(plot) ? "transparent" : this.#colour("--water")),
          width: 1,
          dash: sure === "open" ? [2, 2] : [],
          points: { show: false },
        })),
      ],
      hooks: {
        ready: [(plot) => plot.over.addEventListener("click", (event) => this.#click(plot, event))],
        setCursor: [(plot) => this.#look(plot)],
        drawAxes: [(plot) => this.#band(plot)],
        draw: [(plot) => this.#mark(plot), (plot) => this.#outline(plot)],
      },
    };
  }

  /** Bars too thin for an outline or a gap: the hatching needs the room. @param {uPlot} plot */
  #narrow(plot) {
    return plot.over.clientWidth / Math.max(1, this.#slots.length) < NARROW;
  }

  /** @param {uPlot} plot @param {MouseEvent} event */
  #click(plot, event) {
    const slot = this.#slots[this.#indexAt(plot.posToVal(event.offsetX, "x"))];
    if (slot) this.on.pick(slot);
  }

  /** @param {number} seconds */
  #tick(seconds) {
    const at = seconds * 1000;
    const text = times.minute(at, preferences.zone);
    return text === "00:00" ? times.day(at, preferences.zone) : text;
  }

  /** @param {number} x */
  #indexAt(x) {
    const slots = this.#slots;
    const first = slots[0];
    if (!first) return 0;
    return Math.min(slots.length - 1, Math.max(0, Math.floor((x - first.start) / (first.end - first.start))));
  }

  #chosenIndex() {
    const at = this.#slots.findIndex((s) => s.start === this.#chosen);
    if (at >= 0) return at;
    const newest = this.#slots.findLastIndex((s) => s.bucket && s.bucket.sure !== "open");
    return newest >= 0 ? newest : this.#slots.length - 1;
  }

  /** @param {number | null} index */
  #choose(index) {
    this.#chosen = index === null ? null : (this.#slots[index]?.start ?? null);
    this.#plot?.redraw(false, false);
    this.#describe();
    this.on.look(this.#slots[this.#chosenIndex()] ?? null);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const index = this.#chosenIndex();
    const last = this.#slots.length - 1;
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, ArrowDown: index - 1, ArrowUp: index + 1, Home: 0, End: last, PageUp: index + 10, PageDown: index - 10 }[event.key];
    if (to !== undefined) this.#choose(Math.min(last, Math.max(0, to)));
    else if (event.key === "Enter" || event.key === " ") {
      const slot = this.#slots[index];
      if (slot) this.on.pick(slot);
    } else return;
    event.preventDefault();
  }

  /** What a screen reader says of the chosen bucket. */
  #describe() {
    const index = this.#chosenIndex();
    const slot = this.#slots[index];
    setAttribute(this.root, "aria-valuemin", "0");
    setAttribute(this.root, "aria-valuemax", String(Math.max(0, this.#slots.length - 1)));
    setAttribute(this.root, "aria-valuenow", String(Math.max(0, index)));
    setAttribute(this.root, "aria-valuetext", slot ? this.text(slot) : "No events yet");
  }

  /** @param {Slots[number]} slot */
  text(slot) {
    const when = times.span(slot.start * 1000, slot.end * 1000, preferences.zone);
    const band = this.#bandOf(slot);
    const beside = `${band ? `, expected ${bandText(band)}` : ""}${this.#isMarked(slot) ? ", not as expected" : ""}`;
    if (!slot.bucket) return `${when}: no events${beside}`;
    return `${when}: ${number(slot.bucket.row[this.#measure.name])} ${this.#measure.label}, ${SURE[slot.bucket.sure].label.toLowerCase()}${beside}`;
  }

  /** @param {Slots[number]} slot */
  #bandOf(slot) {
    return this.#measure.name === "count" && slot.end - slot.start === 60 ? this.#unusual.band(slot.start) : null;
  }

  /** @param {Slots[number]} slot */
  #isMarked(slot) {
    return this.#unusual.marks(this.#measure.name, slot.start, slot.end);
  }

  /** The band is to be seen, but of few events chance would have many: it shall not make the bars small. @param {number} high */
  #top(high) {
    const band = Math.max(0, ...this.#slots.map((s) => this.#bandOf(s)?.high ?? 0));
    return high ? Math.max(high, Math.min(band, 2 * high)) : band;
  }

  /** What is expected, behind the bars. @param {uPlot} plot */
  #band(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = this.#colour("--rule");
    ctx.strokeStyle = this.#colour("--edge");
    ctx.lineWidth = devicePixelRatio;
    for (const slot of this.#slots) {
      const band = this.#bandOf(slot);
      if (!band) continue;
      const left = plot.valToPos(slot.start, "x", true);
      const right = plot.valToPos(slot.end, "x", true);
      const top = plot.valToPos(band.high, "y", true);
      const bottom = plot.valToPos(band.low, "y", true);
      ctx.fillRect(left, top, right - left, bottom - top);
      ctx.beginPath();
      for (const edge of [top, bottom]) {
        ctx.moveTo(left, edge);
        ctx.lineTo(right, edge);
      }
      ctx.stroke();
    }
    ctx.restore();
  }

  /** A triangle above what is not as expected: a shape, not a colour alone. @param {uPlot} plot */
  #mark(plot) {
    const { ctx, bbox } = plot;
    const side = 5 * devicePixelRatio;
    ctx.save();
    ctx.fillStyle = this.#colour("--bad");
    for (const slot of this.#slots) {
      if (!this.#isMarked(slot)) continue;
      const middle = plot.valToPos((slot.start + slot.end) / 2, "x", true);
      ctx.beginPath();
      ctx.moveTo(middle - side, bbox.top);
      ctx.lineTo(middle + side, bbox.top);
      ctx.lineTo(middle, bbox.top + 1.6 * side);
      ctx.fill();
    }
    ctx.restore();
  }

  /** @param {uPlot} plot */
  #outline(plot) {
    const slot = this.#chosen === null ? null : this.#slots[this.#chosenIndex()];
    if (!slot) return;
    const { ctx, bbox } = plot;
    const left = plot.valToPos(slot.start, "x", true);
    const right = plot.valToPos(slot.end, "x", true);
    ctx.save();
    ctx.strokeStyle = this.#colour("--focus");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.strokeRect(left, bbox.top, right - left, bbox.height);
    ctx.restore();
  }
}
