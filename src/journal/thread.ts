import { Worker } from "node:worker_threads";

/** Starts a module of ours in a thread; its data tell it what to do there. */
export function startThread(module: string, workerData: object): Worker {
  if (!new URL(module).pathname.endsWith(".ts")) return new Worker(new URL(module), { workerData });
  // Sources as they are, under tsx: its loader does not reach into the threads of Node 20 by itself.
  const name = JSON.stringify(module);
  const start = `import("tsx/esm/api").then(({ tsImport }) => tsImport(${name}, ${name}))`;
  return new Worker(start, { eval: true, workerData });
}
