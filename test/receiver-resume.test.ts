/** The load test's receiver, in both of its forms: what it makes of a replay, of gaps, and of a pace. */
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { after, test } from "node:test";
import type { Receiver, Report } from "../loadtest/receiver.ts";
import { lossesOfSlow } from "../loadtest/scenarios/slow.ts";
import { lossesOfCrowd } from "../loadtest/scenarios/storm.ts";
import { eventually } from "./gateway.ts";
import {
  BINARY,
  counted,
  frameOf,
  KINDS,
  NOTHING,
  type Peer,
  packet,
  reported,
  ScriptedServer,
  start,
  TEXT,
} from "./receiver-double.ts";

const EPOCH = 5172;
const STREAM = 97;
const SUBSCRIBE = '{"type":"subscribe","id":1,"channels":["trades"]}';
const PLAIN = '{"type":"list","id":"subscribe"}';
type Form = "flatbuffers" | "json";

const text = (value: object) => packet(TEXT, JSON.stringify(value));
const hello = (epoch = EPOCH) => text({ type: "hello", epoch, position: 3 });
const ack = (seq: number, resume?: string) =>
  text({ type: "system", status: "subscribed", id: 1, streams: [{ stream: STREAM, seq }], resume });
const begin = text({ type: "replay_begin", id: 1, epoch: EPOCH, from_position: 1, truncated: false });
const end = text({ type: "replay_end", id: 1, position: 1 });
const gap = (from: number | null, to: number, reason = "window") =>
  text({ type: "gap", stream: STREAM, from, to, reason });

/** A ring frame lies 1000 places behind its sequence; a derived one says a place that is never to be resumed at. */
function frame(form: Form, seq: number, derived = false): Buffer {
  const position = derived ? 999_999 : 1000 + seq;
  if (form === "flatbuffers") return packet(BINARY, frameOf({ stream: STREAM, seq, position, derived }));
  const flags = derived ? ["derived"] : [];
  return text({ type: "trade", stream: STREAM, epoch: EPOCH, position, seq, from_seq: seq, ts_exchange: null, flags });
}

/** Starts a receiver that resumes, and has its clients subscribed, streams at 10. */
async function resuming(server: ScriptedServer, kind: "native" | "node", form: Form, clients = 1): Promise<Receiver> {
  const options = { url: server.url, clients, form, send: [SUBSCRIBE, PLAIN], readyAcks: 1, resume: true };
  const starting = start(kind, options);
  await eventually(() => server.peers.filter(({ texts }) => texts.length === 2).length === clients, "what they send");
  for (const peer of server.peers) peer.raw.write(Buffer.concat([hello(), ack(10)]));
  return starting;
}

/** Has so many clients connect; their peers, once all have said what they send. */
function comeBack(server: ScriptedServer, receiver: Receiver, clients: number) {
  const before = server.peers.length;
  const connecting = receiver.connect(clients);
  const peers = async () => {
    const news = () => server.peers.slice(before);
    await eventually(() => news().filter(({ texts }) => texts.length === 2).length === clients, "who comes back");
    return news();
  };
  return { connecting, peers: peers() };
}

interface Return {
  what: string;
  /** What the server says when the client comes back that holds up to `held`, while the stream stands at `held + 4`. */
  replay: (held: number, frames: (...seqs: number[]) => Buffer) => Buffer;
  expected: Partial<Report>;
}

