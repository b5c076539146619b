// What of a stream may be asked for: counters, distinct counts, and the figures of its measures.

import { capital, words } from "./numbers.js";

/** @typedef {import("./api.js").Api["Stream"]} Stream */
/** @typedef {{ name: string, label: string, text: string, isSum: boolean }} Measure `isSum`: windows and groups may be added up. */

/** @param {Stream} stream @returns {Measure[]} */
export function measuresOf(stream) {
  const counters = [
    { name: "count", label: "events", text: "Events", isSum: true },
    { name: "late", label: "late events", text: "Late", isSum: true },
    { name: "duplicates", label: "duplicates", text: "Duplicates", isSum: true },
  ];
  const distinct = stream.distinct.map((d) => ({ name: `${d}_distinct`, label: `distinct ${words(d)}`, text: `Distinct ${words(d)}`, isSum: false }));
  const measures = stream.measures.flatMap((m) =>
    m.figures.map((name) => {
      const isSum = m.sums.includes(name);
      if (name === m.name) return { name, label: words(name), text: capital(words(name)), isSum };
      const part = words(name.slice(m.name.length + 1));
      return { name, label: `${words(m.name)} (${part})`, text: `${capital(words(m.name))}, ${part}`, isSum };
    }),
  );
  return [...counters, ...distinct, ...measures];
}
