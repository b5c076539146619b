// One stream: the answer, its minutes, its tops, its books, its checks.

import { ApiError, get, query } from "./api.js";
import { announce } from "./announce.js";
import { Chart } from "./chart.js";
import { Connection } from "./connection.js";
import { byId, el, link, setAttribute, setText } from "./dom.js";
import { Live } from "./live.js";
import { measuresOf } from "./measures.js";
import { NONE, capital, number, plural, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import { badge, showProvenance } from "./provenance.js";
import { showRanking } from "./ranking.js";
import { keyed, makeTable } from "./rows.js";
import { Buckets, SURE } from "./series.js";
import * as times from "./times.js";
import { Unusual, bandText, rounded, seriesOf, stateOf } from "./unusual.js";
import * as verdict from "./verdict.js";

/** Ranges of the chart, and the windows they are drawn in. */
const RANGES = /** @type {const} */ ({
  "1h": { window: "1m", size: 60, range: 3600, name: "minute" },
  "6h": { window: "5m", size: 300, range: 6 * 3600, name: "5 minutes" },
  "24h": { window: "15m", size: 900, range: 24 * 3600, name: "15 minutes" },
  "7d": { window: "3h", size: 3 * 3600, range: 7 * 24 * 3600, name: "3 hours" },
});
/** The counters that come by the live connection; others are asked for. */
const LIVE_MEASURES = ["count", "late", "duplicates"];
const REFRESH_MS = 10_000;
/** Wide buckets move slowly: their chart is asked for six times in each, and once a minute at least. */
const CHART_REFRESH_MS = 60_000;
const TOP_LIMIT = 10;
/** Reports linked. */
const DAYS = 7;
const QUALITY = /** @type {const} */ ({
  passed: { level: "good", text: "Passed" },
  failed: { level: "bad", text: "Failed" },
  unknown: { level: "unknown", text: "Not known" },
});

/** @typedef {import("./api.js").Api["Stream"]} Stream */
/** @typedef {import("./api.js").Api["TopShape"]} Top */
/** @typedef {import("./measures.js").Measure} Measure */

/** @param {Stream} stream */
function filling({ generation, filling: next }) {
  if (!next) return "";
  const far = next.hours ? `${number(next.done)} of ${plural(next.hours, "hour")} are made` : "not begun yet";
  return `The contract has changed: generation ${next.generation} of the rollups is being filled, ${far}. Until then the numbers are of generation ${generation}.`;
}

export class StreamView {
  #connection = new Connection();
  /** @type {Stream} */
  #numbers;
  /** @type {keyof typeof RANGES} */
  #range = "1h";
  /** @type {Measure} */
  #measure;
  /** @type {"1m" | "5m" | "1h"} */
  #topWindow = "1h";
  #topName = "";
  /** @type {Record<string, Top>} */
  #tops = {};
  #minutes = new Buckets(60, 3600);
  #buckets = this.#minutes;
  #unusual = new Unusual();
  /** @type {WeakMap<Buckets, number>} when each was answered */
  #chartAsked = new WeakMap();
  #asked = new AbortController();
  /** @type {Live} */
  #live;
  /** @type {ReturnType<typeof setInterval>[]} */
  #timers = [];
  #chart;
  #table;
  #checks;
  #quality;
  #anomalies;

  /** @param {Stream} stream as /v1/streams has it @param {HTMLElement} root @param {() => void} unauthorized */
  constructor(stream, root, unauthorized) {
    this.stream = stream;
    this.root = root;
    this.unauthorized = unauthorized;
    this.#numbers = stream;
    this.#measure = /** @type {Measure} */ (measuresOf(stream)[0]);
    setText(byId("stream-name"), capital(words(stream.stream)));
    setText(byId("stream-about"), `${stream.description} Owner: ${stream.owner}.`);
    this.#chart = new Chart(byId("chart"), { pick: (slot) => this.#explain(slot.start), look: (slot) => this.#look(slot) });
    this.#table = makeTable("The chart's numbers, newest first", [{ name: "Start" }, { name: "Number", kind: "numeric" }, { name: "Status" }, { name: "Where from" }]);
    byId("chart-table").replaceChildren(this.#table.whole);
    this.#checks = makeTable("Hours compared last, newest first", [
      { name: "Hour" },
      { name: "Result" },
      { name: "Status", kind: "wide" },
      { name: "Worker", kind: "numeric" },
      { name: "Batch", kind: "numeric" },
      { name: "Explained", kind: "numeric" },
      { name: "Unexplained", kind: "numeric" },
    ]);
    byId("checks").replaceChildren(this.#checks.whole);
    this.#quality = makeTable("The newest result of each check, failed ones first", [
      { name: "Check" },
      { name: "Result" },
      { name: "Asset" },
      { name: "Found", kind: "wide" },
      { name: "When" },
    ]);
    byId("quality").replaceChildren(this.#quality.whole);
    this.#anomalies = makeTable("Series that were not as expected, newest first", [
      { name: "Since" },
      { name: "Series" },
      { name: "State" },
      { name: "Observed", kind: "numeric" },
      { name: "Expected", kind: "numeric" },
    ]);
    byId("anomalies").replaceChildren(this.#anomalies.whole);
    this.#choices();
    this.#live = this.#connect();
    this.#timers = [setInterval(() => this.#tick(), 1000), setInterval(() => this.#refresh(), REFRESH_MS)];
    this.#assets();
    this.render();
    this.#refresh();
  }

  stop() {
    this.#live.stop();
    this.#asked.abort();
    this.#timers.forEach(clearInterval);
    this.#chart.remove();
    delete document.body.dataset.connection;
  }

  hurry() {
    this.#live.hurry();
  }

  #connect() {
    return new Live(this.stream.stream, this.#topWindow, {
      state: (state, since, why) => this.#connection.set(state, since, why),
      unchanged: () => this.#connection.unchanged(),
      unauthorized: this.unauthorized,
      problem: (detail) => this.#connection.problem(detail),
      numbers: (data, whole) => this.#take(data, whole),
    });
  }

  /** @param {import("./live.js").Numbers} data @param {boolean} whole */
  #take(data, whole) {
    this.#numbers = { ...this.#numbers, ...data };
    this.#minutes.put(data.minutes, whole);
    this.#tops = { ...(whole ? {} : this.#tops), ...data.tops };
    this.#connection.took(data);
    this.render();
  }

  /** Everything again: other numbers, another zone. */
  render() {
    this.#answers();
    this.#reading();
    this.#draw();
    this.#books();
    this.#ranking();
    this.#connection.show();
  }

  recolour() {
    this.#chart.redraw();
    this.render();
    this.#refresh();
  }

  #tick() {
    this.#connection.show();
    this.#answers();
  }

  #answers() {
    const zone = preferences.zone;
    const fresh = verdict.fresh(this.#numbers, this.#connection.age);
    const now = Date.now();
    const complete = verdict.complete(this.#numbers, zone, now);
    const final = verdict.final(this.#numbers, zone, now);
    answer("fresh", fresh);
    answer("complete", complete);
    answer("final", final);
    const { blind } = this.#connection;
    const standing = "not known now: the numbers stand still.";
    setText(byId("verdict"), blind ? capital(standing) : verdict.headline(this.#numbers, fresh, zone, now));
    setAttribute(byId("verdict"), "data-level", blind ? "bad" : verdict.worst(fresh, complete));
    announce(`${capital(words(this.stream.stream))}: ${blind ? standing : verdict.spoken(fresh, complete, final)}`);
  }

  #reading() {
    const newest = this.#minutes.newestComplete();
    setText(byId("reading"), newest ? number(newest.row.count) : NONE);
    setAttribute(byId("reading-where"), "disabled", newest ? null : "");
    const place = byId("reading-when");
    if (!newest) {
      setText(place, "events in the last complete minute");
      return;
    }
    const when = times.span(newest.start * 1000, newest.end * 1000, preferences.zone);
    place.replaceChildren(`events, ${when} `, badge(newest.row.status, newest.row.unchecked));
    byId("reading-where").onclick = () => void showProvenance(this.stream.stream, "1m", newest.start);
    const most = Math.max(1, ...this.#slots(this.#minutes).map((s) => s.bucket?.row.count ?? 0));
    byId("staff").style.setProperty("--level", String(newest.row.count / most));
  }

  get #spec() {
    return RANGES[this.#range];
  }

  get #isLive() {
    return this.#range === "1h" && LIVE_MEASURES.includes(this.#measure.name);
  }

  /** Up to now; where nothing came within the range, up to the newest there is.
   * @param {Buckets} buckets */
  #slots(buckets) {
    const now = Date.now() / 1000;
    const newest = buckets.newestStart();
    return buckets.upto(newest !== null && newest < now - buckets.range ? newest : now);
  }

  #draw() {
    const slots = this.#slots(this.#buckets);
    this.#chart.show(slots, this.#measure, this.#unusual);
    const { name } = this.#spec;
    setText(byId("chart-title"), `${this.#measure.text} by ${name}`);
    setAttribute(byId("chart"), "aria-label", `${this.#measure.text} by ${name}`);
    const ended = this.#minutes.newestStart();
    const until = this.#numbers.completeness.complete_until;
    const silent = ended !== null && until !== null && Date.parse(until) / 1000 > ended + 2 * 60;
    setText(byId("chart-silence"), silent ? `No events since ${times.moment((ended + 60) * 1000, preferences.zone)}.` : "");
    const used = new Set(slots.map((s) => s.bucket?.sure));
    byId("legend-band").hidden = this.#measure.name !== "count" || !slots.some((s) => this.#unusual.band(s.start));
    byId("legend-anomaly").hidden = !slots.some((s) => this.#unusual.marks(this.#measure.name, s.start, s.end));
    for (const sure of Object.keys(SURE)) byId(`legend-${sure}`).hidden = !used.has(/** @type {any} */ (sure));
    if (byId("chart-details", HTMLDetailsElement).open) this.#tabulate(slots);
  }

  /** @param {ReturnType<Buckets["upto"]>} slots */
  #tabulate(slots) {
    const shown = slots.filter((s) => s.bucket).reverse();
    this.#table.fill(shown, (s) => String(s.start), (s) => {
      const when = times.moment(s.start * 1000, preferences.zone);
      return [
        when,
        number(s.bucket?.row[this.#measure.name]),
        s.bucket ? SURE[s.bucket.sure].label : "",
        el("button", { class: "link", "aria-label": `Show where the number of ${when} comes from`, click: () => this.#explain(s.start) }, "Show"),
      ];
    });
  }

  /** @param {ReturnType<Buckets["upto"]>[number] | null} slot */
  #look(slot) {
    setText(byId("chart-look"), slot ? this.#chart.text(slot) : "");
  }

  /** @param {number} start */
  #explain(start) {
    void showProvenance(this.stream.stream, this.#spec.window, start);
  }

  #books() {
    const a = this.#numbers.accounts;
    for (const name of /** @type {const} */ (["acknowledged", "counted", "late", "duplicates", "dead_letters", "lost"])) {
      setText(byId(`account-${name}`), number(a[name]));
    }
    const text = a.adds_up == null ? "Kafka does not answer: the sum can't be checked." : a.adds_up ? "The sum is right: every acknowledged event is somewhere." : "The sum is wrong. Look at the operations view.";
    setText(byId("account-sum"), a.lag ? `${text} ${plural(a.lag, "event")} on the way.` : text);
    setAttribute(byId("account-sum"), "data-level", a.adds_up == null ? "unknown" : a.adds_up ? "good" : "bad");
    keyed(byId("pauses"), this.stream.pauses, (p) => p, () => el("li"), (e, p) => setText(e, p));
    setText(byId("filling"), filling(this.stream));
  }

  #ranking() {
    const dimension = this.#topName.startsWith("by ") ? this.#topName.slice(3) : null;
    const top = dimension ? this.#dimension : this.#tops[this.#topName];
    showRanking(byId("ranking"), top?.items.slice(0, TOP_LIMIT) ?? []);
    byId("ranking-none").hidden = Boolean(top?.items.length);
    setText(byId("ranking-note"), top ? this.#rankingNote(top) : "");
  }

  /** @param {Top} top */
  #rankingNote(top) {
    const parts = [times.span(top.start, top.end, preferences.zone)];
    if (top.error) parts.push(`counts are up to ${number(top.error)} too high`);
    else parts.push("exact");
    if (top.masked) parts.push("names of people are hidden");
    if (top.source) parts.push(`from ${top.source === "redis" ? "Redis" : "Postgres"}`);
    return `${capital(parts.join(", "))}.`;
  }

  /** @type {any} */
  #dimension = null;

  #choices() {
    const measures = measuresOf(this.stream);
    const select = byId("measure", HTMLSelectElement);
    select.replaceChildren(...measures.map((m) => el("option", { value: m.name }, m.text)));
    select.onchange = () => {
      this.#measure = measures.find((m) => m.name === select.value) ?? this.#measure;
      this.#rechart();
    };
    const tops = [...this.stream.tops.map((/** @type {string} */ t) => [t, capital(words(t))]), ...this.stream.dimensions.map((/** @type {string} */ d) => [`by ${d}`, `By ${words(d)}`])];
    this.#topName = tops[0]?.[0] ?? "";
    const topSelect = byId("top", HTMLSelectElement);
    topSelect.replaceChildren(...tops.map(([value, text]) => el("option", { value }, text)));
    topSelect.onchange = () => {
      this.#topName = topSelect.value;
      this.#dimension = null;
      this.#ranking();
      this.#refresh();
    };
    pressed("range", this.#range, (range) => {
      this.#range = /** @type {keyof typeof RANGES} */ (range);
      this.#rechart();
    });
    pressed("top-window", this.#topWindow, (window) => {
      this.#topWindow = /** @type {"1m" | "5m" | "1h"} */ (window);
      this.#tops = {};
      this.#dimension = null;
      this.#live.stop();
      this.#live = this.#connect();
      this.#refresh();
    });
    byId("chart-details", HTMLDetailsElement).ontoggle = () => this.#draw();
  }

  #rechart() {
    this.#buckets = this.#isLive ? this.#minutes : new Buckets(this.#spec.size, this.#spec.range);
    this.#draw();
    this.#refresh();
  }

  /** What the live connection doesn't bring. */
  #refresh() {
    if (document.hidden) return;
    this.#asked.abort();
    this.#asked = new AbortController();
    const asks = [this.#askStream(), this.#askChart(), this.#askAnomalies(), this.#askDimension(), this.#askChecks(), this.#askQuality()];
    void Promise.allSettled(asks).then((done) => {
      const failed = done.find((d) => d.status === "rejected" && d.reason instanceof ApiError);
      setText(byId("refresh-problem"), failed?.status === "rejected" ? `${failed.reason.message} ${failed.reason.hint}` : "");
    });
  }

  /** What changes rarely: pauses, where the assets are. */
  async #askStream() {
    this.stream = await get(`/v1/streams/${this.stream.stream}`, this.#asked.signal);
    this.#assets();
    this.#books();
  }

  async #askChart() {
    const buckets = this.#buckets;
    const { window, size, range } = this.#spec;
    const every = Math.min(CHART_REFRESH_MS, (size * 1000) / 6);
    if (this.#isLive || Date.now() - (this.#chartAsked.get(buckets) ?? 0) < every) return;
    const slots = this.#slots(this.#minutes);
    const until = Math.floor((slots.at(-1)?.start ?? Date.now() / 1000) / size) * size + size;
    const asked = query({ window, from: iso(until - range), to: iso(until), measures: this.#measure.name, limit: range / size });
    const found = await get(`/v1/streams/${this.stream.stream}/rollups?${asked}`, this.#asked.signal);
    if (buckets !== this.#buckets) return;
    this.#chartAsked.set(buckets, Date.now());
    buckets.put(found.rows, true);
    this.#draw();
  }

  /** What is not as expected in the chart's range. */
  async #askAnomalies() {
    const name = this.stream.stream;
    const end = this.#slots(this.#minutes).at(-1)?.end ?? Date.now() / 1000;
    const start = end - this.#spec.range;
    const found = await get(`/v1/streams/${name}/anomalies?${query({ from: iso(start), to: iso(end) })}`, this.#asked.signal);
    this.#unusual = new Unusual(found);
    const shown = this.#unusual.since(start);
    byId("anomalies-none").hidden = shown.length > 0;
    setText(byId("anomalies-none"), this.#unusual.nothing);
    byId("anomalies").hidden = shown.length === 0;
    this.#anomalies.fill(shown, (a) => a.id, (a) => {
      const state = stateOf(a);
      return [
        times.moment(a.began, preferences.zone),
        seriesOf(a),
        el("span", { class: "level", "data-level": state.level }, state.text),
        rounded(a.observed),
        bandText(a),
      ];
    });
    this.#draw();
  }

  async #askDimension() {
    const name = this.#topName;
    if (!name.startsWith("by ")) return;
    const dimension = name.slice(3);
    const size = { "1m": 60, "5m": 300, "1h": 3600 }[this.#topWindow];
    const slots = this.#slots(this.#minutes);
    const newest = slots.findLast((s) => s.bucket)?.end ?? Date.now() / 1000;
    const start = iso(newest - size);
    const end = iso(newest);
    const asked = query({ window: "1m", from: start, to: end, group_by: dimension, measures: "count", limit: 10_000 });
    const found = await get(`/v1/streams/${this.stream.stream}/rollups?${asked}`, this.#asked.signal);
    if (name !== this.#topName) return;
    /** @type {Map<string, number>} */
    const sums = new Map();
    for (const row of found.rows) sums.set(row[dimension], (sums.get(row[dimension]) ?? 0) + row.count);
    const items = [...sums].map(([key, count]) => ({ key, count })).sort((a, b) => b.count - a.count);
    this.#dimension = { items, start, end, error: 0, masked: false };
    this.#ranking();
  }

  async #askChecks() {
    const { rows } = await get(`/v1/reconciliation?${query({ stream: this.stream.stream, limit: 12 })}`, this.#asked.signal);
    byId("checks-none").hidden = rows.length > 0;
    byId("checks").hidden = rows.length === 0;
    this.#checks.fill(rows, (r) => `${r.hour} ${r.at}`, (r) => [
      link(r.url, times.moment(r.hour, preferences.zone), `Hour ${times.moment(r.hour, preferences.zone)} in Dagster`),
      el("span", { class: "level", "data-level": r.passed ? "good" : "bad" }, r.passed ? "Agrees" : "Differs"),
      el("span", {}, badge(r.status, r.checked === false), r.waits_for ? ` waits for ${r.waits_for}` : null),
      number(r.counted),
      number(r.facts),
      number(r.explained),
      number(r.unexplained),
    ]);
  }

  async #askQuality() {
    const name = encodeURIComponent(this.stream.stream);
    const [{ rows }, { days }] = await Promise.all([
      get(`/v1/quality?${query({ stream: this.stream.stream })}`, this.#asked.signal),
      get(`/v1/streams/${name}/reports`, this.#asked.signal),
    ]);
    byId("quality-none").hidden = rows.length > 0;
    byId("quality").hidden = rows.length === 0;
    this.#quality.fill(rows, (r) => `${r.asset} ${r.check}`, (r) => {
      const result = QUALITY[/** @type {keyof typeof QUALITY} */ (r.status)] ?? QUALITY.unknown;
      return [
        words(r.check),
        el("span", { class: "level", "data-level": result.level }, result.text),
        link(r.url, r.asset, `${r.asset} in Dagster`),
        r.description,
        times.moment(r.at, preferences.zone),
      ];
    });
    const newest = [...days].sort().reverse().slice(0, DAYS);
    const links = newest.map((day) => link(`/v1/streams/${name}/reports/${day}`, day, `${day}, report of the day`));
    byId("reports").replaceChildren(...(links.length ? [el("span", {}, "Reports of days: "), ...links] : []));
  }

  #assets() {
    for (const place of document.querySelectorAll("[data-assets]")) {
      const layers = place.getAttribute("data-assets")?.split(" ") ?? [];
      const behind = this.stream.assets.filter((a) => layers.includes(a.asset.split("/")[0] ?? ""));
      const links = behind.map((a) => link(a.url, a.asset, `${a.asset} in Dagster`));
      place.replaceChildren(...(links.length ? [el("span", {}, "Assets: "), ...links] : []));
    }
    keyed(
      byId("assets"),
      this.stream.assets,
      (a) => a.asset,
      () => el("li"),
      (item, a) => item.replaceChildren(link(a.url, a.asset, `${a.asset} in Dagster`), el("span", { class: "soft" }, ` ${a.description}`)),
    );
  }
}

/** @param {number} seconds */
function iso(seconds) {
  return new Date(seconds * 1000).toISOString();
}

/** @param {string} name @param {verdict.Answer} a */
function answer(name, a) {
  const place = byId(`answer-${name}`);
  setAttribute(place, "data-level", a.level);
  setText(/** @type {Element} */ (place.querySelector(".value")), a.value);
  setText(/** @type {Element} */ (place.querySelector(".note")), a.text);
}

/** @param {string} name of radio buttons @param {string} now @param {(value: string) => void} chosen */
function pressed(name, now, chosen) {
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
    if (!(input instanceof HTMLInputElement)) continue;
    input.checked = input.value === now;
    input.onchange = () => chosen(input.value);
  }
}
