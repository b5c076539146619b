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

/** The key lives as long as the tab. @param {string} key */
export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** @returns {Record<string, string>} */
export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, signal) {
  const timeout = AbortSignal.timeout(20_000);
  let response;
  try {
    response = await fetch(path, {
      headers: { Accept: "application/json", ...authorization() },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The server does not answer.", "The page keeps trying.", 0);
  }
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

/** @param {Response} response */
export async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  return new ApiError(problem.detail ?? `The server answered ${response.status}.`, problem.hint ?? "", response.status);
}

/** @param {Record<string, string | number | undefined | null>} values */
export function query(values) {
  const given = Object.entries(values).filter(([, v]) => v != null && v !== "");
  return new URLSearchParams(given.map(([k, v]) => [k, String(v)])).toString();
}
