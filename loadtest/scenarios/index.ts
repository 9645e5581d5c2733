import type { Scenario } from "../scenario.ts";
import { connections } from "./connections.ts";
import { fanout } from "./fanout.ts";
import { instruments } from "./instruments.ts";
import { mixed } from "./mixed.ts";
import { slow } from "./slow.ts";
import { soak } from "./soak.ts";
import { reconnectStorm } from "./storm.ts";
import { wireToWire } from "./wire-to-wire.ts";

/** Every scenario, by the name that the command line takes. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  fanout,
  "wire-to-wire": wireToWire,
  instruments,
  connections,
  mixed,
  storm: reconnectStorm,
  slow,
  soak,
};
