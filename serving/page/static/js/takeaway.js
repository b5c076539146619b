// The same question elsewhere: as a file, a link, or a line for a shell, for Python, for SQL.

import { fetchFile, get, hasKey, query } from "./api.js";

/** @typedef {"curl" | "polars" | "sql"} Language */

/** Where a key is put, so that no line that is copied holds one. */
const VARIABLE = "STREAMGAUGE_API_KEY";
/** Some browsers read the file only after the click is over. */
const KEPT_MS = 10_000;
const FILES = { csv: "text/csv", arrow: "application/vnd.apache.arrow.stream" };

/** @param {string} url @param {boolean} isKeyed */
export function curlLine(url, isKeyed) {
  const key = isKeyed ? ` -H "Authorization: Bearer $${VARIABLE}"` : "";
  return `curl -fsS${key} '${url}'`;
}

/** @param {string} url @param {boolean} isKeyed */
export function polarsLine(url, isKeyed) {
  if (!isKeyed) return `import polars as pl, urllib.request as web\n\ndf = pl.read_ipc_stream(web.urlopen("${url}"))\n`;
  const request = `web.Request("${url}", headers={"Authorization": "Bearer " + os.environ["${VARIABLE}"]})`;
  return `import os, polars as pl, urllib.request as web\n\ndf = pl.read_ipc_stream(web.urlopen(${request}))\n`;
}

/** @param {Language} language @param {string} stream @param {import("./api.js").Parameters} asked @returns {Promise<string>} */
export async function lineOf(language, stream, asked) {
  const path = `/v1/streams/${encodeURIComponent(stream)}/rollups`;
  const url = (/** @type {string} */ format) => `${location.origin}${path}?${query({ ...asked, format })}`;
  if (language === "curl") return curlLine(url("csv"), hasKey());
  if (language === "polars") return polarsLine(url("arrow"), hasKey());
  const found = await get(`${path}/sql?${query(asked)}`);
  const left = found.left_out.length ? `-- SQL can't merge sketches: ${found.left_out.join(", ")} from the API only.\n` : "";
  return `${left}${found.sql}\n`;
}

/** @param {keyof typeof FILES} kind @param {string} stream @param {import("./api.js").Parameters} asked */
export async function download(kind, stream, asked) {
  const file = await fetchFile(`/v1/streams/${encodeURIComponent(stream)}/rollups?${query(asked)}`, FILES[kind]);
  const url = URL.createObjectURL(file);
  const a = document.createElement("a");
  a.href = url;
  a.download = `${stream}.${kind}`;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}
