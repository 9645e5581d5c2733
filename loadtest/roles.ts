import { beBarePublish } from "./baselines/bare-publish.ts";
import { beRelay } from "./baselines/relay.ts";
import { beWsJson } from "./baselines/ws-json.ts";
import type { Role } from "./child.ts";
import { bePipeline } from "./pipeline-server.ts";
import { beSource } from "./source.ts";

/** Every part that runs in a child process of this very program. */
// biome-ignore lint/suspicious/noExplicitAny: a role's options are the business of the two ends that share it.
export const ROLES: Readonly<Record<string, (options: any) => Promise<Role>>> = {
  source: beSource,
  relay: beRelay,
  "bare-publish": beBarePublish,
  "ws-json": beWsJson,
  pipeline: bePipeline,
};
