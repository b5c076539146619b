// Is the platform well? Its parts, how far each partition lags, how fast the worker is, what is left of the error budget.

import { ApiError, get } from "./api.js";
import { showStatus } from "./connection.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { number, percent, words } from "./numbers.js";
import { preferences } from "./preferences.js";
import { keyed, makeTable } from "./rows.js";
import * as times from "./times.js";

/** @typedef {import("./api.js").Api} Api */

const REFRESH_MS = 5_000;

export class OperationsView {
  /** @type {Api["Operations"] | null} */
  #found = null;
  #failedSince = 0;
  #timer = setInterval(() => void this.refresh(), REFRESH_MS);
  #lag = makeTable("Records in Kafka that the worker has not committed", [
    { name: "Partition" },
    { name: "Lag", kind: "numeric" },
    { name: "Next offset", kind: "numeric" },
    { name: "Watermark" },
    { name: "Worker" },
    { name: "State", kind: "wide" },
  ]);
  #rate = makeTable("Events a second, last minute", [{ name: "Stream" }, { name: "Events/s", kind: "numeric" }]);

  constructor() {
    byId("lag").replaceChildren(this.#lag.whole);
    byId("throughput").replaceChildren(this.#rate.whole);
    void this.refresh();
  }

  stop() {
    clearInterval(this.#timer);
    delete document.body.dataset.connection;
  }

  async refresh() {
    if (document.hidden && this.#found) return;
    try {
      this.#found = await get("/v1/operations");
      this.#failedSince = 0;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#failedSince ||= Date.now();
      showStatus(`Disconnected since ${times.second(this.#failedSince, preferences.zone)}. Trying again. ${error.message}`, undefined, "lost");
      return;
    }
    showStatus("Live", "asked every 5 s", "live");
    this.render();
  }

  render() {
    const found = this.#found;
    if (!found) return;
    keyed(byId("operations-problems"), found.problems ?? [], (p) => String(p), () => el("li"), (e, p) => setText(e, String(p)));
    this.#parts(found.parts ?? []);
    this.#lags(found.lag);
    this.#rate.fill(found.throughput ?? [], (t) => t.stream, (t) => [words(t.stream), number(t.events_per_second)]);
    byId("throughput-none").hidden = Boolean(found.throughput?.length);
    this.#budgets(found.error_budgets);
  }

  /** @param {Api["Part"][]} parts */
  #parts(parts) {
    const down = parts.filter((p) => !p.up).map((p) => p.name);
    setText(byId("operations-verdict"), down.length ? `${down.length === 1 ? "One part is" : `${down.length} parts are`} down: ${down.join(", ")}.` : "All parts are up.");
    setAttribute(byId("operations-verdict"), "data-level", down.length ? "bad" : "good");
    keyed(byId("parts"), parts, (p) => p.name, () => el("li", {}, el("strong"), el("span", { class: "level" }), el("span", { class: "soft" })), (item, p) => {
      const [name, state, detail] = item.children;
      if (!name || !state || !detail) return;
      setText(name, p.name);
      setText(state, p.up ? "Up" : "Down");
      setAttribute(state, "data-level", p.up ? "good" : "bad");
      const since = p.since ? `since ${times.moment(p.since, preferences.zone)}` : "";
      setText(detail, [p.detail, since].filter(Boolean).join(", "));
    });
  }

  /** @param {Api["Lag"][] | null} lag */
  #lags(lag) {
    byId("lag").hidden = !lag?.length;
    byId("lag-none").hidden = Boolean(lag?.length);
    this.#lag.fill(lag ?? [], (l) => `${l.stream} ${l.partition}`, (l) => [
      `${words(l.stream)} ${l.partition}`,
      number(l.lag),
      number(l.next_offset),
      l.watermark ? times.moment(l.watermark, preferences.zone) : "–",
      l.owner ?? "none",
      l.paused_reason ? `Paused: ${l.paused_reason}` : l.updated_at ? `committed ${times.moment(l.updated_at, preferences.zone)}` : "never read",
    ]);
  }

  /** @param {Api["ErrorBudget"][] | null} budgets */
  #budgets(budgets) {
    setText(byId("budgets-none"), budgets ? "No data yet." : "Not known: Prometheus does not answer.");
    byId("budgets-none").hidden = Boolean(budgets?.length);
    keyed(byId("budgets"), budgets ?? [], (b) => `${b.name} ${b.stream}`, () => el("li", {}, el("strong"), el("span", { class: "level" }), el("span", { class: "meter", "aria-hidden": "true" }), el("span", { class: "soft" })), (item, b) => {
      const [name, left, meter, note] = /** @type {HTMLElement[]} */ ([...item.children]);
      if (!name || !left || !meter || !note) return;
      setText(name, [b.name && capitalWords(b.name), b.stream && words(b.stream)].filter(Boolean).join(", "));
      setText(left, b.remaining == null ? "No data" : `${percent(Math.max(0, b.remaining))} left`);
      setAttribute(left, "data-level", b.remaining == null ? "unknown" : b.remaining > 0.25 ? "good" : b.remaining > 0 ? "warn" : "bad");
      meter.style.setProperty("--part", String(Math.min(1, Math.max(0, b.remaining ?? 0))));
      const window = b.window.replace(/d$/, " days");
      const objective = b.objective == null ? "" : `Objective ${percent(b.objective)} over ${window}`;
      const worst = b.burnt[0];
      const most = worst ? `; ${percent(worst.share)} of what is used went in the hour from ${times.moment(worst.hour, preferences.zone)}` : "";
      setText(note, `${objective}${b.burn_rate == null ? "" : `, burning ${number(b.burn_rate)} times as fast as allowed`}${most}`);
    });
  }
}

/** @param {string} name */
function capitalWords(name) {
  const text = words(name).replaceAll("-", " ");
  return (text.charAt(0).toUpperCase() + text.slice(1)).replace(/^Api /, "API ");
}
