/** What handlers get: one view for each kind of event. */
export * from "./bar-views.ts";
export { EventView, type Side } from "./event-view.ts";
export * from "./market-views.ts";
