/** The load test's receiver, in both of its forms: what it reports is exactly what a server was told to send. */
import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import type { Receiver } from "../loadtest/receiver.ts";
import { LatencyHistogram } from "../loadtest/receiver-latency.ts";
import { nativeProgram, nodeProgram } from "../loadtest/receiver-programs.ts";
import { readConfig } from "../src/config.ts";
import { Gateway } from "../src/main.ts";
import { SLOT_TRADES, streamOf } from "../src/market/channel.ts";
import type { Instrument } from "../src/market/instrument.ts";
import { Random } from "../src/std/random.ts";
import { Client, eventually } from "./gateway.ts";
import type { Counted, FrameNumbers, Peer } from "./receiver-double.ts";
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  counted,
  frameOf,
  KINDS,
  NOTHING,
  PING,
  packet,
  reported,
  ScriptedServer,
  start,
  TEXT,
} from "./receiver-double.ts";
import { serve, settled, spot } from "./serve.ts";

const ACK = packet(
  TEXT,
  '{"type":"system","status":"subscribed","id":1,"received":{"seq":4},"streams":[{"stream":97,"seq":10},{"stream":98,"channel":"trades","seq":0}],"unavailable":[]}',
);

/** Frames with known faults, as one stream of bytes, and what a receiver must say of them. */
function script(): { bytes: Buffer; expected: object } {
  const frames: Buffer[] = [];
  const of = (numbers: FrameNumbers) => {
    frames.push(frameOf(numbers));
    return frames.at(-1) as Buffer;
  };
  const parts: Buffer[] = [packet(TEXT, '{"type":"hello","version":"1","position":3}')];
  const ring = (stream: number, ...seqs: number[]) => {
    for (const seq of seqs) parts.push(packet(BINARY, of({ stream, seq })));
  };
  const derived = (stream: number, from: number, seq: number) =>
    parts.push(packet(BINARY, of({ stream, from, seq, derived: true })));
  ring(97, 11, 12);
  ring(97, 16); // 3 are missing
  ring(97, 16, 14); // 2 duplicates
  ring(97, 17);
  derived(97, 10, 16); // a snapshot of what is held
  ring(97, 18);
  derived(97, 12, 19); // begins with what is held, and goes on
  ring(97, 20);
  derived(97, 23, 24); // 2 are missing
  ring(97, 25);
  derived(97, 26, 25); // a building bar's: nothing new in the ring
  ring(97, 26);
  ring(98, 1, 2);
  ring(99, 500, 501, 503); // no ack said where it stands: 1 is missing
  parts.push(packet(TEXT, '{"type":"stream_added","subscription":1,"stream":{"stream":100,"seq":7}}'));
  ring(100, 9); // 1 is missing
  // An ack of a stream that is held already changes nothing.
  parts.push(packet(TEXT, '{"type":"system","status":"subscribed","streams":[{"stream":98,"seq":900}]}'));
  ring(98, 3);

  const large = of({ stream: 98, seq: 4, idBytes: 300 });
  parts.push(packet(BINARY, large.subarray(0, 100), { isFinal: false }), packet(PING, "between"));
  parts.push(packet(CONTINUATION, "", { isFinal: false }), packet(CONTINUATION, large.subarray(100)));
  parts.push(packet(PING, ""), packet(10, "nobody asked"));

  const good = frameOf({ stream: 98, seq: 5 });
  const spoilt = (spoil: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good);
    spoil(bytes);
    parts.push(packet(BINARY, bytes));
  };
  const table = good.readUInt32LE(0);
  const vtable = table - good.readInt32LE(table);
  parts.push(packet(BINARY, ""), packet(BINARY, "12345"), packet(BINARY, good.subarray(0, table + 8)));
  spoilt((bytes) => bytes.write("TWF2", 4));
  spoilt((bytes) => bytes.writeUInt32LE(0xfffffff0, 0));
  spoilt((bytes) => bytes.writeInt32LE(-2_000_000, table));
  spoilt((bytes) => bytes.writeInt32LE(2_000_000, table));
  spoilt((bytes) => bytes.writeUInt16LE(65_534, vtable));
  spoilt((bytes) => bytes.writeUInt16LE(65_534, vtable + 2));
  spoilt((bytes) => bytes.writeUInt16LE(60_000, vtable + 12)); // the place of seq
  parts.push(packet(TEXT, "no json"), packet(TEXT, '{"type":'), packet(TEXT, ""));
  parts.push(packet(TEXT, '{"type":"error","id":9,"code":"unknown_symbol","message":"\\"type\\""}'));

  const expected = {
    ...NOTHING,
    frames: frames.length,
    bytes: frames.reduce((sum, { length }) => sum + length, 0),
    holes: 3 + 2 + 1 + 1,
    duplicates: 2,
    leastFrames: frames.length,
    mostFrames: frames.length,
    errors: { "malformed frame": 10, "malformed control": 3, "error unknown_symbol": 1 },
  };
  return { bytes: Buffer.concat(parts), expected };
}

