// Every stream that the reader may see, on one page.

import { get, toBeShown } from "./api.js";
import { showStatus } from "./connection.js";
import { byId, el, setText } from "./dom.js";
import { capital, number, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import { checked } from "./quality.js";
import { makeTable } from "./rows.js";
import * as verdict from "./verdict.js";

const REFRESH_MS = 10_000;

export class AllStreamsView {
  #asked = new AbortController();
  #timer = setInterval(() => void this.#ask(), REFRESH_MS);
  #asking = false;
  /** @type {{ streams: import("./api.js").Api["Stream"][], rows: import("./quality.js").Check[] } | null} */
  #found = null;
  #table = makeTable("Streams, those with most events first", [
    { name: "Stream" },
    { name: "What it is", kind: "wide" },
    { name: "Owner" },
    { name: "Events in 10 min", kind: "numeric" },
    { name: "Behind" },
    { name: "Final until" },
    { name: "Checks" },
  ]);

  /** @param {() => void} unauthorized */
  constructor(unauthorized) {
    this.unauthorized = unauthorized;
    byId("all-streams").replaceChildren(this.#table.whole);
    showStatus("Asking…", "");
    void this.#ask();
  }

  stop() {
    clearInterval(this.#timer);
    this.#asked.abort();
    delete document.body.dataset.connection;
  }

  recolour() {
    this.#render();
  }

  async #ask() {
    if (this.#asking || (document.hidden && this.#found)) return;
    this.#asking = true;
    try {
      const [{ streams }, { rows }] = await Promise.all([get("/v1/streams", this.#asked.signal), get("/v1/quality?limit=1000", this.#asked.signal)]);
      this.#found = { streams, rows };
      showStatus("Live", "asked every 10 s", "live");
      this.#render();
    } catch (error) {
      const shown = toBeShown(error, this.#asked.signal, this.unauthorized);
      if (shown) showStatus(`${shown.message} Trying again.`, undefined, "lost");
    } finally {
      this.#asking = false;
    }
  }

  #render() {
    if (!this.#found) return;
    const { streams, rows } = this.#found;
    const now = Date.now();
    const ordered = [...streams].sort((a, b) => b.recent_events - a.recent_events || a.stream.localeCompare(b.stream));
    this.#table.fill(ordered, (s) => s.stream, (s) => [
      el("a", { href: `#/${s.stream}/about` }, capital(words(s.stream))),
      s.description,
      s.owner,
      number(s.recent_events),
      level(verdict.fresh(s, 0)),
      level(verdict.final(s, preferences.zone, now)),
      level(checked(rows.filter((r) => r.stream === s.stream))),
    ]);
  }
}

/** @param {{ level: string, text: string, value?: string }} said */
function level(said) {
  return el("span", { class: "level", "data-level": said.level }, said.value ?? said.text);
}
