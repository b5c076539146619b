// What a stream is: its fields, its numbers, how well it does today, where it goes, and who asks for it.

import { get, query, toBeShown } from "./api.js";
import { showStatus } from "./connection.js";
import { byId, el, link, setAttribute, setText } from "./dom.js";
import { capital, number, percent, plural, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import { checked } from "./quality.js";
import { makeTable } from "./rows.js";
import * as times from "./times.js";
import * as verdict from "./verdict.js";

/** @typedef {import("./api.js").Api["Catalogue"]} Catalogue */
/** @typedef {import("./api.js").Api["Stream"]} Stream */

const KINDS = {
  dimension: "Dimension",
  count: "Count",
  measure: "Measure",
  ratio: "Ratio",
  distinct: "Distinct count, estimated",
  top: "Most frequent",
};

export class AboutView {
  #asked = new AbortController();
  /** @type {Catalogue | null} */
  #found = null;
  #fields = makeTable("Fields of its events", [{ name: "Field" }, { name: "Type" }, { name: "Classified" }, { name: "What it is", kind: "wide" }, { name: "Values", kind: "wide" }, { name: "Used as", kind: "wide" }]);
  #derived = makeTable("Computed of each event", [{ name: "Name" }, { name: "Type" }, { name: "Expression", kind: "wide" }]);
  #numbers = makeTable("Numbers, and what they are broken down by", [{ name: "Name" }, { name: "Kind" }, { name: "Of", kind: "wide" }]);
  #alerts = makeTable("Alerts on these numbers", [{ name: "Alert" }, { name: "On", kind: "wide" }, { name: "Bounds", kind: "wide" }, { name: "What it means", kind: "wide" }]);
  #readers = makeTable("Who asked the API for it in the last 30 days", [{ name: "Key" }, { name: "Requests", kind: "numeric" }, { name: "Last" }]);

  /** @param {Stream} stream @param {() => void} unauthorized */
  constructor(stream, unauthorized) {
    this.stream = stream;
    this.unauthorized = unauthorized;
    byId("about-fields").replaceChildren(this.#fields.whole);
    byId("about-derived").replaceChildren(this.#derived.whole);
    byId("about-numbers").replaceChildren(this.#numbers.whole);
    byId("about-alerts").replaceChildren(this.#alerts.whole);
    byId("about-readers").replaceChildren(this.#readers.whole);
    setText(byId("about-name"), capital(words(stream.stream)));
    setText(byId("about-purpose"), stream.description);
    setText(byId("about-problem"), "");
    byId("about-body").hidden = true;
    showStatus("Asking…", "");
    void this.#ask();
  }

  stop() {
    this.#asked.abort();
    delete document.body.dataset.connection;
  }

  recolour() {
    this.#render();
  }

  async #ask() {
    const path = `/v1/streams/${encodeURIComponent(this.stream.stream)}`;
    try {
      const [catalogue, stream, { rows }, { days }] = await Promise.all([
        get(`${path}/catalogue`, this.#asked.signal),
        get(path, this.#asked.signal),
        get(`/v1/quality?${query({ stream: this.stream.stream })}`, this.#asked.signal),
        get(`${path}/reports`, this.#asked.signal),
      ]);
      this.#found = catalogue;
      this.stream = stream;
      this.#checks(rows, days);
      this.#render();
      byId("about-body").hidden = false;
      showStatus("Up to date", undefined, "live");
    } catch (error) {
      const shown = toBeShown(error, this.#asked.signal, this.unauthorized);
      if (!shown) return;
      setText(byId("about-problem"), `${shown.message} ${shown.hint}`);
      showStatus("No numbers are shown.");
    }
  }

  #render() {
    const found = this.#found;
    if (!found) return;
    byId("about-facts").replaceChildren(
      ...fact("Owner", found.owner),
      ...fact("Contract", `version ${found.version}`),
      ...fact("Topic in Kafka", el("code", {}, found.topic)),
      ...fact("An event’s id", el("code", {}, found.event_id)),
      ...fact("Its time", el("code", {}, found.event_time)),
      ...(found.reference ? fact("Reference table", el("code", {}, found.reference)) : []),
      ...fact("Kept", kept(found)),
    );
    this.#today();
    this.#fields.fill(found.fields, (f) => f.name, (f) => [
      el("code", {}, f.name),
      f.required ? f.type : `${f.type}, or none`,
      el("span", { class: f.classification === "personal" ? "tag personal" : "tag" }, f.classification),
      f.description,
      [f.read_from && `read from ${f.read_from}`, ...f.allowed].filter(Boolean).join("; "),
      f.used_as.map(words).join("; "),
    ]);
    byId("about-derived").hidden = found.derived.length === 0;
    this.#derived.fill(found.derived, (d) => d.name, (d) => [el("code", {}, d.name), d.type, el("code", {}, d.expression)]);
    this.#numbers.fill(found.numbers, (n) => `${n.kind} ${n.name}`, (n) => [
      this.#askable(n),
      n.personal && n.kind !== "distinct" ? `${KINDS[n.kind]}, by pseudonyms` : KINDS[n.kind],
      el("code", {}, n.definition),
    ]);
    byId("about-alerts").hidden = found.alerts.length === 0;
    this.#alerts.fill(found.alerts, (a) => a.name, (a) => [words(a.name), a.of, a.bounds, a.description]);
    byId("about-views").replaceChildren(...found.views.flatMap((v, i) => [i ? ", " : "", el("code", {}, v)]));
    setText(byId("about-counts"), found.counts_topic ? ` Each minute’s counts are published to the topic ${found.counts_topic}.` : "");
    byId("about-assets").replaceChildren(
      ...this.stream.assets.map((a) => el("li", {}, link(a.url, a.asset, `${a.asset} in Dagster`), el("span", { class: "soft" }, ` ${a.description}`))),
    );
    byId("about-readers").hidden = !found.readers?.length;
    setText(byId("about-readers-none"), found.readers ? (found.readers.length ? "" : "Nobody yet.") : "The key lacks the scope operations, which shows it.");
    this.#readers.fill(found.readers ?? [], (r) => `${r.key_id} ${r.caller}`, (r) => [r.caller, number(r.requests), times.moment(r.last_at, preferences.zone)]);
  }

  /** As a question that Explore answers, where it is one. @param {Catalogue["numbers"][number]} n */
  #askable(n) {
    const own = this.stream.measures.find((m) => m.name === n.name);
    const asked = n.kind === "dimension" ? { by: n.name } : n.kind === "distinct" ? { measure: `${n.name}_distinct` } : own && { measure: own.sums[0] ?? own.figures[0] };
    return asked ? el("a", { href: `#/${this.stream.stream}/explore?${query(asked)}` }, words(n.name)) : words(n.name);
  }

  #today() {
    const now = Date.now();
    const said = { Fresh: verdict.fresh(this.stream, 0), Complete: verdict.complete(this.stream, preferences.zone, now), Final: verdict.final(this.stream, preferences.zone, now) };
    byId("about-today").replaceChildren(
      ...Object.entries(said).flatMap(([name, a]) => fact(name, el("span", { class: "level", "data-level": a.level }, a.value), ` ${a.text}`)),
    );
  }

  /** @param {import("./quality.js").Check[]} rows @param {string[]} days */
  #checks(rows, days) {
    const { level, text } = checked(rows);
    setText(byId("about-checks"), text);
    setAttribute(byId("about-checks"), "data-level", level);
    const newest = [...days].sort().at(-1);
    const report = newest && link(`/v1/streams/${encodeURIComponent(this.stream.stream)}/reports/${newest}`, `Report of ${newest}`);
    byId("about-report").replaceChildren(report || el("span", { class: "soft" }, "There is no daily report yet."));
  }
}

/** @param {string} name @param {...(Node | string)} said */
function fact(name, ...said) {
  return [el("dt", {}, name), el("dd", {}, ...said)];
}

/** @param {Catalogue} found */
function kept(found) {
  /** @param {string} what @param {number | null} days @param {string} [none] */
  const says = (what, days, none = "for ever") => `${what} ${days == null ? none : days < 730 ? plural(days, "day") : plural(Math.round(days / 365), "year")}`;
  const { events, lake, facts, minutes } = found.kept_days;
  return [says("events in Kafka", events, "as long as their owner does"), says("in the lake", lake), says("facts", facts), says("minutes", minutes)].join(", ");
}