/** Starts a receiver of one client at the server, and answers its subscribe. */
async function subscribed(
  server: ScriptedServer,
  kind: "native" | "node",
): Promise<{ receiver: Receiver; peer: Peer }> {
  const send = ['{"type":"subscribe","id":1}', `{"type":"ping","id":"${"x".repeat(70_000)}"}`];
  const before = server.peers.length;
  const starting = start(kind, { url: server.url, clients: 1, form: "flatbuffers", send, readyAcks: 1 });
  await eventually(() => server.peers[before]?.texts.length === 2, "what the client sends");
  const peer = server.peers[before] as Peer;
  deepStrictEqual(peer.texts, send);
  peer.raw.write(ACK);
  return { receiver: await starting, peer };
}

for (const { kind, skip } of KINDS) {
  test(`${kind}: holes, duplicates, snapshots and malformed bytes are what was sent, however they are cut`, {
    skip,
  }, async () => {
    const server = await ScriptedServer.start();
    const { receiver, peer } = await subscribed(server, kind);
    const random = new Random(7);
    const { bytes, expected } = script();
    const ways: ((left: number) => number)[] = [
      (left) => left,
      () => 1,
      () => 2,
      () => 7,
      () => random.integer(1, 300),
    ];
    for (const cuts of ways) {
      const again = cuts === ways[0] ? { receiver, peer } : await subscribed(server, kind);
      await server.play(again.peer, bytes, cuts);
      deepStrictEqual(counted(await again.receiver.report()), expected);
      deepStrictEqual(again.peer.pongs.slice(0, 2), ["between", ""]);
      again.receiver.reset();
      deepStrictEqual(counted(await again.receiver.report()), NOTHING);
      // What is held outlives a reset: 4 is a duplicate.
      await server.play(again.peer, packet(BINARY, frameOf({ stream: 98, seq: 4 })));
      strictEqual((await again.receiver.report()).duplicates, 1);
      await again.receiver.stop();
    }
    await server.stop();
  });

  test(`${kind}: large messages, and many in one read`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const { receiver, peer } = await subscribed(server, kind);
    const random = new Random(3);
    const frames: Buffer[] = [];
    for (let seq = 11; seq <= 400; seq += 1) {
      const idBytes = seq % 40 === 0 ? 100_000 : random.integer(0, 900);
      frames.push(frameOf({ stream: 97, seq, idBytes }));
    }
    frames.push(frameOf({ stream: 97, seq: 401, idBytes: 3_000_000 }));
    await server.play(peer, Buffer.concat(frames.map((frame) => packet(BINARY, frame))), () =>
      random.integer(1, 60_000),
    );
    const { length } = frames;
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
    deepStrictEqual(counted(await receiver.report()), {
      ...NOTHING,
      frames: length,
      bytes,
      leastFrames: length,
      mostFrames: length,
    });
    await receiver.stop();
    await server.stop();
  });

  test(`${kind}: closes are counted by code, broken protocol as such, refusals by status`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const closing = (code: number) => packet(CLOSE, Buffer.from([code >> 8, code & 255, 98, 121, 101]));
    const ends: Buffer[] = [
      closing(4008),
      closing(4008),
      closing(1001),
      packet(CLOSE, ""),
      packet(BINARY, frameOf({ stream: 1, seq: 1 }), { first: 0xc2 }),
      packet(BINARY, frameOf({ stream: 1, seq: 1 }), { mask: 0x80 }),
      packet(3, "?"),
      packet(CONTINUATION, "of nothing"),
      Buffer.concat([packet(TEXT, "{", { isFinal: false }), packet(TEXT, "}")]),
      packet(PING, "half", { isFinal: false }),
      packet(PING, "x".repeat(126)),
      packet(CLOSE, "1"),
      closing(1005),
      Buffer.from([0x82, 127, 0, 0, 0, 0, 0x04, 0, 0, 1]),
      Buffer.from([0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 1]),
    ];
    const clients = ends.length + 3;
    const receiver = await start(kind, { url: server.url, clients, form: "flatbuffers", rampPerSecond: 500 });
    await eventually(() => server.peers.length === clients, "all connections");
    for (const [index, bytes] of ends.entries()) (server.peers[index] as Peer).raw.write(bytes);
    (server.peers[ends.length] as Peer).raw.destroy();
    (server.peers[ends.length + 1] as Peer).raw.resetAndDestroy();
    const expected = {
      ...NOTHING,
      closed: { 1001: 1, 1005: 1, 1006: 2, 4008: 2 },
      errors: { "protocol error": 11 },
    };
    const seen = await reported(receiver, ({ clients }) => clients === 1);
    deepStrictEqual(counted(seen), expected);

    // The one that is left still counts, and more can come.
    await receiver.connect(2);
    strictEqual((await receiver.report()).clients, 3);
    await receiver.stop();
    const { url } = server;
    const options = { clients: 1, form: "json" } as const;
    await rejects(start(kind, { ...options, url: url.replace("/stream", "/refused") }), /"refused 429":1/);
    await server.stop();
    await rejects(start(kind, { ...options, url }), /"connect ECONNREFUSED":1/);
  });

  test(`${kind}: clients are dropped by a reset and come back as new ones`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const receiver = await start(kind, {
      url: server.url,
      clients: 20,
      form: "flatbuffers",
      send: ["hi"],
      readyAcks: 0,
    });
    for (const peer of server.peers) await server.play(peer, packet(BINARY, frameOf({ stream: 5, seq: 40 })));
    receiver.drop(8);
    await eventually(() => server.peers.filter(({ isReset }) => isReset).length === 8, "8 resets");
    const { clients, dropped, closed, errors, mostFrames } = await receiver.report();
    deepStrictEqual(
      { clients, dropped, closed, errors, mostFrames },
      { clients: 12, dropped: 8, closed: {}, errors: {}, mostFrames: 1 },
    );
    await receiver.connect(3);
    await eventually(() => server.peers.length === 23, "the new ones");
    // A new client holds nothing: any first sequence is right.
    await server.play(server.peers[22] as Peer, packet(BINARY, frameOf({ stream: 5, seq: 77 })));
    const after = await receiver.report();
    const expected = { ...NOTHING, frames: 21, bytes: 21 * frameOf({ stream: 5, seq: 1 }).length, mostFrames: 1 };
    deepStrictEqual(counted(after), { ...expected, clients: 15, dropped: 8, leastFrames: 0 });
    await receiver.stop();
    await server.stop();
  });
}

