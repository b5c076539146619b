// The views that readers keep: the reader's own, and those that others share.

import { ApiError, get, toBeShown } from "./api.js";
import { showStatus } from "./connection.js";
import { byId, el, setText } from "./dom.js";
import { measuresOf } from "./measures.js";
import { capital, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import { parseQuestion } from "./question.js";
import { makeTable } from "./rows.js";
import { deleteView, editView } from "./saved-views.js";
import * as times from "./times.js";

/** @typedef {import("./api.js").Api["Stream"]} Stream */
/** @typedef {import("./saved-views.js").SavedView} SavedView */

export class SavedViewsView {
  #asked = new AbortController();
  /** @type {SavedView[]} */
  #views = [];
  #table = makeTable("By name", [{ name: "Name", kind: "wide" }, { name: "Stream" }, { name: "Asks for", kind: "wide" }, { name: "Saved by" }, { name: "Seen by" }, { name: "Changed" }, { name: "Your own" }]);

  /** @param {readonly Stream[]} streams @param {() => void} unauthorized @param {(why: string) => void} needsKey */
  constructor(streams, unauthorized, needsKey) {
    this.streams = streams;
    this.unauthorized = unauthorized;
    this.needsKey = needsKey;
    byId("saved-views").replaceChildren(this.#table.whole);
    byId("saved-views").hidden = true;
    setText(byId("saved-views-note"), "");
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
    try {
      ({ views: this.#views } = await get("/v1/saved-views", this.#asked.signal));
      showStatus("Up to date", undefined, "live");
      this.#render();
    } catch (error) {
      const shown = toBeShown(error, this.#asked.signal, this.unauthorized);
      if (!shown) return;
      setText(byId("saved-views-note"), `${shown.message} ${shown.hint}`);
      showStatus("No views are shown.");
    }
  }

  #render() {
    byId("saved-views").hidden = this.#views.length === 0;
    byId("saved-views-none").hidden = this.#views.length > 0;
    this.#table.fill(this.#views, (v) => v.id, (v) => [
      el("a", { href: addressOf(v) }, v.name),
      capital(words(v.stream)),
      this.#asksFor(v),
      v.owner,
      v.shared ? "All readers" : "You alone",
      times.moment(v.changed_at, preferences.zone),
      v.own ? this.#changes(v) : "",
    ]);
  }

  /** @param {SavedView} view */
  #asksFor(view) {
    const stream = this.streams.find((s) => s.stream === view.stream);
    if (!stream) return "The stream is not here any more.";
    const { question: q, problems } = parseQuestion(view.question, stream);
    const measure = measuresOf(stream).find((m) => m.name === q.measure)?.text ?? q.measure;
    const range = q.range || times.period(q.from * 1000, q.to * 1000, preferences.zone);
    const said = [measure, q.by && `by ${words(q.by)}`, ...q.where.map(([d, v]) => `${words(d)} ${v || "(empty)"}`), range].filter(Boolean).join(", ");
    return problems.length ? `${said}. Not all of it can be asked any more.` : said;
  }

  /** @param {SavedView} view */
  #changes({ id, name }) {
    return el(
      "span",
      { class: "controls" },
      el("button", { class: "quiet", "aria-label": `Rename or share ${name}`, click: () => this.#edit(id) }, "Rename, share"),
      el("button", { class: "quiet", "aria-label": `Delete ${name}`, click: () => void this.#delete(id) }, "Delete"),
    );
  }

  /** @param {string} id */
  #edit(id) {
    const view = this.#views.find((v) => v.id === id);
    if (!view) return;
    editView(view, id, this.needsKey, (saved) => {
      setText(byId("saved-views-note"), `“${saved.name}” is changed.`);
      void this.#ask();
    });
  }

  /** @param {string} id */
  async #delete(id) {
    const view = this.#views.find((v) => v.id === id);
    if (!view || !confirm(`Delete “${view.name}”?`)) return;
    try {
      await deleteView(id);
      setText(byId("saved-views-note"), `“${view.name}” is deleted.`);
      byId("saved-views-title").focus();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(byId("saved-views-note"), `${error.message} ${error.hint}`);
    }
    await this.#ask();
  }
}

/** In Explore. @param {SavedView} view */
function addressOf({ stream, question }) {
  return `#/${encodeURIComponent(stream)}/explore${question ? `?${question}` : ""}`;
}
