import { PerformanceObserver } from "node:perf_hooks";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

export interface Garbage {
  bytesPerTick: number;
  collections: number;
  ticks: number;
}

/**
 * What `pass` allocates: heap growth while nothing is collected, and the collections that it caused. `between` runs
 * before each pass; it must not allocate either.
 */
export async function garbageOf(
  ticks: number,
  perPass: number,
  pass: () => void,
  between: () => void,
): Promise<Garbage> {
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  collect();
  await turn();
  observer.observe({ entryTypes: ["gc"] });
  let bytes = 0;
  let done = 0;
  // Many runs between two looks, because looking at the heap allocates too.
  const runs = 64;
  while (done < ticks) {
    const before = getHeapStatistics().used_heap_size;
    for (let run = 0; run < runs; run += 1) {
      between();
      pass();
    }
    const grown = getHeapStatistics().used_heap_size - before;
    // A collection in between makes the difference meaningless; it is counted, which is worse.
    if (grown > 0) bytes += grown;
    done += runs * perPass;
  }
  await turn();
  observer.disconnect();
  return { bytesPerTick: bytes / done, collections, ticks: done };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

/** Collects now, for a steady start. */
export function settle(): void {
  collect();
}