/** A server that answers a handshake with what it is told, {ACCEPT} replaced by the right key. */
async function answering(text: string, frames: Buffer): Promise<{ server: Server; url: string }> {
  const server = createServer((socket) => {
    socket.setNoDelay(true).on("error", () => {});
    socket.once("data", async (request) => {
      const key = /Sec-WebSocket-Key: (.*)\r\n/i.exec(request.toString())?.[1];
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      const answer = Buffer.concat([Buffer.from(text.replace("{ACCEPT}", accept)), frames]);
      for (const byte of answer.subarray(0, -40)) {
        socket.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      // The end of the head and the first frames in one read.
      socket.write(answer.subarray(-40));
      if (frames.length === 0) socket.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

for (const { kind, skip } of KINDS) {
  test(`${kind}: the handshake is checked, however its answer is cut`, { skip }, async () => {
    const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    const frame = packet(BINARY, frameOf({ stream: 1, seq: 1 }));
    const answers: [answer: string, frames: Buffer, report: RegExp][] = [
      [
        `${head}sec-websocket-accept:{ACCEPT}\r\nSec-WebSocket-Protocol: p\r\n\r\n`,
        Buffer.concat([frame, frame.subarray(0, 30)]),
        /no error/,
      ],
      [`${head}Sec-WebSocket-Accept: AAAA\r\n\r\n`, frame, /"connect Invalid Sec-WebSocket-Accept header":1/],
      [`${head}Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n`, frame, /"connect Server sent no subprotocol":1/],
      [
        `${head}Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: x\r\n\r\n`,
        frame,
        /"connect Server sent an invalid subprotocol":1/,
      ],
      ["HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Buffer.alloc(0), /"refused 503":1/],
      [head, Buffer.alloc(0), /"connect ECONNRESET":1/],
    ];
    for (const [answer, frames, said] of answers) {
      const { server, url } = await answering(answer, frames);
      const options = { url, clients: 1, form: "flatbuffers", protocol: "p" } as const;
      if (String(said) === "/no error/") {
        const receiver = await start(kind, options);
        strictEqual((await reported(receiver, ({ frames }) => frames > 0)).frames, 1);
        await receiver.stop();
      } else await rejects(start(kind, options), said);
      server.close();
    }
  });
}

const jsonFrame = (stream: number, from: number, seq: number, flags = '"last_of_event"', ts: number | null = null) =>
  `{"type":"trade","exchange":"a","symbol":"A \\"0\\"/B","stream":${stream},"channel":"trades","epoch":7,"position":9,"seq":${seq},"from_seq":${from},"ts_exchange":${ts},"ts_receive":1,"ts_publish":1,"flags":[${flags}],"price":1.5,"trade_id":"}"}`;

for (const { kind, skip } of KINDS) {
  test(`${kind}: the JSON form`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const receiver = await start(kind, { url: server.url, clients: 1, form: "json" });
    const frames = [
      jsonFrame(97, 11, 11),
      jsonFrame(97, 13, 13), // 1 is missing
      jsonFrame(97, 13, 13), // a duplicate
      jsonFrame(97, 2, 15, '"derived","snapshot"'),
      jsonFrame(97, 16, 16),
      ` {"seq" : 17 , "stream" : 97, "from_seq":17, "flags":[], "ts_exchange":null } `,
      // Sequence 0: the snapshot of a stream that has had no frame. Then a building bar's, with nothing new in the ring.
      jsonFrame(98, 0, 0, '"derived"'),
      jsonFrame(98, 1, 0, '"derived"'),
      jsonFrame(98, 1, 1),
    ];
    const control = [
      '{"type":"system","status":"subscribed","received":{"seq":1},"streams":[{"stream":97,"seq":10}]}',
      '{"type":"subscriptions","subscriptions":[{"seq":5}]}',
      '{"type":"error","code":"bad_json"}',
    ];
    const malformed = [
      "{",
      "7",
      '{"seq":1,"stream":2}',
      '{"seq":1,"from_seq":1}',
      jsonFrame(97, 19, 18),
      jsonFrame(97, 20, 18, '"derived"'),
      '{"seq":1,"from_seq":1,"stream":1',
      "",
      "nothing",
    ];
    const texts = [...control, ...frames, ...malformed].map((text) => packet(TEXT, text));
    await server.play(server.peers[0] as Peer, Buffer.concat([...texts, packet(BINARY, "binary")]));
    deepStrictEqual(counted(await receiver.report()), {
      ...NOTHING,
      frames: frames.length,
      bytes: frames.reduce((sum, { length }) => sum + length, 0),
      holes: 1,
      duplicates: 1,
      leastFrames: frames.length,
      mostFrames: frames.length,
      errors: { "error bad_json": 1, "malformed frame": malformed.length + 1 },
    });
    await receiver.stop();
    await server.stop();
  });

  test(`${kind}: a venue's own trades, relayed`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const receiver = await start(kind, { url: server.url, clients: 1, form: "relay" });
    const trade = (symbol: string, id: number) =>
      `{"stream":"${symbol.toLowerCase()}@trade","data":{"e":"trade","E":1,"s":"${symbol}","t":${id},"p":"1.50","q":"2","T":${Date.now() * 1000},"m":true}}`;
    const trades = [
      trade("ETHUSDT", 900),
      trade("ETHUSDT", 901),
      trade("BTCUSDT", 5),
      trade("ETHUSDT", 904), // 2 are missing
      trade("BTCUSDT", 6),
      trade("BTCUSDT", 6), // a duplicate
    ];
    const others = ['{"result":null,"id":1}', '{"stream":"a@bookTicker","data":{"u":1,"s":"ETHUSDT"}}'];
    const malformed = ['{"stream":', '{"data":{"e":"trade","s":"A"}}', '{"data":{"e":"trade","t":1}}', "5"];
    const texts = [...others, ...trades, ...malformed].map((text) => packet(TEXT, text));
    await server.play(server.peers[0] as Peer, Buffer.concat(texts), () => 50);
    const report = await receiver.report();
    deepStrictEqual(counted(report), {
      ...NOTHING,
      frames: trades.length,
      bytes: trades.reduce((sum, { length }) => sum + length, 0),
      holes: 2,
      duplicates: 1,
      leastFrames: trades.length,
      mostFrames: trades.length,
      errors: { "malformed frame": malformed.length },
    });
    strictEqual(report.latencyUs.count, trades.length);
    await receiver.stop();
    await server.stop();
  });

  test(`${kind}: latency is that of ring frames with a stamp, from 0 to 60 s`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const { receiver, peer } = await subscribed(server, kind);
    let seq = 10;
    const stamped = (tsExchange: number, derived = false) => {
      seq += 1;
      return packet(BINARY, frameOf({ stream: 97, seq, tsExchange, derived }));
    };
    const now = () => Date.now() * 1000;
    await server.play(peer, Buffer.concat([stamped(0), stamped(-5), stamped(now() - 1000, true)]));
    const zero = { count: 0, min: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };
    deepStrictEqual((await receiver.report()).latencyUs, zero);

    await server.play(peer, Buffer.concat([stamped(now() + 1_000_000), stamped(1)]));
    const { p99, ...ends } = (await receiver.report()).latencyUs;
    ok(p99 >= 59_400_000 && p99 <= 60_000_000, String(p99));
    deepStrictEqual(ends, { ...ends, count: 2, min: 0, mean: 30_000_000, p50: 0, max: 60_000_000 });

    receiver.reset();
    const sentAt = now();
    await server.play(peer, Buffer.concat([stamped(sentAt - 7_000_000), stamped(sentAt - 2_000_000), stamped(sentAt)]));
    const tookUs = now() - sentAt + 2000;
    const { count, min, p50, max } = (await receiver.report()).latencyUs;
    strictEqual(count, 3);
    // Sender and receiver read the same clock, to the millisecond that Date.now() rounds to.
    ok(min <= tookUs, `${min} in ${tookUs}`);
    ok(p50 >= 1_980_000 && p50 <= 2_020_000 + tookUs, String(p50));
    ok(max >= 6_998_000 && max <= 7_000_000 + tookUs, String(max));
    await receiver.stop();
    await server.stop();
  });

  test(`${kind}: a wrong command line is one line and code 2`, { skip }, async () => {
    const { command, args } = kind === "native" ? await nativeProgram("receiver") : await nodeProgram();
    const url = ["--url", "ws://127.0.0.1:9/x"];
    const wrong: [args: string[], line: RegExp][] = [
      [["--form", "json", "--clients", "1"], /--url must be ws:\/\/HOST:PORT\/PATH, not nothing/],
      [["--url", "wss://a:1/", "--form", "json", "--clients", "1"], /--url must be .*, not wss:\/\/a:1\//],
      [[...url, "--clients", "1"], /--form must be one of flatbuffers, json, relay/],
      [[...url, "--form", "json"], /--clients must be a whole number of at most 60000, not nothing/],
      [[...url, "--form", "json", "--clients", "1x"], /--clients must be a whole number of at most 60000, not 1x/],
      [[...url, "--form", "json", "--clients", "1", "--ramp"], /--ramp needs a value/],
      [["--verbose", "1"], /unknown argument --verbose/],
    ];
    for (const [given, line] of wrong) {
      const { status, stderr, stdout } = spawnSync(command, [...args, ...given], { input: "", encoding: "utf8" });
      deepStrictEqual({ status, stdout, lines: stderr.split("\n").length }, { status: 2, stdout: "", lines: 2 });
      match(stderr, line);
    }
  });

  test(`${kind}: who waits for clients that never become ready is told why`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const options = { url: server.url, form: "flatbuffers", send: ["hello"] } as const;
    await rejects(start(kind, { ...options, clients: 2, readyTimeoutMs: 1000 }), /in 1000 ms: 0 are, .*"errors":\{\}/);
    const receiver = await start(kind, { ...options, clients: 1, readyAcks: 0 });
    await server.stop();
    strictEqual((await reported(receiver, ({ clients }) => clients === 0)).closed["1006"], 1);
    await rejects(receiver.connect(1), /"connect ECONNREFUSED":1/);
    await receiver.stop();
  });

  test(`${kind}: who waits for a receiver that dies is told`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const receiver = await start(kind, { url: server.url, clients: 2, form: "flatbuffers" });
    process.kill(receiver.pid, "SIGSTOP");
    const report = receiver.report();
    const connecting = receiver.connect(1);
    process.kill(receiver.pid, "SIGKILL");
    await rejects(report, /the receiver ended with SIGKILL/);
    await rejects(connecting, /the receiver ended with SIGKILL/);
    await rejects(receiver.report(), /the receiver ended with SIGKILL/);
    await receiver.stop();
    await server.stop();
  });

  test(`${kind}: every trade of a gateway arrives, and is counted`, { skip }, async () => {
    const served = await serve();
    const [venue] = served.venues;
    ok(venue);
    const [instrument] = venue.list(spot(1)) as [number];
    venue.up();
    const stream = streamOf(instrument, SLOT_TRADES);
    // The first trade makes the stream live, which is a frame of its own.
    served.demand.add(served.engine.catalog.get(instrument) as Instrument, "trades");
    venue.trade(instrument);
    const sequence = () => served.engine.frames.sequence(stream);
    for (const form of ["flatbuffers", "json"] as const) {
      const url = `${served.url}/stream?encoding=${form}&time_unit=us`;
      const send = [JSON.stringify({ type: "subscribe", id: 1, channels: ["trades"], symbols: ["A0/USDT"] })];
      const receiver = await start(kind, { url, clients: 30, form, send });
      await settled(served);
      await reported(receiver, ({ clients }) => clients === 30);
      receiver.reset();
      const first = sequence();
      for (let round = 0; round < 50; round += 1) {
        for (let trade = 0; trade < 20; trade += 1) venue.trade(instrument, 100 + round);
        await sleep(1);
      }
      const trades = sequence() - first;
      strictEqual(trades, 1000);
      const report = await reported(receiver, ({ frames }) => frames >= 30 * trades);
      const { bytes, ...numbers } = counted(report);
      const { bytes: _none, ...nothing } = NOTHING;
      const expected = { frames: 30 * trades, leastFrames: trades, mostFrames: trades, clients: 30 };
      deepStrictEqual(numbers, { ...nothing, ...expected });
      ok(bytes > 30 * trades * 150);
      strictEqual(report.latencyUs.count, 30 * trades);
      await receiver.stop();
    }
    await served.stop();
  });

  test(`${kind}: the simulated market, from its first trade to its last`, { skip }, async () => {
    const config = readConfig(["--port=0", "--ring-memory=64", "--max-queue=65536"], {});
    const gateway = new Gateway(config, pino({ level: "silent" }), "0.0.0");
    // All clients are there before the market is: then each must see every frame, and as many as any other client.
    const listening = await gateway.server.listen("127.0.0.1", 0);
    ok("port" in listening);
    const url = `ws://127.0.0.1:${listening.port}/stream`;
    const wildcard = { type: "subscribe", id: "all", channels: ["trades"], symbols: ["*"] };
    const options = {
      url: `${url}?encoding=flatbuffers`,
      form: "flatbuffers",
      send: [JSON.stringify(wildcard)],
    } as const;
    const receiver = await start(kind, { ...options, clients: 20 });
    const other = await Client.open(url, "json");
    await other.subscribe("all", wildcard);
    strictEqual(other.streams.size, 0);
    await gateway.start();
    await other.until(() => other.frames.length > 200, "the market's trades");
    await Promise.all(gateway.feeds.map((feed) => feed.stop()));
    const frames = () => {
      let sum = 0;
      for (const { stream, seq } of other.streams.values()) sum += gateway.engine.frames.sequence(stream) - seq;
      return sum;
    };
    await other.until(() => other.frames.length === frames(), "the last of them");
    const expected = frames();
    const report = await reported(receiver, ({ leastFrames }) => leastFrames >= expected);
    const { bytes, ...numbers } = counted(report);
    const { bytes: _none, ...nothing } = NOTHING;
    const each = { leastFrames: expected, mostFrames: expected, clients: 20 };
    deepStrictEqual(numbers, { ...nothing, ...each, frames: 20 * expected });
    ok(bytes > 20 * 150 * expected);
    ok(report.latencyUs.count > 20 * 150);
    await other.close();
    await receiver.stop();
    await gateway.stop();
  });
}

test("both forms make the same of spoilt frames", { skip: KINDS[1]?.skip ?? false }, async () => {
  const server = await ScriptedServer.start();
  const random = new Random(23);
  const parts: Buffer[] = [];
  for (let seq = 11; seq < 4000; seq += 1) {
    const frame = frameOf({ stream: 97, seq, derived: random.chance(0.1) });
    // Nearly all of it is offsets and places of fields: spoiling one byte is mostly fatal.
    for (let count = random.integer(0, 2); count > 0; count -= 1) {
      frame[random.integer(0, frame.length - 1)] = random.chance(0.5) ? random.integer(0, 255) : random.integer(0, 16);
    }
    parts.push(packet(BINARY, frame.subarray(0, random.chance(0.05) ? random.integer(0, frame.length) : frame.length)));
  }
  const reports: Counted[] = [];
  for (const kind of ["node", "native"] as const) {
    const { receiver, peer } = await subscribed(server, kind);
    await server.play(peer, Buffer.concat(parts));
    reports.push(counted(await receiver.report()));
    await receiver.stop();
  }
  const [node, native] = reports as [Counted, Counted];
  // Sums of random sequences are beyond what a double holds exactly.
  ok(Math.abs(node.holes / native.holes - 1) < 1e-9);
  deepStrictEqual({ ...node, holes: 0 }, { ...native, holes: 0 });
  ok((node.errors["malformed frame"] ?? 0) > 100 && node.frames > 1000);
  await server.stop();
});

test("a histogram's quantiles are within 1 %, its ends exact", () => {
  const random = new Random(11);
  for (let round = 0; round < 200; round += 1) {
    const histogram = new LatencyHistogram();
    const values = Array.from({ length: random.integer(1, 400) }, () => Math.floor(60_000_000 ** random.next()));
    for (const value of values) histogram.add(value);
    values.sort((a, b) => a - b);
    const summary = histogram.summary();
    const exact = (share: number) => values[Math.ceil(share * values.length) - 1] as number;
    for (const [name, share] of [
      ["p50", 0.5],
      ["p90", 0.9],
      ["p99", 0.99],
      ["p999", 0.999],
    ] as const) {
      const error = Math.abs(summary[name] - exact(share));
      ok(error <= 0.01 * exact(share), `${name} ${summary[name]} for ${exact(share)}`);
    }
    const { count, min, max } = summary;
    deepStrictEqual([count, min, max], [values.length, values[0], values.at(-1)]);
  }
});

after(() => {
  delete process.env.TICKWIRE_RECEIVER;
});
