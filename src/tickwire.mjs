#!/usr/bin/env node
// The entry: checks the runtime before anything native is loaded, then runs the bundle that `npm run build` made.
import { existsSync } from "node:fs";

const major = Number(process.versions.node.split(".")[0]);
if (major !== 20 && major !== 22) {
  process.stderr.write(
    `tickwire: Node ${process.versions.node} is not supported: the pinned uWebSockets.js binary is for Node 20 and 22 (README, "uWebSockets.js")\n`,
  );
  process.exit(2);
}
const bundle = new URL("../build/cli.mjs", import.meta.url);
if (!existsSync(bundle)) {
  process.stderr.write("tickwire: not built yet: run npm run build\n");
  process.exit(2);
}
process.setSourceMapsEnabled(true);
const { run } = await import(bundle.href);
await run(process.argv.slice(2));
