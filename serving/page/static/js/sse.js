// Server-sent events, read from a fetch: EventSource can't send a key, nor a Last-Event-ID of its own choosing.

/** @typedef {{ type: string, data: string, id: string | null }} ServerEvent */

/** Takes text as it arrives, cut anywhere, and gives the events that are whole. */
export class EventParser {
  #rest = "";
  #type = "";
  /** @type {string[]} */
  #data = [];
  /** @type {string | null} */
  #id = null;

  /** @param {string} text @returns {ServerEvent[]} */
  push(text) {
    /** @type {ServerEvent[]} */
    const events = [];
    // A lone \r may be half of a \r\n: it waits for what follows.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?=[^])/);
    this.#rest = /** @type {string} */ (lines.pop());
    for (const line of lines) this.#line(line, events);
    return events;
  }

  /** @param {string} line @param {ServerEvent[]} events */
  #line(line, events) {
    if (line === "") {
      if (this.#data.length) events.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.#id });
      this.#type = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment keeps the connection alive
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }
}
