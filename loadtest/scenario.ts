import type { Flags, ScenarioFlag } from "./flags.ts";
import type { Outcome } from "./report.ts";

export interface Context {
  flags: Flags;
  /** One line for who waits. */
  progress(text: string): void;
  /** Something that must be stopped at the end, however the scenario ends; the last one first. */
  keep<Part extends { stop(): Promise<void> }>(part: Part): Part;
}

export interface Scenario {
  summary: string;
  /** The flags that mean something to it; others are refused. */
  takes: readonly ScenarioFlag[];
  run(context: Context): Promise<Outcome>;
}
