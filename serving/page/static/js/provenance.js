// "Where does this number come from?": a bucket's way from Kafka's offsets to the page.

import { ApiError, get, query } from "./api.js";
import { byId, el, link, pages } from "./dom.js";
import { number, plural, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import { makeTable } from "./rows.js";
import * as times from "./times.js";

const dialog = byId("provenance", HTMLDialogElement);
const body = byId("provenance-body");

const PROVABLE = new Set(["1m", "5m", "1h"]);

/** @type {AbortController | null} */
let asking = null;

/** @param {string} stream @param {string} window @param {number} start seconds since 1970
 * @param {readonly string[]} [where] of the events that have these values, each `dimension:value` */
export async function showProvenance(stream, window, start, where = []) {
  asking?.abort();
  asking = new AbortController();
  body.replaceChildren(el("p", { class: "soft" }, "Asking…"));
  if (!dialog.open) dialog.showModal();
  const asked = query({ window, start: new Date(start * 1000).toISOString(), where });
  try {
    const found = await get(`/v1/streams/${encodeURIComponent(stream)}/provenance?${asked}`, asking.signal);
    body.replaceChildren(...describe(found, where));
  } catch (error) {
    if (error instanceof ApiError) body.replaceChildren(el("p", {}, error.message), el("p", { class: "soft" }, error.hint));
    else if (!(error instanceof DOMException)) throw error;
  }
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside it
});
byId("provenance-close").addEventListener("click", () => dialog.close());

/** @typedef {import("./api.js").Api} Api */

/** @param {Api["Provenance"]} p @param {readonly string[]} where */
function describe(p, where) {
  const zone = preferences.zone;
  return [
    el(
      "p",
      { class: "reading" },
      el("strong", {}, number(p.count)),
      ` ${words(p.stream)}, ${times.span(p.start, p.end, zone)} `,
      badge(p.status, p.unchecked),
    ),
    where.length ? el("p", { class: "soft" }, `Of events with ${where.map((w) => w.replace(":", " ")).join(", ")}.`) : "",
    el("p", {}, p.reason),
    el("p", { class: "soft" }, `Left out here: ${number(p.late)} late, ${plural(p.duplicates, "duplicate")}.`),
    ...step("Counted by", p.sources.map((s) => source(s, zone))),
    ...lake(p.lake, zone),
    ...check(p, zone),
    ...step("Revisions of the hour", p.revisions.map((r) => revision(r, zone))),
    ...proof(p, where),
    ...step("Made from", p.upstream.map((u) => el("li", {}, link(u.url, u.asset), ` ${u.description}`))),
  ];
}

/** @param {"final" | "provisional"} status @param {boolean} unchecked */
export function badge(status, unchecked) {
  if (status === "final" && unchecked) return el("span", { class: "badge provisional" }, "Final, unchecked");
  return el("span", { class: `badge ${status}` }, status === "final" ? "Final" : "Provisional");
}

/** @param {string} heading @param {HTMLElement[]} items */
function step(heading, items) {
  return items.length ? [el("h3", {}, heading), el("ul", { class: "steps" }, ...items)] : [];
}

/** @param {Api["ProvenanceSource"]} s @param {times.Zone} zone */
function source(s, zone) {
  const name = s.layer === "speed" ? "The worker, from Kafka" : "The batch layer, from the lake";
  const item = el("li", {}, el("strong", {}, name), ": ", link(s.url, s.asset ?? s.relation));
  if (s.written_at) item.append(`, written ${times.moment(s.written_at, zone)}`);
  if (s.run_id) item.append(", run ", el("code", {}, s.run_id.slice(0, 8)));
  if (s.partitions?.length) {
    const parts = s.partitions.map((p) => `${p.partition} to ${number(p.upto)}`);
    item.append(el("span", { class: "soft line" }, `Kafka partitions, each up to its offset: ${parts.join("; ")}`));
    for (const { commit } of s.partitions) {
      if (commit) item.append(el("span", { class: "soft line" }, `Commit of ${times.moment(commit.at, zone)}, records ${commit.offsets}`), ...pages(commit));
    }
  }
  item.append(...pages(s));
  return item;
}

/** @param {Api["LakeHour"][]} hours @param {times.Zone} zone */
function lake(hours, zone) {
  if (!hours.length) return [];
  const table = makeTable("Offsets in the lake, by hour of arrival", [
    { name: "Hour" },
    { name: "Partition", kind: "numeric" },
    { name: "From offset", kind: "numeric" },
    { name: "To offset", kind: "numeric" },
    { name: "Version", kind: "numeric" },
  ]);
  table.fill(hours, (h) => `${h.hour} ${h.partition}`, (h) => [
    times.moment(h.hour, zone),
    String(h.partition),
    number(h.from_offset),
    number(h.to_offset),
    String(h.version),
  ]);
  return [el("h3", {}, "In the lake"), table.whole];
}

/** @param {Api["Provenance"]} p @param {times.Zone} zone */
function check(p, zone) {
  const r = p.reconciliation;
  if (!r) return [el("h3", {}, "Checked"), el("p", {}, "Not yet. It is checked once its hour is complete and in the lake.")];
  const found = r.explained + r.unexplained ? `${number(r.explained)} differences explained, ${number(r.unexplained)} not` : "all agree";
  const text = `${r.passed ? "Passed" : "Failed"} ${times.moment(r.at, zone)}: ${plural(r.buckets, "bucket")} of the hour compared, ${found}.`;
  const differences = p.differences.map((d) =>
    el(
      "li",
      {},
      `${times.moment(d.minute, zone)}, ${dimensions(d.dimensions)} ${words(d.measure)}: `,
      `${number(d.speed)} by the worker, ${number(d.batch)} by the batch layer. ${d.explanation}`,
    ),
  );
  return [el("h3", {}, "Checked"), el("p", {}, text), differences.length ? el("ul", { class: "steps" }, ...differences) : null].filter((x) => x !== null);
}

/** Of windows that are a part of hours, and one value of a dimension.
 * @param {Api["Provenance"]} p @param {readonly string[]} where */
function proof(p, where) {
  const names = where.map((w) => w.slice(0, w.indexOf(":")));
  const single = new Set(names).size === names.length;
  if (p.status !== "final" || p.unchecked || !PROVABLE.has(p.window) || !single) return [];
  const members = where.map((w, i) => ` --of ${quoted(`${names[i]}=${w.slice(w.indexOf(":") + 1)}`)}`).join("");
  const at = new Date(p.start).toISOString().slice(0, 16);
  const command = `streamgauge proof ${p.stream} count --window ${p.window} --at ${at}${members} -o number.json`;
  return [
    el("h3", {}, "Proof"),
    el("p", {}, "Who has the lake's files can make this number again, and nothing else is needed:"),
    el("pre", { class: "take" }, `${command}\nstreamgauge verify number.json`),
  ];
}

/** For a shell. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {Record<string, string> | null} given */
function dimensions(given) {
  return Object.values(given ?? {}).join(", ");
}

/** @param {Api["Revision"]} r @param {times.Zone} zone */
function revision(r, zone) {
  const checked = r.checked ? "checked" : "not checked yet";
  return el("li", {}, el("strong", {}, `Revision ${r.revision}`), `, ${times.moment(r.at, zone)}, ${checked}: ${r.reason}`);
}
