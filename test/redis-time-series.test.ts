/** The client of time series against a double, since the Redis that is tested with otherwise has none. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { Redis } from "ioredis";
import { keys, RedisTimeSeriesMarketDataClient } from "../src/bot/index.ts";
import { ManualTime, passTime } from "./bot-surroundings.ts";
import { encode, type RespDouble, type RespReply, readCommand, startRespDouble } from "./resp-double.ts";

const price = keys.series("VN30F1M", "price");
const volume = keys.series("VN30F1M", "volume");

let double: RespDouble;
let client: Redis;
let latest: Record<string, RespReply> = {};
let range: RespReply = [];

before(async () => {
  double = await startRespDouble(([command, key]) => {
    if (command === "TS.RANGE") return range;
    if (command !== "TS.GET") return new Error(`ERR unknown command ${command}`);
    return latest[key as string] ?? new Error("ERR TSDB: the key does not exist");
  });
  client = new Redis(double.port, "127.0.0.1", { enableReadyCheck: false, disableClientInfo: true });
});
after(async () => {
  client?.disconnect();
  await double?.stop();
});
beforeEach(() => {
  double.commands.length = 0;
});

test("the double reads commands that come byte by byte, and writes every kind of answer", () => {
  const bytes = Buffer.from("*2\r\n$3\r\nGET\r\n$2\r\né\r\n*1\r\n");
  for (let length = 0; length < bytes.length - 4; length += 1) {
    assert.equal(readCommand(bytes.subarray(0, length)), undefined);
  }
  assert.deepEqual(readCommand(bytes), { command: ["GET", "é"], bytes: bytes.length - 4 });
  assert.throws(() => readCommand(Buffer.from("GET é\r\n")), /not a command/);
  assert.equal(encode(["é", 1, null, new Error("ERR no")]), "*4\r\n$2\r\né\r\n:1\r\n$-1\r\n-ERR no\r\n");
});

describe("time series", () => {
  const options = { symbol: "VN30F1M", key: price };
  const made = (more = {}) => new RedisTimeSeriesMarketDataClient({ client, ...options, ...more });

  test("the latest point with its extras, in one round trip; an extra that is missing is left out", async () => {
    latest = { [price]: [1_700_000_000_000, "1234.5"], [volume]: [1_699_999_999_000, "7"] };
    const market = made({ extraFields: { volume, funding: "markets:none" }, valueField: "last" });
    await client.call("TS.GET", price);
    double.commands.length = 0;
    const before = double.reads;
    assert.deepEqual(await market.fetch(), {
      symbol: "VN30F1M",
      last: 1234.5,
      timestamp: 1_700_000_000_000,
      volume: 7,
    });
    assert.deepEqual(double.commands, [
      ["TS.GET", price],
      ["TS.GET", volume],
      ["TS.GET", "markets:none"],
    ]);
    assert.equal(double.reads - before, 1, "one piece");
  });

  test("nothing while the series is empty, or is not there", async () => {
    latest = { [price]: [] };
    assert.equal(await made().fetch(), undefined);
    latest = {};
    assert.equal(await made().fetch(), undefined);
  });

  test("what is no point is an error with a code; what the server says is passed on", async () => {
    for (const reply of [[1], [1, "a"], ["a", "1"], [1, "2", "3"], "text", [null, "1"]] as RespReply[]) {
      latest = { [price]: reply };
      await assert.rejects(made().fetch(), { code: "bad_sample" });
    }
    latest = { [price]: new Error("WRONGTYPE no series") };
    await assert.rejects(made().fetch(), /WRONGTYPE/);
  });

  test("a range within its bounds", async () => {
    range = [
      [1, "10"],
      [2, "11.5"],
    ];
    assert.deepEqual(await made().fetchRange(), [
      { symbol: "VN30F1M", price: 10, timestamp: 1 },
      { symbol: "VN30F1M", price: 11.5, timestamp: 2 },
    ]);
    await made().fetchRange({ from: 1.5, to: 9.5, limit: 2 });
    assert.deepEqual(await made().fetchRange({ limit: 0 }), []);
    assert.deepEqual(double.commands, [
      ["TS.RANGE", price, "-", "+"],
      ["TS.RANGE", price, "2", "9", "COUNT", "2"],
    ]);
    range = "text";
    await assert.rejects(made().fetchRange(), { code: "bad_sample" });
  });

  test("as an iterable it gives each new point once, until it is closed", async () => {
    const time = new ManualTime();
    const market = made({ timers: time });
    const seen: unknown[] = [];
    const polls = async (count: number) => {
      const until = double.commands.length + count;
      await passTime(time, 1000, () => double.commands.length >= until, `${count} polls`);
    };
    latest = {};
    const reading = (async () => {
      for await (const { price } of market) seen.push(price);
    })();
    for (const [reply, expected] of [
      [[], []],
      [[1, "1"], [1]],
      [
        [2, "2"],
        [1, 2],
      ],
      [
        [3, "2"],
        [1, 2, 2],
      ],
    ] as [RespReply, unknown[]][]) {
      latest = { [price]: reply };
      await polls(4);
      assert.deepEqual(seen, expected);
    }
    market.close();
    await reading;
    assert.equal(market.ended, true);
  });

  test("guards", () => {
    for (const [client, code] of [
      [undefined, "missing_client"],
      [null, "missing_client"],
      [{}, "bad_client"],
    ]) {
      assert.throws(() => new RedisTimeSeriesMarketDataClient({ ...options, client: client as never }), { code });
    }
  });
});