const RETURNS: Return[] = [
  { what: "all", replay: (h, of) => of(h + 1, h + 2, h + 3, h + 4), expected: { replayed: 4 } },
  { what: "one skipped", replay: (h, of) => of(h + 1, h + 3, h + 4), expected: { replayed: 3, holes: 1 } },
  {
    what: "one twice",
    replay: (h, of) => of(h + 1, h + 2, h + 2, h + 3, h + 4),
    expected: { replayed: 5, duplicates: 1 },
  },
  {
    what: "one that is held",
    replay: (h, of) => of(h, h + 1, h + 2, h + 3, h + 4),
    expected: { replayed: 5, duplicates: 1 },
  },
  { what: "the first skipped", replay: (h, of) => of(h + 2, h + 3, h + 4), expected: { replayed: 3, holes: 1 } },
  { what: "the end cut off", replay: (h, of) => of(h + 1), expected: { replayed: 1, holes: 3 } },
  { what: "nothing", replay: () => Buffer.alloc(0), expected: { holes: 4 } },
  {
    what: "a gap",
    replay: (h, of) => Buffer.concat([gap(h + 1, h + 3), of(h + 4)]),
    expected: { replayed: 1, gaps: 1, gapFrames: 3 },
  },
  {
    what: "a gap that does not say from where",
    replay: (h, of) => Buffer.concat([gap(null, h + 3), of(h + 4)]),
    expected: { replayed: 1, gaps: 1, gapFrames: 3 },
  },
  {
    what: "such a gap, of nothing",
    replay: (h, of) => Buffer.concat([gap(null, h), of(h + 1, h + 2, h + 3, h + 4)]),
    expected: { replayed: 4, gaps: 1 },
  },
  {
    what: "two gaps, the second up to the end",
    replay: (h, of) => Buffer.concat([gap(h + 1, h + 1), of(h + 2), gap(h + 3, h + 4, "lag")]),
    expected: { replayed: 1, gaps: 2, gapFrames: 3 },
  },
  {
    what: "a gap that begins too late",
    replay: (h, of) => Buffer.concat([gap(h + 2, h + 3), of(h + 4)]),
    expected: { replayed: 1, gaps: 1, gapFrames: 2, holes: 1 },
  },
  {
    what: "a gap that ends too soon",
    replay: (h, of) => Buffer.concat([gap(h + 1, h + 2), of(h + 4)]),
    expected: { replayed: 1, gaps: 1, gapFrames: 2, holes: 1 },
  },
  {
    what: "a gap that names one that comes",
    replay: (h, of) => Buffer.concat([gap(h + 1, h + 3), of(h + 3, h + 4)]),
    expected: { replayed: 2, gaps: 1, gapFrames: 3, duplicates: 1 },
  },
  {
    what: "a gap that names one that is held",
    replay: (h, of) => Buffer.concat([gap(h, h + 3), of(h + 4)]),
    expected: { replayed: 1, holes: 3, errors: { "wrong gap": 1 } },
  },
  {
    what: "a gap that ends before it begins",
    replay: (h, of) => Buffer.concat([gap(h + 1, h), of(h + 1, h + 2, h + 3, h + 4)]),
    expected: { replayed: 4, errors: { "wrong gap": 1 } },
  },
  {
    what: "an open gap that ends before what is held",
    replay: (h, of) => Buffer.concat([gap(null, h - 1), of(h + 1, h + 2, h + 3, h + 4)]),
    expected: { replayed: 4, errors: { "wrong gap": 1 } },
  },
];

for (const { kind, skip } of KINDS) {
  for (const form of ["flatbuffers", "json"] as const) {
    test(`${kind}, ${form}: a client goes on where it stood, and what the replay lacks or repeats is found`, {
      skip,
    }, async () => {
      const server = await ScriptedServer.start();
      const receiver = await resuming(server, kind, form);
      const frames = (...seqs: number[]) => Buffer.concat(seqs.map((seq) => frame(form, seq)));
      let held = 12;
      await server.play(server.peers[0] as Peer, Buffer.concat([frames(11, held), frame(form, held, true)]));
      for (const { what, replay, expected } of RETURNS) {
        receiver.drop(1);
        receiver.reset();
        const { connecting, peers } = comeBack(server, receiver, 1);
        const [peer] = (await peers) as [Peer];
        const resume = `,"resume":{"epoch":${EPOCH},"position":${1000 + held}}}`;
        deepStrictEqual(peer.texts, [SUBSCRIBE.replace(/}$/, resume), PLAIN], what);
        await server.play(peer, Buffer.concat([hello(), ack(held + 4, "resumed"), begin, replay(held, frames)]));
        strictEqual((await receiver.report()).clients, 0, `${what}: it is not whole before replay_end`);
        peer.raw.write(end);
        await connecting;
        strictEqual((await receiver.report()).holes, expected.holes ?? 0, `${what}: known with replay_end`);
        held += 5;
        await server.play(peer, frames(held));
        const got = (expected.replayed ?? 0) + 1;
        const report = await receiver.report();
        const accounted = got + (expected.gapFrames ?? 0);
        deepStrictEqual([report.leastAccounted, report.mostAccounted], [accounted, accounted], what);
        const frameCounts = { frames: got, leastFrames: got, mostFrames: got, bytes: report.bytes };
        deepStrictEqual(counted(report), { ...NOTHING, ...frameCounts, replays: 1, ...expected }, what);
        // Five frames were owed. A storm must not lack one; who is slow must have been told of each that it lacks.
        strictEqual(lossesOfCrowd(report, 5, 1, 5).length === 0, what === "all", what);
        const isExact = !("holes" in expected || "duplicates" in expected || "errors" in expected);
        strictEqual(lossesOfSlow(report, 5).length === 0, isExact, what);
      }
      await receiver.stop();
      await server.stop();
    });
  }
}

