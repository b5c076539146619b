// What became of one event: looked for by its id, and followed from Kafka to the numbers that people read.

import { get, query, toBeShown } from "./api.js";
import { showStatus } from "./connection.js";
import { byId, el, link, pages, setText } from "./dom.js";
import { capital, number, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import * as times from "./times.js";

/** @typedef {import("./api.js").Api["Trace"]} Trace */
/** @typedef {import("./api.js").Api["TraceStep"]} Step */

const VERDICTS = {
  fact: "Counted: it is a fact",
  duplicate: "A duplicate: counted once already",
  quarantined: "Quarantined: it breaks its contract",
  "dead letter": "A dead letter: it could not be read, or breaks its contract",
  open: "On its way: the batch layer has not built its hour",
};

export class EventView {
  #asked = new AbortController();
  /** @type {Trace[]} */
  #traces = [];

  /** @param {readonly string[]} streams @param {string} id none: nothing is looked for yet @param {string} question as the address has it
   * @param {() => void} unauthorized */
  constructor(streams, id, question, unauthorized) {
    const stream = new URLSearchParams(question).get("stream") ?? "";
    this.unauthorized = unauthorized;
    const select = byId("event-stream", HTMLSelectElement);
    select.replaceChildren(el("option", { value: "" }, "All streams"), ...streams.map((s) => el("option", { value: s }, capital(words(s)))));
    select.value = streams.includes(stream) ? stream : "";
    const input = byId("event-id", HTMLInputElement);
    input.value = id;
    byId("event-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      const asked = query({ stream: select.value });
      const hash = `#/find-event/${encodeURIComponent(input.value.trim())}${asked ? `?${asked}` : ""}`;
      if (location.hash === hash) void this.#find(input.value.trim(), select.value);
      else location.hash = hash;
    };
    showStatus("No numbers are shown.", "");
    if (id) void this.#find(id, stream);
    else this.#say("");
    if (!id) input.focus();
  }

  stop() {
    this.#asked.abort();
  }

  recolour() {
    this.#render();
  }

  /** @param {string} id @param {string} stream */
  async #find(id, stream) {
    this.#asked.abort();
    const asked = (this.#asked = new AbortController());
    this.#say("Looking through the lake, the newest hours first…");
    try {
      const found = await get(`/v1/lineage/${encodeURIComponent(id)}?${query({ stream })}`, asked.signal);
      this.#say("");
      this.#traces = found.traces;
      this.#render();
    } catch (error) {
      const shown = toBeShown(error, asked.signal, this.unauthorized);
      if (shown) this.#say(`${shown.message} ${shown.hint}`);
    }
  }

  /** @param {string} text in place of an answer */
  #say(text) {
    this.#traces = [];
    this.#render();
    setText(byId("event-note"), text);
  }

  #render() {
    byId("event-traces").replaceChildren(...this.#traces.map(described));
  }
}

/** @param {Trace} t */
function described(t) {
  const zone = preferences.zone;
  const happened = t.event_time ? `, happened ${times.moment(t.event_time, zone)}` : "";
  return el(
    "section",
    { class: "panel" },
    el("h2", {}, `${capital(words(t.stream))}: ${VERDICTS[t.verdict]}`),
    el("p", { class: "soft" }, `${t.topic}, partition ${t.partition}, offset ${number(t.offset)}; came ${times.moment(t.ingest_time, zone)}${happened}.`),
    el("ol", { class: "steps" }, ...t.steps.map(step)),
  );
}

/** @param {Step} s */
function step(s) {
  const run = s.run_id ? el("span", { class: "soft line" }, "Run ", el("code", {}, s.run_id.slice(0, 8)), s.partition ? `, ${s.partition}` : "") : null;
  const at = s.at ? el("span", { class: "soft line" }, times.moment(s.at, preferences.zone)) : null;
  return el("li", {}, el("strong", {}, link(s.url, s.asset, `${s.asset} in Dagster`)), ` ${s.description}`, at, run, ...pages(s));
}
