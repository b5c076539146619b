// The chart of a stream's buckets, with the band of what is expected behind them and marks above what is not.

import uPlot from "/static/uplot/uPlot.esm.js";

import { number } from "./numbers.js";
import { preferences } from "./preferences.js";
import { SURE, columns } from "./series.js";
import { SlotChart } from "./slot-chart.js";
import { Unusual, bandText } from "./unusual.js";
import * as times from "./times.js";

/** @typedef {ReturnType<import("./series.js").Buckets["upto"]>} Slots */

const KINDS = /** @type {const} */ (["final", "provisional", "open"]);

export class Chart {
  #measure = { name: "count", label: "events" };
  #unusual = new Unusual();
  /** @type {SlotChart<Slots[number]>} */
  #chart;

  /**
   * @param {HTMLElement} root
   * @param {{ pick: (slot: Slots[number]) => void, look: (slot: Slots[number] | null) => void }} on
   */
  constructor(root, on) {
    this.#chart = new SlotChart(root, on, {
      columns: (slots) => columns(slots, this.#measure.name),
      series: () => this.#series(),
      range: (_low, high) => [0, this.#top(high) * 1.12 || 1],
      behind: (plot) => this.#band(plot),
      front: (plot) => this.#mark(plot),
      text: (slot) => this.text(slot),
      isComplete: (slot) => slot.bucket !== null && slot.bucket.sure !== "open",
    });
  }

  /** Another chart takes its place. */
  remove() {
    this.#chart.remove();
  }

  /** Other colours, or another zone. */
  redraw() {
    this.#chart.redraw();
  }

  /** @param {Slots} slots @param {{ name: string, label: string }} measure @param {Unusual} unusual */
  show(slots, measure, unusual) {
    this.#measure = measure;
    this.#unusual = unusual;
    this.#chart.show(slots);
  }

  /** @param {Slots[number]} slot */
  text(slot) {
    const when = times.span(slot.start * 1000, slot.end * 1000, preferences.zone);
    const band = this.#bandOf(slot);
    const beside = `${band ? `, expected ${bandText(band)}` : ""}${this.#isMarked(slot) ? ", not as expected" : ""}`;
    if (!slot.bucket) return `${when}: no events${beside}`;
    return `${when}: ${number(slot.bucket.row[this.#measure.name])} ${this.#measure.label}, ${SURE[slot.bucket.sure].label.toLowerCase()}${beside}`;
  }

  /** @returns {uPlot.Series[]} */
  #series() {
    const makeBars = /** @type {NonNullable<typeof uPlot.paths.bars>} */ (uPlot.paths.bars);
    const [apart, joined] = [1, 0].map((gap) => makeBars({ size: [1, Infinity], align: 1, gap }));
    const chart = this.#chart;
    return KINDS.map((sure) => ({
      paths: (plot, ...more) => /** @type {any} */ (chart.isNarrow(plot) ? joined : apart)(plot, ...more),
      fill: () => /** @type {string} */ (chart.fill(sure)),
      stroke: (plot) => (sure === "final" || chart.isNarrow(plot) ? "transparent" : chart.colour("--water")),
      width: 1,
      dash: sure === "open" ? [2, 2] : [],
      points: { show: false },
    }));
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
    const band = Math.max(0, ...this.#chart.slots.map((s) => this.#bandOf(s)?.high ?? 0));
    return high ? Math.max(high, Math.min(band, 2 * high)) : band;
  }

  /** What is expected, behind the bars. @param {uPlot} plot */
  #band(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = this.#chart.colour("--rule");
    ctx.strokeStyle = this.#chart.colour("--edge");
    ctx.lineWidth = devicePixelRatio;
    for (const slot of this.#chart.slots) {
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
    ctx.fillStyle = this.#chart.colour("--bad");
    for (const slot of this.#chart.slots) {
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
}
