// The live connection: server-sent events that come back by themselves, and asking every few seconds where they can't.

import { authorization, get, problemOf } from "./api.js";
import { backoffMs } from "./backoff.js";
import { EventParser } from "./sse.js";

/** The server sends something every 5 s: three times that is silence. */
const SILENCE_MS = 15_000;
/** A proxy that holds events back still lets single answers through. */
const FAILURES_BEFORE_POLLING = 4;
const POLL_MS = 5_000;

/** @typedef {"connecting" | "live" | "polling" | "lost"} State */
/**
 * @typedef {object} Listener
 * @property {(state: State, since: number, problem: string) => void} state
 * @property {(data: any, whole: boolean) => void} numbers
 * @property {(problem: { detail: string, hint?: string } | null) => void} problem
 * @property {() => void} heard anything at all came: the server is there
 * @property {() => void} unauthorized
 */

export class Live {
  #stopped = new AbortController();
  /** @type {AbortController | null} */
  #attempt = null;
  /** @type {string | null} */
  #lastId = null;
  #failures = 0;
  /** @type {State} */
  #state = "connecting";

  /** @param {string} stream @param {string} window @param {Listener} listener */
  constructor(stream, window, listener) {
    this.path = `/v1/streams/${encodeURIComponent(stream)}`;
    this.window = window;
    this.listener = listener;
    void this.#run();
  }

  stop() {
    this.#stopped.abort();
    this.#attempt?.abort();
  }

  /** Tries at once: the network is back, or the page is looked at again. */
  hurry() {
    if (this.#state !== "live") this.#wake?.();
  }

  /** @type {(() => void) | null} */
  #wake = null;

  async #run() {
    while (!this.#stopped.signal.aborted) {
      let problem = "";
      try {
        await this.#listen();
      } catch (error) {
        problem = error instanceof Error && error.name !== "AbortError" ? error.message : "";
      }
      if (this.#stopped.signal.aborted) return;
      this.#failures += 1;
      if (this.#failures >= FAILURES_BEFORE_POLLING && (await this.#poll())) this.#set("polling", "");
      else this.#set("lost", problem);
      await this.#wait(this.#state === "polling" ? POLL_MS : backoffMs(this.#failures));
    }
  }

  async #listen() {
    const attempt = new AbortController();
    this.#attempt = attempt;
    let timer = setTimeout(() => attempt.abort(), SILENCE_MS);
    try {
      const response = await fetch(`${this.path}/live?window=${this.window}`, {
        headers: { Accept: "text/event-stream", ...authorization(), ...(this.#lastId ? { "Last-Event-ID": this.#lastId } : {}) },
        signal: attempt.signal,
        cache: "no-store",
      });
      if (response.status === 401) this.listener.unauthorized();
      if (!response.ok || !response.body) throw await problemOf(response);
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => attempt.abort(), SILENCE_MS);
        this.listener.heard();
        for (const event of parser.push(value)) this.#take(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {import("./sse.js").ServerEvent} event */
  #take(event) {
    if (event.type === "bye") {
      this.#attempt?.abort();
      return;
    }
    if (event.id) this.#lastId = event.id;
    this.#failures = 0;
    this.#set("live", "");
    if (event.type === "problem") this.listener.problem(JSON.parse(event.data));
    else if (event.type === "snapshot" || event.type === "numbers") {
      this.listener.problem(null);
      this.listener.numbers(JSON.parse(event.data), event.type === "snapshot");
    }
  }

  /** One answer of each kind, put together as a snapshot. */
  async #poll() {
    try {
      const [stream, rollups, top] = await Promise.all([
        get(this.path, this.#stopped.signal),
        get(`${this.path}/rollups?window=1m&measures=count,late,duplicates`, this.#stopped.signal),
        get(`${this.path}/top?window=${this.window}&limit=10`, this.#stopped.signal),
      ]);
      const minutes = rollups.rows.map((/** @type {any} */ r) => ({ ...r, minute: r.window_start }));
      const tops = Object.fromEntries(top.tops.map((/** @type {any} */ t) => [t.top, t]));
      this.listener.heard();
      this.listener.problem(null);
      this.listener.numbers({ ...stream, minutes, tops, problems: [] }, true);
      return true;
    } catch {
      return false;
    }
  }

  /** @param {State} state @param {string} problem */
  #set(state, problem) {
    if (state === this.#state && state === "live") return;
    const changed = state !== this.#state;
    this.#state = state;
    if (changed) this.#since = Date.now();
    this.listener.state(state, this.#since, problem);
  }

  #since = Date.now();

  /** @param {number} wait */
  async #wait(wait) {
    await new Promise((/** @type {(value: void) => void} */ done) => {
      const timer = setTimeout(done, wait);
      this.#wake = () => (clearTimeout(timer), done());
    });
    this.#wake = null;
  }
}
