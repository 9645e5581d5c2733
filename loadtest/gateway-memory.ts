import { setTimeout as sleep } from "node:timers/promises";
import type { GatewayProcess } from "./gateway-process.ts";

const LOOK_MS = 500;

/** What a gateway says of its own memory, bytes. */
export interface GatewayMemory {
  resident: number;
  /** What waits for all clients, and for the one for which most does. */
  queues: number;
  longestQueue: number;
}

/** One look; throws when a metric has another name now, which would be a check that cannot fail. */
export async function memoryOf(gateway: GatewayProcess): Promise<GatewayMemory> {
  const metrics = await gateway.metrics();
  const of = (name: string): number => {
    const value = metrics.get(name);
    if (value === undefined) throw new Error(`the gateway has no metric ${name}`);
    return value;
  };
  return {
    resident: of("process_resident_memory_bytes"),
    queues: of("tickwire_queue_bytes"),
    longestQueue: of("tickwire_queue_longest_bytes"),
  };
}

/** Does something, and looks at the gateway's memory meanwhile: resolves to the result and to the most of each. */
export async function watchMemory<Result>(
  gateway: GatewayProcess,
  act: () => Promise<Result>,
): Promise<{ result: Result; most: GatewayMemory }> {
  let most = await memoryOf(gateway);
  let isDone = false;
  const acting = act().finally(() => {
    isDone = true;
  });
  const watching = (async () => {
    while (!isDone) {
      const now = await memoryOf(gateway);
      most = {
        resident: Math.max(most.resident, now.resident),
        queues: Math.max(most.queues, now.queues),
        longestQueue: Math.max(most.longestQueue, now.longestQueue),
      };
      await sleep(LOOK_MS);
    }
  })();
  const [result] = await Promise.all([acting, watching]);
  return { result, most };
}