for (const { kind, skip } of KINDS) {
  test(`${kind}: an epoch that is gone is told, and the client begins anew`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const receiver = await resuming(server, kind, "flatbuffers");
    await server.play(server.peers[0] as Peer, frame("flatbuffers", 11));
    receiver.drop(1);
    receiver.reset();
    const { connecting, peers } = comeBack(server, receiver, 1);
    const [peer] = (await peers) as [Peer];
    // Sequence 5 of the new epoch is none that came twice, nor is 6 behind a hole.
    peer.raw.write(Buffer.concat([hello(EPOCH + 1), ack(5, "unknown_epoch"), gap(1, 5, "epoch")]));
    await connecting;
    await server.play(peer, frame("flatbuffers", 6));
    const { bytes, ...report } = counted(await receiver.report());
    const { bytes: _none, ...nothing } = NOTHING;
    const errors = { "resume unknown_epoch": 1 };
    deepStrictEqual(report, { ...nothing, frames: 1, leastFrames: 1, mostFrames: 1, gaps: 1, errors });
    // From here on it is the new epoch that it resumes.
    receiver.drop(1);
    const again = comeBack(server, receiver, 1);
    const [last] = (await again.peers) as [Peer];
    ok(last.texts[0]?.endsWith(`"resume":{"epoch":${EPOCH + 1},"position":1006}}`));
    last.raw.write(Buffer.concat([hello(EPOCH + 1), ack(6, "resumed"), begin, end]));
    await again.connecting;
    await receiver.stop();
    await server.stop();
  });

  test(`${kind}: each client comes back as one that went, and who had no frame as a new one`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const clients = 5;
    const receiver = await resuming(server, kind, "flatbuffers", clients);
    for (const [index, peer] of server.peers.slice(0, 4).entries()) {
      const seqs = Array.from({ length: index + 1 }, (_, at) => 11 + at);
      await server.play(peer, Buffer.concat(seqs.map((seq) => frame("flatbuffers", seq))));
    }
    receiver.drop(clients);
    const { connecting, peers } = comeBack(server, receiver, clients);
    const back = await peers;
    const positionOf = ({ texts }: Peer) => JSON.parse(texts[0] as string).resume?.position as number | undefined;
    deepStrictEqual(back.map(positionOf).sort(), [1011, 1012, 1013, 1014, undefined]);
    for (const peer of back) {
      const position = positionOf(peer);
      if (position === undefined) peer.raw.write(Buffer.concat([hello(), ack(14)]));
      else {
        const missed = Array.from({ length: 1014 - position }, (_, at) => frame("flatbuffers", position - 999 + at));
        peer.raw.write(Buffer.concat([hello(), ack(14, "resumed"), begin, ...missed, end]));
      }
    }
    await connecting;
    const report = await receiver.report();
    deepStrictEqual(
      { replays: report.replays, replayed: report.replayed, holes: report.holes, duplicates: report.duplicates },
      { replays: 4, replayed: 6, holes: 0, duplicates: 0 },
    );
    // Frames are counted for the client, not for its connection: four have all, and one had none.
    deepStrictEqual([report.leastFrames, report.mostFrames, report.frames], [0, 4, 16]);
    await receiver.stop();
    await server.stop();
  });

  test(`${kind}: who is to read slowly leaves the rest with the sender, and loses nothing`, { skip }, async () => {
    const server = await ScriptedServer.start();
    const options = { url: server.url, clients: 1, form: "flatbuffers" } as const;
    const slow = await start(kind, { ...options, receiveBufferBytes: 16_384 });
    const fast = await start(kind, options);
    const frames = Array.from({ length: 50 }, (_, at) =>
      packet(BINARY, frameOf({ stream: STREAM, seq: at + 1, idBytes: 1_000_000 })),
    );
    slow.pace(1);
    strictEqual((await slow.report()).frames, 0);
    const [paced, free] = server.peers as [Peer, Peer];
    for (const bytes of frames) for (const { raw } of [paced, free]) raw.write(bytes);
    await reported(fast, ({ frames }) => frames === 50);
    const { frames: few, holes } = await slow.report();
    ok(few < 50, `${few} frames`);
    ok(paced.raw.writableLength > 0, "the sender holds the rest");
    slow.pace(0);
    const all = await reported(slow, ({ frames }) => frames === 50);
    deepStrictEqual([holes, all.holes, all.duplicates, all.errors], [0, 0, 0, {}]);
    // A pace that suffices lets everything through, piece by piece.
    slow.pace(20_000_000);
    await server.play(paced, packet(BINARY, frameOf({ stream: STREAM, seq: 51, idBytes: 3_000_000 })));
    strictEqual((await slow.report()).frames, 51);
    await slow.stop();
    await fast.stop();
    await server.stop();
  });
}

after(() => {
  delete process.env.TICKWIRE_RECEIVER;
});
