// Buckets of a chart: kept by start, cut to a range, parted by how sure they are.

/**
 * @typedef {object} Bucket
 * @property {number} start seconds since 1970
 * @property {number} end
 * @property {"final" | "provisional" | "open"} sure open: the watermark has not passed it, it still fills
 * @property {Record<string, any>} row
 */

/** How sure each kind is, in words. */
export const SURE = {
  final: { label: "Final", meaning: "checked against the lake" },
  provisional: { label: "Provisional", meaning: "complete, not yet checked" },
  open: { label: "Still filling", meaning: "more events are expected" },
};

/** @param {Record<string, any>} row @returns {Bucket} */
export function bucketOf(row) {
  const start = Date.parse(row.window_start ?? row.minute) / 1000;
  return {
    start,
    end: row.window_end ? Date.parse(row.window_end) / 1000 : start + 60,
    // a final number whose check failed is no surer than one that was not checked yet
    sure: row.status === "final" && !row.unchecked ? "final" : row.complete ? "provisional" : "open",
    row,
  };
}

export class Buckets {
  /** @type {Map<number, Bucket>} */
  #byStart = new Map();

  /** @param {number} size seconds of a bucket @param {number} range seconds of the whole */
  constructor(size, range) {
    this.size = size;
    this.range = range;
  }

  /** @param {Record<string, any>[]} rows @param {boolean} whole forget what was */
  put(rows, whole) {
    if (whole) this.#byStart.clear();
    for (const row of rows) {
      const bucket = bucketOf(row);
      this.#byStart.set(bucket.start, bucket);
    }
  }

  /** Every bucket of the range that ends with `until`, in order; one without events has no row, and counts as nothing.
   * @param {number} until seconds since 1970 @returns {{ start: number, end: number, bucket: Bucket | null }[]} */
  upto(until) {
    const last = Math.floor(until / this.size) * this.size;
    const first = last - this.range + this.size;
    for (const start of this.#byStart.keys()) if (start < first) this.#byStart.delete(start);
    const slots = [];
    for (let start = first; start <= last; start += this.size) {
      slots.push({ start, end: start + this.size, bucket: this.#byStart.get(start) ?? null });
    }
    return slots;
  }

  newestStart() {
    return this.#byStart.size ? Math.max(...this.#byStart.keys()) : null;
  }

  /** The newest bucket that is complete: the number to believe now. @returns {Bucket | null} */
  newestComplete() {
    let best = null;
    for (const b of this.#byStart.values()) if (b.sure !== "open" && (!best || b.start > best.start)) best = b;
    return best;
  }
}

/** Columns as uPlot takes them, one a kind: null where a bucket is of another.
 * @param {{ bucket: Bucket | null }[]} slots @param {string} measure
 * @returns {(number | null)[][]} */
export function columns(slots, measure) {
  /** @param {Bucket["sure"]} sure */
  const of = (sure) => slots.map((s) => (s.bucket?.sure === sure ? (s.bucket.row[measure] ?? null) : null));
  return [of("final"), of("provisional"), of("open")];
}
