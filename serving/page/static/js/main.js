// Opens the view that the address names, and keeps it while the reader stays.

import { AboutView } from "./about-view.js";
import { showAlerts, watchAlerts } from "./alerts.js";
import { AllStreamsView } from "./all-streams-view.js";
import { ApiError, get, keepKey } from "./api.js";
import { backoffMs } from "./backoff.js";
import { showStatus } from "./connection.js";
import { byId, el, setText } from "./dom.js";
import { capital, words } from "./numbers.js";
import { EventView } from "./event-view.js";
import { ExploreView } from "./explore-view.js";
import { OperationsView } from "./operations-view.js";
import { bindChoices, onChoice, preferences } from "./preferences.js";
import { SavedViewsView } from "./saved-views-view.js";
import { StreamView } from "./stream-view.js";
import { busiest, parseAddress } from "./streams.js";
import * as times from "./times.js";

const OPERATIONS = "operations";
/** No stream has this name: a dash is none of the letters it may have. */
const FIND_EVENT = "find-event";
const ALL_STREAMS = "all-streams";
const SAVED_VIEWS = "saved-views";
const EXPLORE = "explore";
const ABOUT = "about";

/** @type {import("./api.js").Api["Stream"][]} */
let streams = [];
/** @type {StreamView | ExploreView | AboutView | EventView | AllStreamsView | SavedViewsView | OperationsView | null} */
let view = null;
let opened = false;

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
      showStatus(`${error.message} Trying again.`, undefined, "lost");
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
    if (view instanceof OperationsView) view.render();
    else view?.recolour();
  });
  open();
  watchAlerts();
}

function open() {
  if (opened && !location.hash.startsWith("#/")) return; // a place on this page
  opened = true;
  const { name, part, question } = parseAddress(location.hash);
  const place = part && name !== FIND_EVENT ? "" : name;
  const operations = place === OPERATIONS;
  const finds = place === FIND_EVENT;
  const all = place === ALL_STREAMS;
  const saved = place === SAVED_VIEWS;
  const ofStream = !operations && !finds && !all && !saved;
  const stream = !ofStream || !["", EXPLORE, ABOUT].includes(part) ? undefined : name ? streams.find((s) => s.stream === name) : busiest(streams);
  const nowhere = name !== "" && ofStream && !stream;
  const explores = part === EXPLORE && stream !== undefined;
  const describes = part === ABOUT && stream !== undefined;
  if (view instanceof ExploreView && explores && view.stream.stream === stream.stream) return view.ask(question);
  view?.stop();
  byId("operations-view").hidden = !operations;
  byId("event-view").hidden = !finds;
  byId("all-streams-view").hidden = !all;
  byId("saved-views-view").hidden = !saved;
  byId("stream-nav").hidden = !stream;
  byId("stream-view").hidden = !stream || explores || describes;
  byId("explore-view").hidden = !explores;
  byId("about-view").hidden = !describes;
  byId("no-streams").hidden = streams.length > 0 || !ofStream;
  byId("nowhere").hidden = !nowhere;
  if (nowhere) {
    setText(byId("nowhere-name"), `There is no ${part ? "view" : "stream"} “${part || name}” here.`);
    showStatus("No numbers are shown.", "");
  }
  if (operations) view = new OperationsView();
  else if (finds) view = new EventView(streams.map((s) => s.stream), part, question, () => askForKey(null));
  else if (all) view = new AllStreamsView(() => askForKey(null));
  else if (saved) view = new SavedViewsView(streams, () => askForKey(null), showKeyDialog);
  else if (!stream) view = null;
  else if (explores) view = new ExploreView(stream, question, () => askForKey(null), showKeyDialog);
  else if (describes) view = new AboutView(stream, () => askForKey(null));
  else view = new StreamView(stream, byId("stream-view"), () => askForKey(null));
  const shown = ofStream ? stream?.stream : name;
  const tabs = { "to-live": "", "to-explore": `/${EXPLORE}`, "to-about": `/${ABOUT}` };
  for (const [id, path] of Object.entries(tabs)) byId(id, HTMLAnchorElement).hash = `#/${stream?.stream ?? ""}${path}`;
  const tab = explores ? "to-explore" : describes ? "to-about" : "to-live";
  for (const a of document.querySelectorAll("nav a")) {
    const is = a.closest("#stream-nav") ? a.id === tab : a.getAttribute("href") === `#/${shown}`;
    if (is) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  const title = operations ? "Operations" : finds ? "Find an event" : all ? "All streams" : saved ? "Saved views" : capital(words(shown ?? (nowhere ? "Not found" : "Live")));
  document.title = `${title} · Streamgauge`;
}

function showZone() {
  setText(byId("zone-name"), `Times: ${times.zoneName(preferences.zone)}`);
}

/** @param {ApiError | null} error */
function askForKey(error) {
  view?.stop();
  view = null;
  showKeyDialog(error ? `${error.message} ${error.hint}` : "");
}

/** The page begins anew with the key. @param {string} why */
function showKeyDialog(why) {
  setText(byId("key-problem"), why);
  const dialog = byId("key-dialog", HTMLDialogElement);
  if (!dialog.open) dialog.showModal();
  byId("key-form", HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    keepKey(byId("key", HTMLInputElement).value.trim());
    location.reload();
  };
}

void start();
