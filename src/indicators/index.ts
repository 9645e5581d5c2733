/** `tickwire/indicators`: the very indicators that the server runs. */
export { parseIndicator } from "./registry.ts";
