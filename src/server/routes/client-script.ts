import { readFileSync } from "node:fs";
import type { Answer, Handler } from "../http.ts";
import { errorAnswer } from "../http.ts";

/** Beside the bundle, or beside the sources. */
const PLACES = ["./client.browser.js", "../../../build/client.browser.js"];

/** `GET /client.js`: the client as a browser imports it, of the same version as the server. */
export function clientScript(): Handler {
  const answer = read();
  return () => answer;
}

function read(): Answer {
  for (const place of PLACES) {
    try {
      const body = readFileSync(new URL(place, import.meta.url), "utf8");
      return { status: 200, body, contentType: "text/javascript; charset=utf-8" };
    } catch {
      // The other place, then.
    }
  }
  return errorAnswer(404, "not_available", "the browser's client is not built: npm run build");
}
