/** What is generated from the schema is what is committed, and the vocabulary says the same as the schema. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { generate } from "../schema/generate.ts";
import { parseSchema } from "../schema/parse.ts";
import { CHANNELS } from "../src/market/channel.ts";
import { INSTRUMENT_STATUSES, MARKET_TYPES, SIZE_UNITS } from "../src/market/instrument.ts";
import * as sink from "../src/market/sink.ts";
import { TIMEFRAMES } from "../src/market/timeframe.ts";
import * as frame from "../src/wire/frame.ts";
import * as views from "../src/wire/generated/views.ts";
import { SCHEMA_TEXT } from "./random-frames.ts";

const GENERATED = fileURLToPath(new URL("../src/wire/generated", import.meta.url));
const schema = parseSchema(SCHEMA_TEXT);

test("src/wire/generated is what `npm run codegen` makes of the schema", async () => {
  const files = await generate();
  const committed = readdirSync(GENERATED, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(GENERATED.length + 1));
  assert.deepEqual(committed.sort(), [...files.keys()].sort(), "the same files; run `npm run codegen`");
  for (const [path, source] of files) {
    assert.equal(
      readFileSync(`${GENERATED}/${path}`, "utf8"),
      source,
      `${path} is out of date; run \`npm run codegen\``,
    );
  }
});

describe("the vocabulary agrees with the schema's enums", () => {
  /** Names in order of value, which must count from 0. */
  function namesOf(name: string): string[] {
    const values = schema.enums.get(name)?.values ?? [];
    const counted = values.filter(([, value]) => value !== 255);
    assert.deepEqual(
      counted.map(([, value]) => value),
      counted.map((_, index) => index),
      `${name} counts from 0`,
    );
    return counted.map(([label]) => label.toLowerCase());
  }

  const lists: readonly (readonly [string, readonly string[]])[] = [
    ["State", sink.STATES],
    ["Channel", ["state", ...CHANNELS]],
    ["MarketType", MARKET_TYPES],
    ["SizeUnit", SIZE_UNITS],
    ["InstrumentStatus", INSTRUMENT_STATUSES],
    // The schema's names begin with a letter: `S1` is 1s.
    ["Timeframe", TIMEFRAMES.map((name) => name.replace(/^(\d+)(\w)$/, "$2$1"))],
  ];
  for (const [name, list] of lists) test(name, () => assert.deepEqual(namesOf(name), [...list]));

  test("constants", () => {
    const { SIDE_UNKNOWN, SIDE_BUY, SIDE_SELL } = sink;
    assert.deepEqual(namesOf("Side"), ["unknown", "buy", "sell"]);
    assert.deepEqual([SIDE_UNKNOWN, SIDE_BUY, SIDE_SELL], [0, 1, 2]);
    const { STATE_SYNCING, STATE_LIVE, STATE_QUIET, STATE_STALE, STATE_RESYNCING, STATE_DOWN } = sink;
    const states = [STATE_SYNCING, STATE_LIVE, STATE_QUIET, STATE_STALE, STATE_RESYNCING, STATE_DOWN];
    assert.deepEqual(
      states.map((state) => sink.STATES[state]),
      ["syncing", "live", "quiet", "stale", "resyncing", "down"],
    );
  });

  test("the views' names are the schema's", () => {
    const constants = views as unknown as Record<string, unknown>;
    for (const name of schema.enums.keys()) {
      const constant = `${name.replace(/(?<=[a-z0-9])[A-Z]/g, "_$&").toUpperCase()}_NAMES`;
      assert.deepEqual(constants[constant], namesOf(name), constant);
    }
  });

  test("flags are the bits that the schema's comments name", () => {
    const frameFlags = {
      derived: frame.FLAG_DERIVED,
      snapshot: frame.FLAG_SNAPSHOT,
      "last of event": frame.FLAG_LAST_OF_EVENT,
      correction: frame.FLAG_CORRECTION,
      backfilled: frame.FLAG_BACKFILLED,
      inexact: frame.FLAG_INEXACT,
    };
    const comments = SCHEMA_TEXT.replace(/\s+(\/\/)?\s*/g, " ");
    for (const [name, bit] of Object.entries(frameFlags)) assert.ok(comments.includes(`${bit} ${name}`), name);
    const { FLAG_BLOCK, FLAG_LIQUIDATION, FLAG_ODD_LOT } = sink;
    const tradeFlags = `bits: ${FLAG_BLOCK} block, ${FLAG_LIQUIDATION} liquidation, ${FLAG_ODD_LOT} odd lot`;
    assert.ok(SCHEMA_TEXT.includes(tradeFlags), tradeFlags);
  });
});
