// The chart of an answer: bars that stack where the measure adds up, lines where it does not, and before as a dashed line.

import { change, number } from "./numbers.js";
import { preferences } from "./preferences.js";
import { SURE } from "./series.js";
import { SlotChart } from "./slot-chart.js";
import * as times from "./times.js";

/** @typedef {import("./breakdown.js").Slot} Slot */
/** @typedef {{ name: string, ink: string, ground: string }} Line `ink`, `ground`: names of its colours */
/** @typedef {{ label: string, isStacked: boolean, lines: Line[], beforeText: string }} Shown */

/** The colours of a line: its place among the values, and of what is left. @param {number} place @param {boolean} isRest */
export function coloursOf(place, isRest) {
  const name = isRest ? "rest" : String(place + 1);
  return { ink: `--series-${name}`, ground: "--sheet" };
}

/** Of an answer that is not broken down. */
export const WHOLE = { ink: "--water", ground: "--water-shallow" };

export class BreakdownChart {
  /** @type {Shown} */
  #shown = { label: "events", isStacked: true, lines: [], beforeText: "" };
  /** @type {SlotChart<Slot>} */
  #chart;

  /** @param {HTMLElement} root @param {{ pick: (slot: Slot) => void, look: (slot: Slot | null) => void }} on */
  constructor(root, on) {
    this.#chart = new SlotChart(root, on, {
      columns: (slots) => [slots.map((s) => this.#ends(s)[1]), slots.map((s) => this.#ends(s)[0])],
      series: () => [0, 1].map(() => ({ paths: () => null, points: { show: false } })), // drawn below: they make the axis
      range: (low, high) => [Math.min(0, low * 1.12), Math.max(0, high) * 1.12 || 1],
      behind: () => {},
      front: (plot) => this.#draw(plot),
      text: (slot) => this.text(slot),
      isComplete: (slot) => slot.sure !== null && slot.sure !== "open",
    });
  }

  remove() {
    this.#chart.remove();
  }

  redraw() {
    this.#chart.redraw();
  }

  /** @param {Slot[]} slots @param {Shown} shown */
  show(slots, shown) {
    this.#shown = shown;
    this.#chart.show(slots);
  }

  /** @param {Slot} slot */
  text(slot) {
    const { label, lines, beforeText } = this.#shown;
    const when = times.span(slot.start * 1000, slot.end * 1000, preferences.zone);
    const own = slot.sure ? `${number(slot.whole)} ${label}, ${SURE[slot.sure].label.toLowerCase()}` : "no events";
    const before = slot.before === null ? "" : `; ${beforeText} ${number(slot.before)}${slot.sure && slot.sure !== "open" ? ` (${change(slot.whole, slot.before)})` : ""}`;
    const parts = lines.flatMap((l, i) => (lines.length > 1 && slot.values[i] != null ? [`${l.name} ${number(slot.values[i])}`] : []));
    return `${when}: ${own}${before}${parts.length ? `. ${parts.join(", ")}` : ""}`;
  }

  /** The least and the greatest that is drawn. @param {Slot} slot @returns {[number | null, number | null]} */
  #ends(slot) {
    const given = slot.values.filter((v) => v !== null);
    const heights = this.#shown.isStacked && given.length ? [given.reduce((a, b) => a + b, 0)] : given;
    const all = slot.before === null ? heights : [...heights, slot.before];
    return all.length ? [Math.min(...all), Math.max(...all)] : [null, null];
  }

  /** @param {uPlot} plot */
  #draw(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    if (this.#shown.isStacked) this.#bars(plot);
    else this.#shown.lines.forEach((line, i) => this.#line(plot, line, i));
    this.#before(plot);
    ctx.restore();
  }

  /** @param {uPlot} plot */
  #bars(plot) {
    const { ctx } = plot;
    const scale = devicePixelRatio;
    const isNarrow = this.#chart.isNarrow(plot);
    for (const slot of this.#chart.slots) {
      if (!slot.sure) continue;
      const left = Math.round(plot.valToPos(slot.start, "x", true));
      const right = Math.round(plot.valToPos(slot.end, "x", true)) - (isNarrow ? 0 : scale);
      let below = 0;
      for (const [i, line] of this.#shown.lines.entries()) {
        const value = slot.values[i];
        if (value == null) continue;
        const bottom = plot.valToPos(below, "y", true);
        below += value;
        const top = plot.valToPos(below, "y", true);
        ctx.fillStyle = this.#chart.fill(slot.sure, line.ink, line.ground);
        ctx.fillRect(left, Math.min(top, bottom), right - left, Math.abs(bottom - top));
        if (isNarrow) continue;
        const outlined = slot.sure !== "final";
        ctx.strokeStyle = this.#chart.colour(outlined ? line.ink : "--sheet");
        ctx.lineWidth = scale;
        ctx.setLineDash(slot.sure === "open" ? [2 * scale, 2 * scale] : []);
        if (outlined) ctx.strokeRect(left + scale / 2, top + scale / 2, right - left - scale, bottom - top - scale);
        else if (below > value) ctx.strokeRect(left, bottom, right - left, 0);
      }
    }
    ctx.setLineDash([]);
  }

  /** Solid between two final windows, dashed where one is not. @param {uPlot} plot @param {Line} line @param {number} index */
  #line(plot, line, index) {
    const { ctx } = plot;
    const scale = devicePixelRatio;
    ctx.strokeStyle = ctx.fillStyle = this.#chart.colour(line.ink);
    ctx.lineWidth = 2 * scale;
    /** @type {{ x: number, y: number, isFinal: boolean } | null} */
    let last = null;
    for (const slot of this.#chart.slots) {
      const value = slot.values[index];
      if (value == null) {
        last = null;
        continue;
      }
      const point = { ...this.#point(plot, slot, value), isFinal: slot.sure === "final" };
      if (last) {
        ctx.setLineDash(last.isFinal && point.isFinal ? [] : [4 * scale, 3 * scale]);
        ctx.beginPath();
        ctx.moveTo(last.x, last.y);
        ctx.lineTo(point.x, point.y);
        ctx.stroke();
      }
      ctx.beginPath();
      ctx.arc(point.x, point.y, (this.#chart.isNarrow(plot) ? 1.25 : 2.5) * scale, 0, 2 * Math.PI);
      ctx.fill();
      last = point;
    }
    ctx.setLineDash([]);
  }

  /** With an edge of the paper's colour, so that it is seen over the bars. @param {uPlot} plot */
  #before(plot) {
    const { ctx } = plot;
    const scale = devicePixelRatio;
    const path = new Path2D();
    let isGoing = false;
    for (const slot of this.#chart.slots) {
      if (slot.before === null) {
        isGoing = false;
        continue;
      }
      const { x, y } = this.#point(plot, slot, slot.before);
      if (!isGoing) path.moveTo(x - scale, y);
      path.lineTo(x, y);
      isGoing = true;
    }
    ctx.lineJoin = "round";
    ctx.strokeStyle = this.#chart.colour("--sheet");
    ctx.lineWidth = 3.5 * scale;
    ctx.stroke(path);
    ctx.strokeStyle = this.#chart.colour("--ink-soft");
    ctx.lineWidth = 1.5 * scale;
    ctx.setLineDash([5 * scale, 3 * scale]);
    ctx.stroke(path);
    ctx.setLineDash([]);
  }

  /** @param {uPlot} plot @param {Slot} slot @param {number} value */
  #point(plot, slot, value) {
    return { x: plot.valToPos((slot.start + slot.end) / 2, "x", true), y: plot.valToPos(value, "y", true) };
  }
}
