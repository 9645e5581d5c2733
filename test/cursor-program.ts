/** A program with a cursor file: writes down each trade that its handler gets, before it returns. */
import { appendFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { connect } from "../src/client/index.ts";

export const PROGRAM = fileURLToPath(import.meta.url);

async function run(url: string, cursorFile: string, output: string): Promise<void> {
  const client = await connect(url, { cursorFile, reconnect: { baseMs: 5, maxMs: 20 } });
  const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT", exchanges: "test-a" });
  tape.on("trade", ({ price }) => appendFileSync(output, `${price}\n`));
  tape.on("gap", ({ reason, from, to }) => appendFileSync(output, `gap ${reason} ${from} ${to}\n`));
  process.on("SIGTERM", () => void client.close().then(() => process.exit(0)));
  process.stdout.write("ready\n");
}

const [program, ...args] = process.argv.slice(1);
if (program === PROGRAM) await run(...(args as [string, string, string]));
