/** A program with a cursor file: writes down each trade that its handler gets, before it returns. */
import { appendFileSync } from "node:fs";
import { connect } from "../src/client/index.ts";

const [url, cursorFile, output] = process.argv.slice(2) as [string, string, string];
const client = await connect(url, { cursorFile, reconnect: { baseMs: 5, maxMs: 20 } });
const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT", exchanges: "test-a" });
tape.on("trade", ({ price }) => appendFileSync(output, `${price}\n`));
tape.on("gap", ({ reason, from, to }) => appendFileSync(output, `gap ${reason} ${from} ${to}\n`));
process.on("SIGTERM", () => void client.close().then(() => process.exit(0)));
process.stdout.write("ready\n");
