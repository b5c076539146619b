// The alerts that fire now, on every view.

import { ApiError, get } from "./api.js";
import { byId, el, link, setText } from "./dom.js";
import { plural } from "./numbers.js";
import { preferences } from "./preferences.js";
import { keyed } from "./rows.js";
import * as times from "./times.js";

const REFRESH_MS = 10_000;

/** @type {Pick<import("./api.js").Api["Alerts"], "whole" | "notes" | "alerts"> | null} */
let found = null;

export function watchAlerts() {
  setInterval(() => void ask(), REFRESH_MS);
  void ask();
}

async function ask() {
  if (document.hidden) return;
  try {
    found = await get("/v1/alerts");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    found = { whole: false, notes: ["The API does not answer: whether an alert fires is not known."], alerts: [] };
  }
  showAlerts();
}

export function showAlerts() {
  if (!found) return;
  const { alerts, whole, notes } = found;
  const note = byId("alerts-note");
  setText(note, [...(whole && !alerts.length ? ["No alert is firing."] : []), ...notes].join(" "));
  note.hidden = note.textContent === "";
  note.dataset.level = whole ? "good" : "unknown";
  const count = byId("alerts-count");
  count.hidden = alerts.length === 0;
  setText(count, alerts.length ? plural(alerts.length, "alert") : "");
  keyed(byId("alerts"), alerts, (a) => `${a.name} ${a.stream ?? ""} ${a.since}`, () => el("li"), (item, a) => {
    const since = `Since ${times.moment(a.since, preferences.zone)}`;
    const text = `${a.name}|${a.summary}|${a.description}|${since}|${a.accepted_by}`;
    if (item.dataset.text === text) return;
    item.dataset.text = text;
    item.replaceChildren(
      el("span", { class: "level", "data-level": a.severity === "critical" || a.severity === "page" ? "bad" : "warn" }, a.severity),
      el("strong", {}, a.summary || a.name),
      ...(a.description && a.description !== a.summary ? [el("span", { class: "soft" }, a.description)] : []),
      el("span", { class: "soft" }, `${a.name ?? "No name"}. ${since}. ${a.accepted_by ? `Accepted by ${a.accepted_by}: ${a.accepted_because}. ` : ""}`, a.runbook_url && link(a.runbook_url, "What to do", `What to do about ${a.name}`), a.asset_url && " ", a.asset_url && link(a.asset_url, a.asset ?? "Dagster", `${a.asset ?? "Its asset"} in Dagster`)),
    );
  });
}
