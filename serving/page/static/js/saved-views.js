// Views that readers keep in the API: the dialog that names one, and their changes.

import { ApiError, hasKey, send } from "./api.js";
import { byId, setText } from "./dom.js";

/** @typedef {import("./api.js").Api["SavedView"]} SavedView */
/** @typedef {Pick<SavedView, "name" | "stream" | "question" | "shared">} Draft */

const PATH = "/v1/saved-views";

/** Asks for name and sharing, and keeps it: a new one, or that of the id. Whoever has no key is asked for one first.
 * @param {Draft} draft @param {string | null} id @param {(why: string) => void} needsKey @param {(saved: SavedView) => void} done */
export function editView(draft, id, needsKey, done) {
  if (!hasKey()) return needsKey("What is saved belongs to a key. Whoever runs this platform makes one: streamgauge api-keys create NAME --as viewer");
  const dialog = byId("save-dialog", HTMLDialogElement);
  const name = byId("save-name", HTMLInputElement);
  const shared = byId("save-shared", HTMLInputElement);
  name.value = draft.name;
  shared.checked = draft.shared;
  setText(byId("save-title"), id ? "Name and sharing" : "Save this view");
  setText(byId("save-problem"), "");
  byId("save-cancel").onclick = () => dialog.close();
  byId("save-form", HTMLFormElement).onsubmit = async (event) => {
    event.preventDefault();
    const wanted = { name: name.value.trim(), stream: draft.stream, question: draft.question, shared: shared.checked };
    try {
      const saved = await (id ? send("PUT", `${PATH}/${id}`, wanted) : send("POST", PATH, wanted));
      dialog.close();
      done(saved);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(byId("save-problem"), `${error.message} ${error.hint}`);
    }
  };
  dialog.showModal();
  name.select();
}

/** @param {string} id */
export async function deleteView(id) {
  await send("DELETE", `${PATH}/${id}`);
}
