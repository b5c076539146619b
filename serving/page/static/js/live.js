// The live connection: server-sent events that come back by themselves, and asking every few seconds where they can't.

import { ApiError, authorization, get, problemOf } from "./api.js";
import { backoffMs } from "./backoff.js";
import { EventParser } from "./sse.js";

/** The server sends something every 5 s: three times that is silence. */
const SILENCE_MS = 15_000;
/** A proxy that holds events back still lets single answers through. */
const FAILURES_BEFORE_POLLING = 4;
const POLL_MS = 5_000;

/**
 * refused: the server answers, but gives no numbers; lost: it does not answer.
 * @typedef {"connecting" | "live" | "polling" | "refused" | "lost"} State
 */
/** @typedef {import("./api.js").Api} Api */
/**
 * What changed of a stream, or all of it.
 * @typedef {Partial<Api["Stream"]> & { minutes: Record<string, any>[], tops: Record<string, Api["TopShape"]>, problems: string[] }} Numbers
 */
/**
 * @typedef {object} Listener
 * @property {(state: State, since: number, why: string) => void} state
 * @property {(data: Numbers, whole: boolean) => void} numbers
 * @property {() => void} unchanged the server looked, and nothing is new
 * @property {(detail: string) => void} problem the server can't look
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
      /** @type {unknown} */
      let cause;
      try {
        await this.#listen();
      } catch (error) {
        cause = error;
      }
      if (this.#stopped.signal.aborted) return;
      this.#failures += 1;
      if (this.#failures >= FAILURES_BEFORE_POLLING && (await this.#poll())) this.#set("polling", "");
      else if (cause instanceof ApiError) this.#set("refused", cause.message);
      else this.#set("lost", "");
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
    const data = JSON.parse(event.data);
    if (event.type === "problem") this.listener.problem(data.detail);
    else if (event.type === "heartbeat") this.listener.unchanged();
    else this.listener.numbers(data, event.type === "snapshot");
  }

  /** One answer of each kind, put together as a snapshot. */
  async #poll() {
    try {
      const [stream, rollups, top] = await Promise.all([
        get(this.path, this.#stopped.signal),
        get(`${this.path}/rollups?window=1m&measures=count,late,duplicates`, this.#stopped.signal),
        get(`${this.path}/top?window=${this.window}&limit=10`, this.#stopped.signal),
      ]);
      const minutes = rollups.rows.map((/** @type {Api["Row"]} */ r) => ({ ...r, minute: r.window_start }));
      const tops = Object.fromEntries(top.tops.map((/** @type {Api["TopShape"]} */ t) => [t.top, t]));
      this.listener.numbers({ ...stream, minutes, tops, problems: [] }, true);
      return true;
    } catch {
      return false;
    }
  }

  /** @param {State} state @param {string} why */
  #set(state, why) {
    if (state !== this.#state) this.#since = Date.now();
    this.#state = state;
    this.listener.state(state, this.#since, why);
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
