// A chart over slots of time, whatever is drawn in them: the axes, the pointer, and one stop for the keyboard, where arrows
// choose a slot and Enter asks where its number comes from.

import uPlot from "/static/uplot/uPlot.esm.js";

import { el, setAttribute } from "./dom.js";
import { short } from "./numbers.js";
import { preferences } from "./preferences.js";
import * as times from "./times.js";

/** @typedef {{ start: number, end: number }} Slot seconds since 1970 */
/** @typedef {import("./series.js").Bucket["sure"]} Sure */
/**
 * @template {Slot} T
 * @typedef {object} Drawing what stands in the slots
 * @property {(slots: T[]) => (number | null)[][]} columns
 * @property {() => uPlot.Series[]} series
 * @property {(low: number, high: number) => [number, number]} range of the vertical axis
 * @property {(plot: uPlot) => void} behind
 * @property {(plot: uPlot) => void} front
 * @property {(slot: T) => string} text
 * @property {(slot: T) => boolean} isComplete the newest such slot is the one chosen first
 */

const HEIGHT = 280;
/** Pixels of a bar. */
const NARROW = 8;

/** @template {Slot} T */
export class SlotChart {
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {T[]} */
  slots = [];
  /** @type {number | null} the chosen slot's start, while it is the reader who chose it */
  #chosen = null;
  /** @type {Map<string, CanvasPattern | string>} */
  #fills = new Map();
  #gone = new AbortController();

  /**
   * @param {HTMLElement} root
   * @param {{ pick: (slot: T) => void, look: (slot: T | null) => void }} on
   * @param {Drawing<T>} drawing
   */
  constructor(root, on, drawing) {
    this.root = root;
    this.on = on;
    this.drawing = drawing;
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

  /** @param {T[]} slots */
  show(slots) {
    this.slots = slots;
    const data = /** @type {any} */ ([slots.map((s) => s.start), ...this.drawing.columns(slots)]);
    if (this.#plot) this.#plot.setData(data);
    else if (slots.length) this.#plot = new uPlot(this.#options(), data, this.place);
    this.#describe();
    if (this.#plot) this.#look(this.#plot);
  }

  /** Other colours, or another zone. */
  redraw() {
    this.#fills.clear();
    this.#plot?.redraw(false, true);
    this.#describe();
  }

  /** @param {string} name */
  colour(name) {
    return getComputedStyle(this.root).getPropertyValue(name).trim();
  }

  /** Final is solid, provisional is hatched, what still fills is dotted: never by colour alone.
   * @param {Sure} sure @param {string} [ink] @param {string} [ground] names of colours */
  fill(sure, ink = "--water", ground = "--water-shallow") {
    const key = `${sure} ${ink}`;
    let fill = this.#fills.get(key);
    if (!fill) {
      fill = sure === "final" ? this.colour(ink) : this.#pattern(sure, this.colour(ink), this.colour(ground));
      this.#fills.set(key, fill);
    }
    return fill;
  }

  /** Bars too thin for an outline or a gap: the hatching needs the room. @param {uPlot} plot */
  isNarrow(plot) {
    return plot.over.clientWidth / Math.max(1, this.slots.length) < NARROW;
  }

  #size() {
    return { width: Math.max(200, this.place.clientWidth), height: HEIGHT };
  }

  /** @param {Sure} sure @param {string} ink @param {string} ground */
  #pattern(sure, ink, ground) {
    const scale = devicePixelRatio;
    const side = 6 * scale;
    const tile = el("canvas", { width: side, height: side });
    const ctx = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    ctx.fillStyle = ground;
    ctx.fillRect(0, 0, side, side);
    ctx.strokeStyle = ctx.fillStyle = ink;
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
    return ctx.createPattern(tile, "repeat") ?? ground;
  }

  /** @returns {uPlot.Options} */
  #options() {
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: () => this.colour("--ink-soft"), font, ticks: { show: false } };
    const grid = { stroke: () => this.colour("--rule"), width: 1 };
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
        x: { time: true, range: () => [this.slots[0]?.start ?? 0, this.slots.at(-1)?.end ?? 1] },
        y: { range: (_plot, low, high) => this.drawing.range(low, high) },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 64, values: (_plot, splits) => splits.map((s) => this.#tick(s)) },
        { ...axis, grid, size: 52, space: 48, values: (_plot, splits) => splits.map((s) => short(s)) },
      ],
      series: [{}, ...this.drawing.series()],
      hooks: {
        ready: [(plot) => plot.over.addEventListener("click", (event) => this.#click(plot, event))],
        setCursor: [(plot) => this.#look(plot)],
        drawAxes: [(plot) => this.drawing.behind(plot)],
        draw: [(plot) => this.drawing.front(plot), (plot) => this.#outline(plot)],
      },
    };
  }

  /** The slot under the pointer, else the chosen one. @param {uPlot} plot */
  #look(plot) {
    const hovered = (plot.cursor.left ?? -1) >= 0 ? this.slots[plot.cursor.idx ?? -1] : undefined;
    this.on.look(hovered ?? this.slots[this.#chosenIndex()] ?? null);
  }

  /** @param {uPlot} plot @param {MouseEvent} event */
  #click(plot, event) {
    const slot = this.slots[this.#indexAt(plot.posToVal(event.offsetX, "x"))];
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
    const first = this.slots[0];
    if (!first) return 0;
    return Math.min(this.slots.length - 1, Math.max(0, Math.floor((x - first.start) / (first.end - first.start))));
  }

  #chosenIndex() {
    const at = this.slots.findIndex((s) => s.start === this.#chosen);
    if (at >= 0) return at;
    const newest = this.slots.findLastIndex((s) => this.drawing.isComplete(s));
    return newest >= 0 ? newest : this.slots.length - 1;
  }

  /** @param {number | null} index */
  #choose(index) {
    this.#chosen = index === null ? null : (this.slots[index]?.start ?? null);
    this.#plot?.redraw(false, false);
    this.#describe();
    this.on.look(this.slots[this.#chosenIndex()] ?? null);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const index = this.#chosenIndex();
    const last = this.slots.length - 1;
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, ArrowDown: index - 1, ArrowUp: index + 1, Home: 0, End: last, PageUp: index + 10, PageDown: index - 10 }[event.key];
    if (to !== undefined) this.#choose(Math.min(last, Math.max(0, to)));
    else if (event.key === "Enter" || event.key === " ") {
      const slot = this.slots[index];
      if (slot) this.on.pick(slot);
    } else return;
    event.preventDefault();
  }

  /** What a screen reader says of the chosen slot. */
  #describe() {
    const index = this.#chosenIndex();
    const slot = this.slots[index];
    setAttribute(this.root, "aria-valuemin", "0");
    setAttribute(this.root, "aria-valuemax", String(Math.max(0, this.slots.length - 1)));
    setAttribute(this.root, "aria-valuenow", String(Math.max(0, index)));
    setAttribute(this.root, "aria-valuetext", slot ? this.drawing.text(slot) : "No events yet");
  }

  /** @param {uPlot} plot */
  #outline(plot) {
    const slot = this.#chosen === null ? null : this.slots[this.#chosenIndex()];
    if (!slot) return;
    const { ctx, bbox } = plot;
    const left = plot.valToPos(slot.start, "x", true);
    const right = plot.valToPos(slot.end, "x", true);
    ctx.save();
    ctx.strokeStyle = this.colour("--focus");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.strokeRect(left, bbox.top, right - left, bbox.height);
    ctx.restore();
  }
}
