// The API's answers, and its errors in its own words.

/** The shapes of the API's answers by name, made from its OpenAPI document when the types are checked.
 * @typedef {import("../../generated/api").components["schemas"]} Api */

const KEY = "streamgauge.key";

export class ApiError extends Error {
  /** @param {string} message @param {string} hint @param {number} status */
  constructor(message, hint, status) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

/** What a view that asked has to show of an error: nothing where nobody waits for the answer any more, or where the reader is asked for a key instead.
 * What is no error of the API is thrown on.
 * @param {unknown} error @param {AbortSignal} signal @param {() => void} unauthorized @returns {ApiError | null} */
export function toBeShown(error, signal, unauthorized) {
  if (signal.aborted) return null;
  if (!(error instanceof ApiError)) throw error;
  if (error.status !== 401) return error;
  unauthorized();
  return null;
}

/** The key lives as long as the tab. @param {string} key */
export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** @returns {Record<string, string>} */
export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, signal) {
  return (await ask(path, "application/json", signal)).json();
}

/** Changes something. @param {"POST" | "PUT" | "DELETE"} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
export async function send(method, path, body) {
  return (await ask(path, "application/json", undefined, { method, body: body === undefined ? null : JSON.stringify(body) })).json();
}

/** What is kept as a file. @param {string} path @param {string} accept @returns {Promise<Blob>} */
export async function fetchFile(path, accept) {
  return (await ask(path, accept)).blob();
}

/** @param {string} path @param {string} accept @param {AbortSignal} [signal] @param {{ method: string, body: string | null }} [change] */
async function ask(path, accept, signal, change) {
  const timeout = AbortSignal.timeout(20_000);
  let response;
  try {
    response = await fetch(path, {
      ...change,
      headers: { Accept: accept, ...(change?.body ? { "Content-Type": "application/json" } : {}), ...authorization() },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The server does not answer.", change ? "Try again." : "The page keeps trying.", 0);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** @param {Response} response */
export async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  return new ApiError(problem.detail ?? `The server answered ${response.status}.`, problem.hint ?? "", response.status);
}

/** @typedef {Record<string, string | number | readonly string[] | undefined | null>} Parameters of an array each value stands alone */

/** @param {Parameters} values */
export function query(values) {
  const given = Object.entries(values).flatMap(([k, v]) => (Array.isArray(v) ? v : [v]).map((one) => [k, one]));
  return new URLSearchParams(given.filter(([, v]) => v != null && v !== "").map(([k, v]) => [k, String(v)])).toString();
}
