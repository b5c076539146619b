// What the reader chose: colours, and the zone of times. Kept in this browser only.

/** @typedef {"auto" | "light" | "dark"} Theme */

const listeners = new Set();

/** @template {string} T @param {string} name @param {readonly T[]} allowed @returns {T} */
function kept(name, allowed) {
  const found = localStorage.getItem(`streamgauge.${name}`);
  return allowed.find((a) => a === found) ?? /** @type {T} */ (allowed[0]);
}

export const preferences = {
  theme: kept("theme", /** @type {const} */ (["auto", "light", "dark"])),
  zone: kept("zone", /** @type {const} */ (["local", "utc"])),
};

/** @param {"theme" | "zone"} name @param {string} value */
export function choose(name, value) {
  localStorage.setItem(`streamgauge.${name}`, value);
  Object.assign(preferences, { [name]: value });
  apply();
  for (const listener of listeners) listener();
}

/** @param {() => void} listener called when a choice, or the system's colours, change */
export function onChoice(listener) {
  listeners.add(listener);
}

function apply() {
  document.documentElement.dataset.theme = preferences.theme;
}

/** Of the radio buttons named `theme` and `zone`. */
export function bindChoices() {
  for (const input of document.querySelectorAll(".choices input")) {
    if (!(input instanceof HTMLInputElement) || (input.name !== "theme" && input.name !== "zone")) continue;
    const name = input.name;
    input.checked = preferences[name] === input.value;
    input.addEventListener("change", () => choose(name, input.value));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => listeners.forEach((l) => l()));
}

export const stillness = matchMedia("(prefers-reduced-motion: reduce)");

apply();
