// Lists and tables that change in place: a row that stays keeps its element, and with it focus and selection.

import { el, setAttribute } from "./dom.js";

/**
 * @template T
 * @param {HTMLElement} parent
 * @param {readonly T[]} items
 * @param {(item: T) => string} key
 * @param {() => HTMLElement} make
 * @param {(element: HTMLElement, item: T, index: number) => void} fill
 */
export function keyed(parent, items, key, make, fill) {
  const old = new Map([...parent.children].map((c) => [/** @type {HTMLElement} */ (c).dataset.key, /** @type {HTMLElement} */ (c)]));
  items.forEach((item, i) => {
    const name = key(item);
    let element = old.get(name);
    old.delete(name);
    if (!element) {
      element = make();
      element.dataset.key = name;
    }
    fill(element, item, i);
    if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
  });
  for (const gone of old.values()) gone.remove();
}

/** @typedef {{ name: string, kind?: "numeric" | "wide" }} Column */

let tables = 0;

/** @param {string} title @param {Column[]} columns */
export function makeTable(title, columns) {
  const head = columns.map((c) => el("th", { scope: "col", class: c.kind }, c.name));
  const body = el("tbody");
  const titleId = `table-${++tables}`;
  const table = el("table", { "aria-labelledby": titleId }, el("thead", {}, el("tr", {}, ...head)), body);
  // A wide table scrolls in its own frame, which the keyboard can reach; its title stays where it is.
  const frame = el("div", { class: "table-frame", tabindex: 0, role: "region", "aria-labelledby": titleId }, table);
  const whole = el("div", {}, el("p", { id: titleId, class: "table-title" }, title), frame);

  /** @template T @param {readonly T[]} items @param {(item: T) => string} key @param {(item: T) => (Node | string)[]} cells */
  const fill = (items, key, cells) =>
    keyed(
      body,
      items,
      key,
      () => el("tr", {}, ...columns.map((c, i) => (i ? el("td", { class: c.kind }) : el("th", { scope: "row" })))),
      (row, item) => cells(item).forEach((cell, i) => put(/** @type {Element} */ (row.children[i]), cell)),
    );
  return { whole, fill };
}

/** @param {Element} place @param {Node | string} content */
function put(place, content) {
  if (typeof content === "string") {
    if (place.textContent !== content || place.firstElementChild) place.textContent = content;
    return;
  }
  const now = place.firstChild;
  if (now && now.isEqualNode(content)) return;
  if (now instanceof HTMLButtonElement && content instanceof HTMLButtonElement) {
    // The button keeps its place and focus, with the new one's words.
    if (now.textContent !== content.textContent) now.textContent = content.textContent;
    setAttribute(now, "aria-label", content.getAttribute("aria-label"));
    return;
  }
  place.replaceChildren(content);
}
