// Results of quality checks in words.

/** @typedef {{ status: string, stream: string }} Check */

/** @param {readonly Check[]} rows the newest result of each check @returns {{ level: import("./verdict.js").Level, text: string }} */
export function checked(rows) {
  const failed = rows.filter((r) => r.status === "failed").length;
  const judged = rows.filter((r) => r.status !== "unknown").length;
  if (failed) return { level: "bad", text: `${failed} of ${judged} checks failed` };
  if (judged) return { level: "good", text: judged === 1 ? "The one check passed" : `All ${judged} checks passed` };
  return { level: "unknown", text: "No check has run yet" };
}
