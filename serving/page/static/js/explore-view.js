// Questions to one stream: the answer by time, by value and in all, against before, and the way to take it along.

import { announce } from "./announce.js";
import { ApiError, get, query, toBeShown } from "./api.js";
import { BreakdownChart, WHOLE, coloursOf } from "./breakdown-chart.js";
import { DRAWN, slotsOf, totalsOf } from "./breakdown.js";
import { showStatus } from "./connection.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { measuresOf } from "./measures.js";
import { NONE, capital, change, number, percent, plural, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import { badge, showProvenance } from "./provenance.js";
import { RANGES, WINDOWS, filtersOf, fits, iso, parseQuestion, shiftOf, spanOf, windowNames, writeQuestion } from "./question.js";
import { showRanking } from "./ranking.js";
import { makeTable } from "./rows.js";
import { editView } from "./saved-views.js";
import { SURE, bucketOf } from "./series.js";
import { download, lineOf } from "./takeaway.js";
import * as times from "./times.js";

/** @typedef {import("./api.js").Api["Stream"]} Stream */
/** @typedef {import("./api.js").Api["Rollups"]} Rollups */
/** @typedef {import("./breakdown.js").Slot} Slot */
/** @typedef {import("./breakdown.js").Total} Total */
/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./question.js").Span} Span */
/**
 * @typedef {object} Answer
 * @property {Question} question
 * @property {Span} span
 * @property {Slot[]} slots
 * @property {Total[]} totals
 * @property {Row | undefined} all
 * @property {number | null} before
 * @property {string[]} values those that are drawn
 * @property {boolean} hasRest
 */
/** @typedef {import("./api.js").Api["Row"]} Row */

/** Values in the table; all of them are in the CSV. */
const LISTED = 100;
const TOP = 10;
const REFRESH_MS = 10_000;
/** Wide windows, and ranges that are over, move slowly. */
const SLOW_REFRESH_MS = 60_000;
const SIZES = { "1m": "1 minute", "5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour", "3h": "3 hours", "1d": "1 day (UTC)" };
const AGAINST = { before: "the period before", week: "a week before" };
const NOTHING = { before: "nothing in the period before", week: "nothing a week before" };

export class ExploreView {
  #question;
  /** @type {Answer | null} */
  #answer = null;
  #asked = new AbortController();
  #askedAt = 0;
  #chart;
  #table = makeTable("In all, the largest first", [
    { name: "Value" },
    { name: "Number", kind: "numeric" },
    { name: "Share", kind: "numeric" },
    { name: "Change", kind: "numeric" },
    { name: "Before", kind: "numeric" },
  ]);
  #windows = makeTable("By time, newest first", [{ name: "Start" }, { name: "Number", kind: "numeric" }, { name: "Before", kind: "numeric" }, { name: "Status" }, { name: "Where from" }]);
  #timer = setInterval(() => this.#refresh(), 1000);

  /** @param {Stream} stream @param {string} question as the address has it @param {() => void} unauthorized @param {(why: string) => void} needsKey */
  constructor(stream, question, unauthorized, needsKey) {
    this.stream = stream;
    this.unauthorized = unauthorized;
    this.needsKey = needsKey;
    this.#question = this.#take(question);
    setText(byId("explore-name"), capital(words(stream.stream)));
    this.#chart = new BreakdownChart(byId("explore-chart"), { pick: (slot) => this.#explain(slot), look: (slot) => this.#look(slot) });
    byId("explore-totals").replaceChildren(this.#table.whole);
    byId("explore-windows").replaceChildren(this.#windows.whole);
    this.#choices();
    this.#controls();
    void this.#ask();
  }

  stop() {
    clearInterval(this.#timer);
    this.#asked.abort();
    this.#chart.remove();
    delete document.body.dataset.connection;
  }

  /** Another question, as the address has it. @param {string} question */
  ask(question) {
    this.#question = this.#take(question);
    this.#controls();
    void this.#ask();
  }

  recolour() {
    this.#chart.redraw();
    this.#controls();
    this.#render();
  }

  /** @param {string} text */
  #take(text) {
    const { question, problems } = parseQuestion(text, this.stream);
    setText(byId("explore-misread"), problems.join(" "));
    byId("explore-saved").replaceChildren();
    return question;
  }

  /** The reader's choice goes into the address, and comes back from there. @param {Partial<Question>} changed */
  #choose(changed) {
    const written = writeQuestion({ ...this.#question, ...changed });
    location.hash = `#/${encodeURIComponent(this.stream.stream)}/explore${written ? `?${written}` : ""}`;
  }

  /** The question as it is asked: a range such as 24 h goes on moving. */
  #save() {
    const draft = { name: byId("explore-title").textContent ?? "", stream: this.stream.stream, question: writeQuestion(this.#question), shared: false };
    editView(draft, null, this.needsKey, () => byId("explore-saved").replaceChildren("Saved: ", el("a", { href: "#/saved-views" }, "all saved views")));
  }

  get #measure() {
    const measures = measuresOf(this.stream);
    return measures.find((m) => m.name === this.#question.measure) ?? /** @type {import("./measures.js").Measure} */ (measures[0]);
  }

  get #span() {
    return this.#spanOf(this.#question);
  }

  /** @param {Question} question */
  #spanOf(question) {
    const newest = this.stream.newest_minute ? Date.parse(this.stream.newest_minute) / 1000 : null;
    return spanOf(question, Date.now() / 1000, newest);
  }

  #choices() {
    const { dimensions, tops } = this.stream;
    options("explore-measure", measuresOf(this.stream).map((m) => [m.name, m.text]), (measure) => this.#choose({ measure }));
    options("explore-by", [["", "Nothing"], ...dimensions.map((d) => /** @type {[string, string]} */ ([d, capital(words(d))]))], (by) => this.#choose({ by }));
    options("explore-against", [["", "Nothing"], ...Object.entries(AGAINST).map(([k, v]) => /** @type {[string, string]} */ ([k, capital(v)]))], (against) =>
      this.#choose({ against: /** @type {Question["against"]} */ (against) }),
    );
    options("explore-window", [["", "As fits"], ...windowNames().map((w) => /** @type {[string, string]} */ ([w, SIZES[w]]))], (window) =>
      this.#choose({ window: /** @type {Question["window"]} */ (window) }),
    );
    for (const input of inputs("explore-range")) input.onchange = () => this.#choose({ range: /** @type {Question["range"]} */ (input.value) });
    byId("explore-yesterday").onclick = () => {
      const [from, to] = times.yesterday(preferences.zone);
      this.#choose({ range: "", from: from / 1000, to: to / 1000 });
    };
    byId("explore-times", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      const [from, to] = ["explore-from", "explore-to"].map((id) => times.read(byId(id, HTMLInputElement).value, preferences.zone));
      const isRange = from != null && to != null && from < to;
      setText(byId("explore-misread"), isRange ? "" : "Choose a beginning that lies before the end.");
      if (isRange) this.#choose({ range: "", from: from / 1000, to: to / 1000 });
    };
    options("explore-top", tops.map((t) => [t, capital(words(t))]), () => void this.#askTop(this.#span));
    byId("explore-top-panel").hidden = tops.length === 0;
    byId("explore-save").onclick = () => this.#save();
    byId("explore-details", HTMLDetailsElement).ontoggle = () => this.#render();
    for (const button of document.querySelectorAll("#takeaway button")) {
      if (button instanceof HTMLButtonElement) button.onclick = () => void this.#takeAlong(button.value);
    }
  }

  /** What the controls say is what is asked. */
  #controls() {
    const q = this.#question;
    const span = this.#span;
    const length = span.end - span.start;
    byId("explore-measure", HTMLSelectElement).value = q.measure;
    byId("explore-by", HTMLSelectElement).value = q.by;
    byId("explore-against", HTMLSelectElement).value = q.against;
    const select = byId("explore-window", HTMLSelectElement);
    for (const option of select.options) option.disabled = option.value !== "" && !fits(/** @type {Question["window"]} */ (option.value), length);
    setText(/** @type {Element} */ (select.options[0]), `As fits: ${SIZES[this.#spanOf({ ...q, window: "" }).window]}`);
    select.value = q.window === span.window ? q.window : "";
    for (const input of inputs("explore-range")) input.checked = input.value === q.range;
    const [from, to] = q.range ? [span.start, span.end] : [q.from, q.to];
    byId("explore-from", HTMLInputElement).value = times.written(from * 1000, preferences.zone);
    byId("explore-to", HTMLInputElement).value = times.written(to * 1000, preferences.zone);
    const chips = q.where.map(([dimension, value]) =>
      el(
        "li",
        {},
        el(
          "button",
          { class: "chip", "aria-label": `Remove the filter ${words(dimension)} ${value}`, click: () => this.#choose({ where: q.where.filter(([d, v]) => d !== dimension || v !== value) }) },
          `${capital(words(dimension))}: ${value || "(empty)"}`,
          el("span", { "aria-hidden": "true" }, " ✕"),
        ),
      ),
    );
    byId("explore-filters").replaceChildren(...chips);
  }

  #refresh() {
    const isSlow = !this.#question.range || this.#span.size > 300;
    if (!document.hidden && Date.now() - this.#askedAt > (isSlow ? SLOW_REFRESH_MS : REFRESH_MS)) void this.#ask(true);
  }

  /** @param {boolean} [isAgain] the same question as before */
  async #ask(isAgain = false) {
    this.#asked.abort();
    const asked = (this.#asked = new AbortController());
    this.#askedAt = Date.now();
    const question = this.#question;
    const result = byId("explore-result");
    setAttribute(result, "aria-busy", "true");
    try {
      if (isAgain && question.range) this.stream = await get(`/v1/streams/${encodeURIComponent(this.stream.stream)}`, asked.signal);
      const span = this.#span;
      this.#answer = await this.#answerTo(question, span, asked.signal);
      setText(byId("explore-problem"), "");
      showStatus("Up to date", `as of ${times.second(this.#askedAt, preferences.zone)}`, "live");
      delete result.dataset.old;
      this.#render();
      setAttribute(result, "aria-busy", null);
      if (!isAgain) announce(["explore-title", "explore-number", "explore-when", "explore-change"].map((id) => byId(id).textContent).join(", "));
      await this.#askTop(span, asked.signal);
    } catch (error) {
      const shown = toBeShown(error, asked.signal, this.unauthorized);
      if (!shown) return;
      setText(byId("explore-problem"), `${shown.message} ${shown.hint}`);
      setAttribute(result, "aria-busy", null);
      result.dataset.old = "";
      if (shown.status !== 0 && shown.status < 500) return;
      showStatus(`No numbers since ${times.second(this.#askedAt, preferences.zone)}. Trying again. ${shown.message}`, "", "lost");
    }
  }

  /** First how large each value is, then the largest of them by time: however many values there are, the answer is small.
   * @param {Question} q @param {Span} span @param {AbortSignal} signal @returns {Promise<Answer>} */
  async #answerTo(q, span, signal) {
    const measure = this.#measure;
    const where = filtersOf(q);
    const shift = shiftOf(q, span);
    const measures = measure.name === "count" ? "count" : `count,${measure.name}`;
    // Of what is not over yet, as much of before as there is of now.
    const reached = Math.min(span.end, Math.max(span.start, Math.floor(Date.now() / 60_000) * 60) + 60);
    /** @param {Record<string, string | readonly string[]>} more @param {number} back @param {number} [end] @returns {Promise<Row[]>} */
    const rows = async (more, back, end = span.end) => {
      const range = { from: iso(span.start - back), to: iso(end - back) };
      const path = `/v1/streams/${encodeURIComponent(this.stream.stream)}/rollups`;
      return (await get(`${path}?${query({ measures, where, ...range, ...more })}`, signal)).rows;
    };
    const nothing = Promise.resolve(/** @type {Row[]} */ ([]));
    const [whole, all, totals, before, allBefore, totalsBefore] = await Promise.all([
      rows({ window: span.window }, 0),
      rows({ window: "range" }, 0),
      q.by ? rows({ window: "range", group_by: q.by }, 0) : nothing,
      shift ? rows({ window: span.window }, shift) : nothing,
      shift ? rows({ window: "range" }, shift, reached) : nothing,
      shift && q.by ? rows({ window: "range", group_by: q.by }, shift, reached) : nothing,
    ]);
    const sorted = totalsOf(q.by ? totals : all, q.by ? totalsBefore : allBefore, q.by, measure.name, measure.isSum);
    const values = q.by ? sorted.slice(0, DRAWN).map((t) => t.value) : [];
    const others = where.filter((w) => !w.startsWith(`${q.by}:`));
    const parts = values.length ? await rows({ window: span.window, group_by: q.by, where: [...others, ...values.map((v) => `${q.by}:${v}`)] }, 0) : [];
    const hasRest = measure.isSum && sorted.length > values.length && q.by !== "";
    const slots = slotsOf(span, measure.name, whole, parts, q.by, values, hasRest, before, shift);
    const first = /** @type {number | null | undefined} */ (allBefore[0]?.[measure.name]);
    return { question: q, span, slots, totals: sorted, all: all[0], before: first ?? null, values, hasRest };
  }

  #render() {
    const answer = this.#answer;
    if (!answer) return;
    const { question: q, span, slots, all } = answer;
    const measure = this.#measure;
    const zone = preferences.zone;
    const sure = all ? bucketOf(all).sure : null;
    const isSum = measure.isSum;
    const lines = q.by ? [...answer.values.map((name, i) => ({ name: name || "(empty)", ...coloursOf(i, false) })), ...(answer.hasRest ? [{ name: "other", ...coloursOf(DRAWN, true) }] : [])] : [{ name: measure.text, ...WHOLE }];
    const against = q.against ? AGAINST[q.against] : "";
    this.#chart.show(slots, { label: measure.label, isStacked: isSum || !q.by, lines, beforeText: against });
    const title = `${measure.text} by ${SIZES[span.window].replace(/^1 /, "")}${q.by ? ` and ${words(q.by)}` : ""}`;
    setText(byId("explore-title"), title);
    setAttribute(byId("explore-chart"), "aria-label", title);
    const now = all ? /** @type {number | null} */ (all[measure.name] ?? null) : null;
    setText(byId("explore-number"), number(now));
    const days = times.period(span.start * 1000, span.end * 1000, zone);
    const state = !all ? "no events" : sure === "open" ? el("span", { class: "badge provisional" }, SURE.open.label) : badge(all.status, all.unchecked);
    const part = all && all.status !== "final" && all.final_share > 0 ? ` ${percent(all.final_share)} of it final` : "";
    byId("explore-when").replaceChildren(`${measure.label}, ${days} `, state, part);
    const compared = answer.before === null ? "" : `${change(now, answer.before)} against ${against}: ${number(answer.before)}`;
    setText(byId("explore-change"), q.against ? compared || NOTHING[q.against] : "");
    const used = new Set(slots.map((s) => s.sure));
    for (const kind of Object.keys(SURE)) byId(`explore-legend-${kind}`).hidden = !used.has(/** @type {any} */ (kind));
    byId("explore-legend-before").hidden = !slots.some((s) => s.before !== null);
    byId("explore-legend").replaceChildren(
      ...(q.by ? lines.map((l, i) => el("li", {}, swatch(l.name === "other" && answer.hasRest && i === lines.length - 1 ? "rest" : String(i + 1)), l.name)) : []),
    );
    this.#tabulate(answer);
  }

  /** @param {Answer} answer */
  #tabulate({ question: q, slots, totals, values }) {
    const listed = totals.slice(0, LISTED);
    const hasBefore = q.against !== "";
    this.#table.fill(q.by ? listed : [], (t) => t.value, (t) => {
      const place = values.indexOf(t.value);
      const mark = place < 0 ? swatch("rest") : swatch(String(place + 1));
      const isOn = totals.length === 1 && q.where.some(([d, v]) => d === q.by && v === t.value);
      const name = t.value || "(empty)";
      const pick = el("button", { class: "link", "aria-label": `Only ${words(q.by)} ${name}`, disabled: isOn, click: () => this.#filter(t.value) }, name);
      return [el("span", { class: "value" }, mark, pick), number(t.number), percent(t.share), hasBefore ? change(t.number, t.before) : NONE, hasBefore ? number(t.before) : NONE];
    });
    byId("explore-totals-panel").hidden = !q.by;
    setText(byId("explore-totals-note"), totals.length > LISTED ? `${LISTED} of ${plural(totals.length, "value")}; the CSV has all.` : "");
    setText(byId("explore-by-note"), this.#measure.isSum ? "" : "The values do not add up to the whole: the share is that of the events.");
    if (!byId("explore-details", HTMLDetailsElement).open) return;
    const shown = slots.filter((s) => s.sure).reverse();
    this.#windows.fill(shown, (s) => String(s.start), (s) => {
      const when = times.moment(s.start * 1000, preferences.zone);
      const where = el("button", { class: "link", "aria-label": `Show where the number of ${when} comes from`, click: () => this.#explain(s) }, "Show");
      return [when, number(s.whole), number(s.before), s.sure ? SURE[s.sure].label : "", where];
    });
  }

  /** This value alone. @param {string} value */
  #filter(value) {
    const { by, where } = this.#question;
    this.#choose({ where: [...where.filter(([dimension]) => dimension !== by), [by, value]] });
  }

  /** @param {Slot} slot */
  #explain(slot) {
    if (this.#answer) void showProvenance(this.stream.stream, this.#answer.span.window, slot.start, filtersOf(this.#answer.question));
  }

  /** @param {Slot | null} slot */
  #look(slot) {
    setText(byId("explore-look"), slot ? this.#chart.text(slot) : "");
  }

  /** @param {Span} span @param {AbortSignal} [signal] */
  async #askTop(span, signal) {
    const name = byId("explore-top", HTMLSelectElement).value;
    if (!name) return;
    try {
      const asked = query({ top: name, from: iso(span.start), to: iso(span.end), limit: TOP });
      const { tops } = await get(`/v1/streams/${encodeURIComponent(this.stream.stream)}/top?${asked}`, signal);
      const top = tops[0];
      showRanking(byId("explore-ranking"), top.items);
      const hidden = top.masked ? "; names of people are hidden" : "";
      const exact = top.error ? `counts are up to ${number(top.error)} too high` : "exact";
      const all = this.#question.where.length ? "; of all events, without the filters" : "";
      setText(byId("explore-top-note"), top.items.length ? `${capital(exact)}${hidden}${all}.` : "Nothing in this range.");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      showRanking(byId("explore-ranking"), []);
      setText(byId("explore-top-note"), `${error.message} ${error.hint}`);
    }
  }

  /** What is asked, for others than the page: every value by time. */
  get #parameters() {
    const { question: q, span } = /** @type {Answer} */ (this.#answer);
    const measures = q.measure === "count" ? "count" : `count,${q.measure}`;
    return { window: span.window, from: iso(span.start), to: iso(span.end), group_by: q.by, where: filtersOf(q), measures };
  }

  /** @param {string} kind */
  async #takeAlong(kind) {
    if (!this.#answer) return;
    const { stream } = this.stream;
    const note = byId("takeaway-note");
    const place = byId("takeaway-text");
    setText(note, "");
    try {
      if (kind === "csv" || kind === "arrow") {
        await download(kind, stream, this.#parameters);
        setText(note, "Saved.");
        place.hidden = true;
        return;
      }
      const text = kind === "link" ? this.#link() : await lineOf(/** @type {import("./takeaway.js").Language} */ (kind), stream, this.#parameters);
      setText(place, text);
      place.hidden = false;
      setText(note, (await isCopied(text)) ? "Copied." : "Select the text and copy it.");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(note, `${error.message} ${error.hint}`);
    }
  }

  /** To what is seen now, and to the same tomorrow. */
  #link() {
    const { question, span } = /** @type {Answer} */ (this.#answer);
    const fixed = writeQuestion({ ...question, range: "", from: span.start, to: span.end, window: span.window });
    return `${location.origin}/#/${encodeURIComponent(this.stream.stream)}/explore?${fixed}`;
  }
}

/** @param {string} text */
async function isCopied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not allowed, or the page came without TLS
  }
}

/** @param {string} name */
function swatch(name) {
  return el("span", { class: `swatch series-${name}`, "aria-hidden": "true" });
}

/** @param {string} id @param {[string, string][]} choices @param {(value: string) => void} chosen */
function options(id, choices, chosen) {
  const select = byId(id, HTMLSelectElement);
  select.replaceChildren(...choices.map(([value, text]) => el("option", { value }, text)));
  select.onchange = () => chosen(select.value);
}

/** @param {string} name of radio buttons */
function inputs(name) {
  return /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll(`input[name="${name}"]`)]);
}
