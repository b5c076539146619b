// Elements from plain calls. Text is only ever text: no value that comes from the API is parsed as HTML.

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((c) => c != null && c !== false).map((c) => /** @type {Node | string} */ (c)));
  return made;
}

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!found || (kind && !(found instanceof kind))) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/** Changes nothing where nothing changed, so that neither a selection nor a screen reader is disturbed.
 * @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string | null} value */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A link where there is an address; only http and https, as a contract or an alert could name another.
 * @param {string | null | undefined} url @param {string} text @param {string} [label] */
export function link(url, text, label) {
  if (!url || !/^(https?:\/\/|\/)/.test(url)) return el("span", {}, text);
  const outside = !url.startsWith("/") || url.startsWith("//");
  return el("a", { href: url, rel: outside ? "noopener noreferrer" : null, "aria-label": label ?? null }, text);
}

/** Links to what the stores of traces and logs have of something, where they have anything and the reader may see it.
 * @param {{ trace_url?: string | null, logs_url?: string | null }} of */
export function pages(of) {
  const found = [of.trace_url ? link(of.trace_url, "Trace") : null, of.logs_url ? link(of.logs_url, "Log lines") : null];
  return found.flatMap((f) => (f ? [el("span", { class: "line" }, f)] : []));
}
