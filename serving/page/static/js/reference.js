// The API's OpenAPI document as pages on which one can ask.

import { authorization } from "./api.js";
import { byId, setText } from "./dom.js";
import { preferences } from "./preferences.js";

/** @typedef {{ url: string, headers: Record<string, string> }} Asked */

const bundle = /** @type {{ SwaggerUIBundle?: (options: object) => void }} */ (window).SwaggerUIBundle;

if (bundle) {
  const dark = preferences.theme === "dark" || (preferences.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.classList.toggle("dark-mode", dark);
  bundle({
    dom_id: "#reference",
    url: "/v1/openapi.json",
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    deepLinking: true,
    displayRequestDuration: true,
    requestInterceptor: (/** @type {Asked} */ asked) => ({ ...asked, headers: { ...authorization(), ...asked.headers } }),
  });
} else {
  setText(byId("problem"), "The reference needs swagger-ui-dist, which npm installs beside the page: run make install.");
}
