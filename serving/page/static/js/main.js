// Opens the view that the address names, and keeps it while the reader stays.

import { showAlerts, watchAlerts } from "./alerts.js";
import { ApiError, get, keepKey } from "./api.js";
import { backoffMs } from "./backoff.js";
import { byId, el, setText } from "./dom.js";
import { words } from "./numbers.js";
import { OperationsView } from "./operations-view.js";
import { bindChoices, onChoice, preferences } from "./preferences.js";
import { StreamView, capital } from "./stream-view.js";
import * as times from "./times.js";

const OPERATIONS = "operations";

/** @type {import("./api.js").Api["Stream"][]} */
let streams = [];
/** @type {StreamView | OperationsView | null} */
let view = null;

async function start() {
  bindChoices();
  showZone();
  for (let failures = 0; ; ) {
    try {
      ({ streams } = await get("/v1/streams"));
      break;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) return askForKey(error);
      failures += 1;
      setText(byId("connection"), `${error.message} Trying again.`);
      document.body.dataset.connection = "lost";
      await new Promise((done) => setTimeout(done, backoffMs(failures)));
    }
  }
  byId("streams").replaceChildren(
    ...streams.map((s) => el("li", {}, el("a", { href: `#/${s.stream}` }, capital(words(s.stream))))),
  );
  addEventListener("hashchange", open);
  addEventListener("online", () => view instanceof StreamView && view.hurry());
  document.addEventListener("visibilitychange", () => !document.hidden && view instanceof StreamView && view.hurry());
  onChoice(() => {
    showZone();
    showAlerts();
    if (view instanceof StreamView) view.recolour();
    else view?.render();
  });
  open();
  watchAlerts();
}

function open() {
  if (view && !location.hash.startsWith("#/")) return; // a place on this page
  const name = viewName(location.hash.slice(2));
  view?.stop();
  const operations = name === OPERATIONS;
  const stream = streams.find((s) => s.stream === name) ?? streams[0];
  byId("operations-view").hidden = !operations;
  byId("stream-view").hidden = operations || !stream;
  byId("no-streams").hidden = operations || Boolean(stream);
  view = operations ? new OperationsView() : stream ? new StreamView(stream, byId("stream-view"), () => askForKey(null)) : null;
  const shown = operations ? OPERATIONS : stream?.stream;
  for (const a of document.querySelectorAll("nav a")) {
    const is = a.getAttribute("href") === `#/${shown}`;
    if (is) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  document.title = `${operations ? "Operations" : capital(words(shown ?? "Live"))} · Streamgauge`;
}

/** What the address names; a broken escape, such as `%`, names nothing.
 * @param {string} hash */
function viewName(hash) {
  try {
    return decodeURIComponent(hash);
  } catch {
    return "";
  }
}

function showZone() {
  setText(byId("zone-name"), `Times: ${times.zoneName(preferences.zone)}`);
}

/** @param {ApiError | null} error */
function askForKey(error) {
  view?.stop();
  view = null;
  setText(byId("key-problem"), error ? `${error.message} ${error.hint}` : "");
  const dialog = byId("key-dialog", HTMLDialogElement);
  if (!dialog.open) dialog.showModal();
  byId("key-form", HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    keepKey(byId("key", HTMLInputElement).value.trim());
    location.reload();
  };
}

void start();
