// The most frequent keys, moving to their new places when the order changes.

import { el, setText } from "./dom.js";
import { number, percent } from "./numbers.js";
import { stillness } from "./preferences.js";
import { keyed } from "./rows.js";

/** @typedef {{ key: string, count: number, lower?: number, upper?: number, share?: number | null }} Ranked */

const MOVE = { duration: 450, easing: "cubic-bezier(.2, .7, .2, 1)" };

/** @param {HTMLElement} list an <ol> @param {readonly Ranked[]} items */
export function showRanking(list, items) {
  const before = new Map([...list.children].map((c) => [c, c.getBoundingClientRect().top]));
  const most = Math.max(1, ...items.map((i) => i.count));
  keyed(list, items, (i) => i.key, makeItem, (element, item) => fillItem(element, item, most));
  if (stillness.matches) return;
  for (const element of list.children) {
    const from = before.get(element);
    const to = element.getBoundingClientRect().top;
    if (from === undefined) element.animate([{ opacity: 0 }, { opacity: 1 }], MOVE);
    else if (from !== to) element.animate([{ transform: `translateY(${from - to}px)` }, { transform: "none" }], MOVE);
  }
}

function makeItem() {
  return el("li", {}, el("span", { class: "key" }), el("span", { class: "count" }), el("span", { class: "bar", "aria-hidden": "true" }));
}

/** @param {HTMLElement} element @param {Ranked} item @param {number} most */
function fillItem(element, item, most) {
  const [key, count, bar] = /** @type {HTMLElement[]} */ ([...element.children]);
  if (!key || !count || !bar) return;
  setText(key, item.key);
  key.title = item.key;
  const spread = item.lower !== undefined && item.upper !== undefined && item.upper > item.lower;
  setText(count, spread ? `${number(item.lower)} – ${number(item.upper)}` : number(item.count));
  count.title = item.share == null ? "" : percent(item.share);
  bar.style.setProperty("--part", String(item.count / most));
}
