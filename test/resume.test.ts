/** Resume, replay by time and fetch, over a server on a small engine that the test drives by hand. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RequestError } from "../src/market/errors.ts";
import { readFrom } from "../src/server/replay.ts";
import { Random } from "../src/std/random.ts";
import { LogCursor } from "../src/wire/frame-log.ts";
import type { Frame } from "./gateway.ts";
import { FrameDecoder } from "./gateway.ts";
import type { Any, Served, Venue } from "./serve.ts";
import { leave, named, Probe, serve, settled, spot } from "./serve.ts";

const EVERYTHING = ["trades", "orderbook", "quotes", "ticker", "funding", "liquidations", "bars", "indicators"];
const LOSSLESS = { channels: EVERYTHING, depth: "full", bars: "closed", timeframes: ["1s"] };

/** Every frame of the ring, as a client would see it, from the beginning on. */
class Ring {
  readonly frames: Frame[] = [];
  readonly #decoder = new FrameDecoder();
  readonly #cursor: LogCursor;

  constructor(served: Served) {
    const { log } = served.engine.frames;
    this.#cursor = new LogCursor(log);
    this.#cursor.seek(0);
    this.read();
  }

  read(): Frame[] {
    while (this.#cursor.next()) {
      const { ring, record } = this.#cursor;
      this.frames.push(named(this.#decoder.decodeAt(ring.memory, ring.placeOf(record)) as never) as never);
    }
    assert.equal(this.#cursor.lost, 0, "the test reads the ring often enough");
    return this.frames;
  }
}

const name = (frame: { stream: number; seq: number }) => `${frame.stream}:${frame.seq}`;

const timed = ({ position, ts_publish, from_seq }: Frame) => [position, ts_publish, from_seq];

/** The ring's own frames among those that a client got. */
const ringFrames = (frames: readonly Frame[]) => frames.filter(({ flags }) => !flags.includes("derived"));

const endOfTurn = () => new Promise((resolve) => setImmediate(resolve));

async function start(options: Parameters<typeof serve>[0] = {}, symbols = 4) {
  const served = await serve({ graceMs: 60_000, ...options });
  const [venue] = served.venues as [Venue, Venue];
  const ids = venue.list([...spot(symbols), ...spot(["P/USDT:USDT"])]);
  venue.up();
  return { served, venue, ids };
}

async function traffic(venue: Venue, served: Served, ids: readonly number[], events: number, random: Random) {
  for (let event = 1; event <= events; event += 1) {
    venue.everything(ids[random.integer(0, ids.length - 1)] as number, 1 + event + random.next());
    if (event % 20 !== 0) continue;
    served.turn.end();
    await endOfTurn();
  }
  served.turn.end();
}

describe("resume", () => {
  for (const encoding of ["flatbuffers", "json"] as const) {
    test(`${encoding}: cut off a hundred times, a client has every frame once, in order`, async (t) => {
      const seed = 20261121;
      t.diagnostic(`seed ${seed}`);
      const random = new Random(seed);
      const { served, venue, ids } = await start();
      const { url } = served;
      const selection = { ...LOSSLESS, symbols: ["A0/USDT", "A1/USDT", "P/USDT:USDT"] };
      const open = () => Probe.open(`${url}/stream?time_unit=us`, { protocols: [`tickwire.v1.${encoding}`] });
      let probe = await open();
      await probe.subscribe("all", selection);
      await settled(served);
      const ring = new Ring(served);
      const epoch = (probe.messages("hello")[0] as Any).epoch;
      const have: Frame[] = [];
      let begun = 0;
      for (let cut = 0; cut < 100; cut += 1) {
        await traffic(venue, served, ids, random.integer(0, 60), random);
        if (random.chance(0.7)) await probe.level();
        await leave(served, probe);
        have.push(...ringFrames(probe.frames));
        const position = Math.max(0, ...probe.log.map((each) => (each.position as number | undefined) ?? 0));
        await traffic(venue, served, ids, random.integer(0, 200), random);
        ring.read();
        probe = await open();
        const ack = await probe.subscribe("all", { ...selection, resume: { epoch, position } });
        assert.equal(ack.resume, "resumed");
        if (random.chance(0.5)) await traffic(venue, served, ids, random.integer(0, 60), random);
        await probe.until(() => probe.messages("replay_end").length === 1, "the end of the replay");
        begun += probe.messages("replay_begin").length;
      }
      await traffic(venue, served, ids, 100, random);
      await probe.level();
      have.push(...ringFrames(probe.frames));
      ring.read();
      const wanted = new Set(have.map(({ stream }) => stream));
      assert.equal(wanted.size, 18, "2 instruments with 4 streams and 1s bars, a perpetual with 6 and none");
      const first = new Map<number, number>();
      for (const { stream, seq } of have) if (!first.has(stream)) first.set(stream, seq);
      const expected = ring.frames.filter(({ stream, seq }) => seq >= (first.get(stream) ?? Number.POSITIVE_INFINITY));
      assert.deepEqual(have.map(name), expected.map(name));
      if (encoding === "flatbuffers") assert.deepEqual(have, expected);
      assert.deepEqual(have.map(timed), expected.map(timed));
      assert.equal(begun, 100);
      assert.equal(probe.messages("gap").length, 0);
      await leave(served, probe);
      await served.stop();
    });
  }

  test("a wildcard resumes with the streams that were born meanwhile", async () => {
    const { served, venue, ids } = await start({}, 40);
    const selection = { channels: ["trades", "quotes"], symbols: ["*"] };
    const named = await Probe.open(`${served.url}/stream`);
    await named.subscribe("some", { channels: ["trades", "quotes"], symbols: ["A0/USDT"] });
    const probe = await Probe.open(`${served.url}/stream`);
    await probe.subscribe("all", selection);
    await settled(served);
    await traffic(venue, served, ids.slice(0, 1), 50, new Random(1));
    await probe.level();
    await leave(served, probe);
    const epoch = (probe.messages("hello")[0] as Any).epoch;
    const position = Math.max(...ringFrames(probe.frames).map((frame) => frame.position));
    const before = new Set(ringFrames(probe.frames).map(name));
    await named.subscribe("more", { channels: ["trades", "quotes"], symbols: ["A1/USDT", "A39/USDT"] });
    await traffic(venue, served, ids, 100, new Random(2));
    const again = await Probe.open(`${served.url}/stream`);
    await again.subscribe("all", { ...selection, resume: { epoch, position } });
    await again.until(() => again.messages("replay_end").length === 1, "the end of the replay");
    await traffic(venue, served, ids, 100, new Random(3));
    await again.level();
    const ring = new Ring(served).read().filter(({ stream }) => stream !== 0 && [1, 3].includes(stream & 31));
    const expected = ring.filter((frame) => frame.position > position && frame.type !== "instrument");
    assert.deepEqual(ringFrames(again.frames).map(name), expected.map(name));
    assert.ok(new Set(expected.map(({ stream }) => stream)).size === 6, "three instruments");
    assert.ok(expected.every((frame) => !before.has(name(frame))));
    await leave(served, again, named);
    await served.stop();
  });

  test("what the window has not any more is a gap, named exactly where the client says what it holds", async () => {
    const { served, venue, ids } = await start({ ringBytes: 3 * 2 ** 20 });
    const [id] = ids as [number];
    const selection = { ...LOSSLESS, channels: ["trades", "orderbook", "quotes"], symbols: ["A0/USDT"] };
    const probe = await Probe.open(`${served.url}/stream`);
    await probe.subscribe("all", selection);
    await settled(served);
    await traffic(venue, served, [id], 50, new Random(1));
    await probe.level();
    await leave(served, probe);
    const epoch = (probe.messages("hello")[0] as Any).epoch;
    const position = Math.max(...ringFrames(probe.frames).map((frame) => frame.position));
    const held: Record<string, number> = {};
    for (const frame of probe.frames) held[frame.stream] = frame.seq;
    await traffic(venue, served, [id], 20_000, new Random(2));
    const { ticks } = served.engine.frames.log;
    assert.ok(ticks.tail > 20_000, "the ring has gone round");
    for (const known of [held, undefined]) {
      const again = await Probe.open(`${served.url}/stream`);
      await again.subscribe("all", { ...selection, resume: { epoch, position, ...(known ? { held: known } : {}) } });
      await again.until(() => again.messages("replay_end").length === 1, "the end of the replay");
      const begin = again.messages("replay_begin")[0] as Any;
      assert.equal(begin.truncated, true);
      const gaps = again.messages("gap") as unknown as {
        stream: number;
        from: number | null;
        to: number;
        reason: string;
      }[];
      assert.deepEqual(gaps.map(({ stream }) => stream & 31).sort(), [1, 2, 3]);
      for (const { stream, from, to, reason } of gaps) {
        assert.equal(reason, "window");
        assert.equal(from, known === undefined ? null : (held[stream] as number) + 1);
        const first = again.frames.find((frame) => frame.stream === stream) as Frame;
        // What is state goes on from a snapshot that stands for all of it.
        if ((stream & 31) === 2) assert.deepEqual([first.from_seq, first.flags.includes("snapshot")], [0, true]);
        else assert.equal(first.from_seq, to + 1);
      }
      let expected = new Map(gaps.map(({ stream, to }) => [stream, to]));
      for (const { stream, from_seq, seq } of again.frames) {
        assert.ok(from_seq <= (expected.get(stream) as number) + 1, "no hole besides");
        expected = expected.set(stream, seq);
      }
      for (const [stream, seq] of expected) assert.equal(seq, served.engine.frames.sequence(stream));
      await leave(served, again);
    }
    await served.stop();
  });

  test("a book that the client says it has not got begins with a snapshot", async () => {
    const { served, venue, ids } = await start();
    const other = await Probe.open(`${served.url}/stream`);
    const selection = { channels: ["trades", "orderbook", "quotes"], depth: "full", symbols: ["A0/USDT"] };
    const ack = await other.subscribe("all", selection);
    await settled(served);
    await traffic(venue, served, ids.slice(0, 1), 40, new Random(1));
    const streams = ack.streams as { stream: number; channel: string }[];
    const of = (channel: string) => streams.find((each) => each.channel === channel)?.stream as number;
    const { epoch, position } = served.engine.frames.log;
    const held = {
      [of("trades")]: served.engine.frames.sequence(of("trades")),
      [of("quotes")]: served.engine.frames.sequence(of("quotes")),
    };
    await traffic(venue, served, ids.slice(0, 1), 40, new Random(2));
    const probe = await Probe.open(`${served.url}/stream`);
    await probe.subscribe("all", { ...selection, resume: { epoch, position, held } });
    await probe.until(() => probe.messages("replay_end").length === 1, "the end of the replay");
    await traffic(venue, served, ids.slice(0, 1), 40, new Random(3));
    await probe.level();
    for (const { stream, channel } of streams) {
      const frames = probe.frames.filter((frame) => frame.stream === stream);
      const [first] = frames as [Frame];
      assert.equal(first.from_seq, channel === "orderbook" ? 0 : (held[stream] as number) + 1);
      for (const [index, frame] of frames.slice(1).entries())
        assert.equal(frame.from_seq, (frames[index] as Frame).seq + 1);
      assert.equal(frames.at(-1)?.seq, served.engine.frames.sequence(stream));
    }
    await leave(served, probe, other);
    await served.stop();
  });

  test("an epoch that is not this server's, and a position that is not yet", async () => {
    const { served, venue, ids } = await start();
    const other = await Probe.open(`${served.url}/stream`);
    await other.subscribe("all", { ...LOSSLESS, symbols: ["A0/USDT"] });
    await traffic(venue, served, ids.slice(0, 1), 40, new Random(1));
    const probe = await Probe.open(`${served.url}/stream`);
    const selection = { ...LOSSLESS, channels: ["trades", "orderbook"], symbols: ["A0/USDT"] };
    const ack = await probe.subscribe("all", { ...selection, resume: { epoch: 12, position: 5 } });
    assert.equal(ack.resume, "unknown_epoch");
    await settled(served);
    await probe.level();
    const gaps = probe.messages("gap");
    assert.deepEqual(
      gaps.map(({ reason, from }) => [reason, from]),
      [
        ["epoch", 1],
        ["epoch", 1],
      ],
    );
    assert.equal(probe.messages("replay_begin").length, 0);
    const ahead = await probe.ask({
      type: "subscribe",
      id: "ahead",
      ...selection,
      resume: { epoch: served.engine.frames.log.epoch, position: 1e9 },
    });
    assert.equal(ahead.code, "bad_request");
    await leave(served, probe, other);
    await served.stop();
  });

  test("frames of other subscriptions wait, so that the newest position says all that a client has", async () => {
    const { served, venue, ids } = await start();
    const first = await Probe.open(`${served.url}/stream`);
    const all = { channels: ["trades"], symbols: ["A0/USDT", "A1/USDT"] };
    await first.subscribe("all", all);
    await settled(served);
    await traffic(venue, served, ids.slice(0, 2), 2000, new Random(1));
    const probe = await Probe.open(`${served.url}/stream`);
    await probe.subscribe("live", { channels: ["trades"], symbols: ["A0/USDT"] });
    await settled(served);
    const { epoch } = served.engine.frames.log;
    await probe.subscribe("past", { channels: ["trades"], symbols: ["A1/USDT"], resume: { epoch, position: 1 } });
    await traffic(venue, served, ids.slice(0, 2), 2000, new Random(2));
    await probe.until(() => probe.messages("replay_end").length === 1, "the end of the replay");
    await probe.level();
    const positions = ringFrames(probe.frames).map(({ position }) => position);
    const replayed = positions.slice(positions.findIndex((position, index) => position < (positions[index - 1] ?? 0)));
    assert.deepEqual(
      replayed,
      [...replayed].sort((a, b) => a - b),
    );
    assert.equal(new Set(ringFrames(probe.frames).map(name)).size, positions.length, "nothing twice");
    const ring = new Ring(served).read().filter(({ type, stream }) => type === "trade" && stream >>> 5 === ids[1]);
    const got = probe.frames.filter(({ type, stream }) => type === "trade" && stream >>> 5 === ids[1]);
    assert.deepEqual(got.map(name), ring.map(name));
    await leave(served, probe, first);
    await served.stop();
  });
});

describe("fetch", () => {
  test("sends a range again, and says what is not there any more", async () => {
    const { served, venue, ids } = await start({ ringBytes: 3 * 2 ** 20 });
    const probe = await Probe.open(`${served.url}/stream`);
    const ack = await probe.subscribe("all", { channels: ["trades"], symbols: ["A0/USDT"] });
    const [{ stream }] = ack.streams as [{ stream: number }];
    await traffic(venue, served, ids.slice(0, 1), 20_000, new Random(1));
    await probe.level();
    const last = served.engine.frames.sequence(stream);
    const first = new Ring(served).read().find((frame) => frame.stream === stream && frame.type === "trade") as Frame;
    assert.ok(first.seq > 100, "the ring has gone round");
    const fetch = async (id: number, from: number, to: number) => {
      const at = probe.log.length;
      probe.send({ type: "fetch", id, stream, from, to });
      await probe.until(() => probe.log.some((each) => each.type === "replay_end" && each.id === id), "the end");
      return probe.log.slice(at);
    };
    const whole = await fetch(1, last - 9, last);
    assert.deepEqual(
      whole.map(({ type, seq }) => seq ?? type),
      ["replay_begin", ...Array.from({ length: 10 }, (_, i) => last - 9 + i), "replay_end"],
    );
    const cut = await fetch(2, first.seq - 5, first.seq + 1);
    assert.deepEqual(
      cut.map(({ type, seq, from, to }) => (type === "gap" ? [from, to] : (seq ?? type))),
      ["replay_begin", [first.seq - 5, first.seq - 1], first.seq, first.seq + 1, "replay_end"],
    );
    const gone = await fetch(3, 5, 7);
    assert.deepEqual(
      gone.map(({ type, from, to }) => (type === "gap" ? [from, to] : type)),
      ["replay_begin", [5, 7], "replay_end"],
    );
    const beyond = await fetch(4, last, last + 3);
    assert.deepEqual(
      beyond.map(({ type, seq, from, to }) => (type === "gap" ? [from, to] : (seq ?? type))),
      ["replay_begin", last, [last + 1, last + 3], "replay_end"],
    );
    for (const wrong of [
      { stream: 12345, from: 1, to: 2 },
      { stream, from: 3, to: 2 },
      { stream, from: 0, to: 2 },
      { stream },
    ]) {
      assert.equal(
        (await probe.ask({ type: "fetch", id: "wrong", ...wrong })).code,
        "bad_request",
        JSON.stringify(wrong),
      );
      probe.log.length = 0;
    }
    await leave(served, probe);
    await served.stop();
  });
});

const NOW = Date.UTC(2026, 10, 21, 12) * 1000;

const WRONG_FORMS: unknown[] = [
  ..."|now|now-|now-5|now-5x|now-5 m|now -5m|now+5m|NOW-5m|now-5M|now-5mm|now--5m|now-5m3|now-1e3s|now-.5s|now-5.s".split(
    "|",
  ),
  ...["now-0x5s", "now-99999999999999s", "yesterday", "5m", "-5m", "seq:5", "12:00", "2026", "2026-11", "2026-13-01"],
  ...[
    "2026-02-30",
    "2026-11-21T11:00:00",
    "2026-11-21T25:00:00Z",
    "2026-11-21 11:00:00Z",
    "2026-11-21T11Z",
    "21.11.2026",
  ],
  ...["Sat Nov 21 2026", "2026-11-21T11:00:00Zulu", "1", "-1795258800", "1795258800s", "0x6B00", "1e9", "1795258800,5"],
  ...[0, -1, 5, Number.NaN, 1e300, NOW, NOW / 1e6 + 60, "2999-01-01", null, true, [1795258800], { ms: 5 }],
];

describe("from", () => {
  test("every form that is documented", () => {
    const forms: [string | number, number][] = [
      ["now-250ms", NOW - 250e3],
      ["now-60s", NOW - 60e6],
      ["now-1.5s", NOW - 1.5e6],
      ["now-5m", NOW - 300e6],
      ["now-1h", NOW - 3600e6],
      ["now-1d", NOW - 86_400e6],
      ["now-0s", NOW],
      ["2026-11-21T11:00:00Z", NOW - 3600e6],
      ["2026-11-21T11:00:00.250Z", NOW - 3600e6 + 250e3],
      ["2026-11-21T13:00:00+02:00", NOW - 3600e6],
      ["2026-11-21T11:00Z", NOW - 3600e6],
      ["2026-11-21", Date.UTC(2026, 10, 21) * 1000],
      [NOW / 1e6, NOW],
      [NOW / 1e3, NOW],
      [NOW / 1e6 - 0.5, NOW - 500e3],
      [String(NOW / 1e6), NOW],
      [String(NOW / 1e3), NOW],
      ["1795258800.25", 1795258800.25e6],
    ];
    for (const [form, time] of forms) assert.equal(readFrom(form, NOW), time, String(form));
  });

  test("50 that are none", () => {
    assert.ok(WRONG_FORMS.length >= 50, String(WRONG_FORMS.length));
    for (const form of WRONG_FORMS) {
      assert.throws(
        () => readFrom(form, NOW),
        (error) => error instanceof RequestError && error.code === "bad_request",
        String(form),
      );
    }
  });
});

describe("replay by time", () => {
  test("begins where it was asked, says where it really began, and is refused when it must be whole", async () => {
    const { served, venue, ids } = await start({ ringBytes: 3 * 2 ** 20 });
    const one = ids.slice(0, 1);
    const selection = { channels: ["trades", "quotes"], symbols: ["A0/USDT"] };
    const live = await Probe.open(`${served.url}/stream?time_unit=us`);
    await live.subscribe("all", selection);
    await settled(served);
    await traffic(venue, served, one, 1000, new Random(1));
    await live.level();
    const frames = ringFrames(live.frames);
    const times = [...new Set(frames.map(({ ts_publish }) => ts_publish))];
    const middle = times[times.length >> 1] as number;
    const replay = async (from: string | number, more: object = {}) => {
      const probe = await Probe.open(`${served.url}/stream?time_unit=us`);
      const answer = await probe.ask({ type: "subscribe", id: "past", ...selection, from, ...more });
      if (answer.type === "error") return { probe, answer, begin: answer };
      await probe.until(() => probe.messages("replay_end").length === 1, "the end of the replay");
      return { probe, answer, begin: probe.messages("replay_begin")[0] as Any };
    };
    // The form has microseconds in its fraction, which milliseconds as a number have not.
    const iso = new Date(Math.ceil(middle / 1000)).toISOString();
    const part = await replay(iso, { strict: true });
    assert.equal(part.begin.truncated, false);
    const since = Date.parse(iso) * 1000;
    assert.deepEqual(
      ringFrames(part.probe.frames).map(name),
      frames.filter((frame) => frame.ts_publish >= since).map(name),
    );
    assert.equal(part.begin.from_time, since);
    const early = await replay("now-1d");
    assert.equal(early.begin.truncated, true);
    assert.ok((early.begin.from_time as number) > Date.now() * 1000 - 3600e6);
    assert.deepEqual(
      ringFrames(early.probe.frames)
        .filter(({ type }) => type !== "state")
        .map(name),
      frames.filter(({ type }) => type !== "state").map(name),
    );
    assert.equal((await replay("now-1d", { strict: true })).answer.code, "not_available");
    assert.equal((await replay("2030-01-01")).answer.code, "bad_request");
    assert.equal((await replay("now-5x")).answer.code, "bad_request");
    await traffic(venue, served, one, 20_000, new Random(2));
    const lapped = await replay(iso);
    assert.equal(lapped.begin.truncated, true);
    assert.ok((lapped.begin.from_time as number) > since);
    assert.equal(lapped.probe.messages("gap").length, 0, "nothing was promised before the true start");
    const url = await Probe.open(`${served.url}/stream?channels=trades&symbols=A0/USDT&from=now-1m`);
    await url.until(() => url.messages("replay_end").length === 1, "the end of the replay");
    assert.ok(url.frames.length > 0);
    await leave(served, part.probe, early.probe, lapped.probe, live, url);
    await served.stop();
  });

  test("every form is answered as documented, in the window, before it, and when it is none", async () => {
    const { served, venue, ids } = await start();
    const selection = { channels: ["trades"], symbols: ["A0/USDT"] };
    const probe = await Probe.open(`${served.url}/stream`);
    await probe.subscribe("live", selection);
    await settled(served);
    await traffic(venue, served, ids.slice(0, 1), 50, new Random(1));
    const { startedAt } = served.engine.window;
    const inside = Date.now() - 1;
    await new Promise((resolve) => setTimeout(resolve, 3));
    const hour = 3_600_000;
    const forms: [from: string | number, truncated: boolean][] = [
      ["now-0s", false],
      ["now-1ms", false],
      [new Date(inside).toISOString(), false],
      [inside, false],
      [inside / 1000, false],
      [String(inside), false],
      ["now-60m", true],
      ["now-1h", true],
      ["now-3600s", true],
      ["now-1d", true],
      [new Date(inside - hour).toISOString(), true],
      [inside - hour, true],
      [(inside - hour) / 1000, true],
      [new Date(inside).toISOString().slice(0, 10), true],
    ];
    for (const [index, [from, truncated]] of forms.entries()) {
      const id = `form ${index}`;
      const request = { type: "subscribe", id, channels: ["quotes"], symbols: ["A0/USDT"], from };
      await probe.ask({ ...request, strict: true, id: `${id}, strict` }).then(({ code }) => {
        assert.equal(code, truncated ? "not_available" : undefined, `${from}, strict`);
      });
      assert.equal((await probe.ask(request)).status, "subscribed", String(from));
      const begun = () => probe.messages("replay_begin").find((each) => each.id === id);
      await probe.until(() => begun() !== undefined, "the replay to begin");
      assert.equal(begun()?.truncated, truncated, String(from));
      if (truncated) assert.equal(begun()?.from_time, Math.floor(served.engine.window.start(false) / 1000));
      assert.ok((begun()?.from_time as number) >= Math.floor(startedAt / 1000));
    }
    const future = [Date.now() / 1000 + 60, Date.now() + 60_000];
    for (const [index, from] of [...WRONG_FORMS.filter((each) => each !== NOW / 1e6 + 60), ...future].entries()) {
      // JSON has no NaN: it would be null.
      if (typeof from === "number" && Number.isNaN(from)) continue;
      const answer = await probe.ask({ type: "subscribe", id: `wrong ${index}`, ...selection, from });
      assert.equal(answer.code, "bad_request", String(from));
    }
    assert.equal(probe.closed, undefined);
    await leave(served, probe);
    await served.stop();
  });

  test("a book's changes wait for a snapshot to change", async () => {
    const { served, venue, ids } = await start();
    const [id] = ids as [number];
    const selection = { channels: ["orderbook"], depth: "full", symbols: ["A0/USDT"] };
    const live = await Probe.open(`${served.url}/stream`);
    await live.subscribe("all", selection);
    await settled(served);
    await traffic(venue, served, [id], 100, new Random(1));
    const later = new Date().toISOString();
    await new Promise((resolve) => setTimeout(resolve, 5));
    await traffic(venue, served, [id], 100, new Random(2));
    const ask = async (from: string) => {
      const probe = await Probe.open(`${served.url}/stream`);
      await probe.subscribe("past", { ...selection, from });
      await probe.until(() => probe.messages("replay_end").length === 1, "the end of the replay");
      return probe;
    };
    const whole = await ask("now-1h");
    assert.ok((whole.frames.find(({ type }) => type === "orderbook") as Frame).flags.includes("snapshot"));
    assert.equal(whole.messages("gap").length, 0);
    assert.ok(whole.frames.length > 200);
    const none = await ask(later);
    assert.deepEqual(
      none.messages("gap").map(({ reason, from }) => [reason, from]),
      [["no_snapshot", null]],
    );
    assert.deepEqual(
      none.frames.map(({ flags }) => flags.includes("snapshot")),
      [true],
    );
    await leave(served, live, whole, none);
    await served.stop();
  });
});
