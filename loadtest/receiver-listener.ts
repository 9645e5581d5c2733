import type { Clock } from "../src/std/clock.ts";
import type { ReceiverCounts } from "./receiver-counts.ts";
import { FrameHeader } from "./receiver-frame.ts";
import type { ClientMemory } from "./receiver-memory.ts";
import type { ReceiverSettings } from "./receiver-settings.ts";

interface ControlStream {
  stream: number;
  seq: number;
}

/** Any text message. A frame in JSON has `seq`, a venue's trade `data`, and the rest is control. */
interface TextMessage {
  type?: string;
  status?: string;
  code?: string;
  streams?: ControlStream[];
  /** What became of a subscribe's `resume`. */
  resume?: string;
  /** A gap's. */
  from?: number | null;
  to?: number;
  reason?: string;
  epoch?: number;
  position?: number;
  /** A control message's stream, a frame's number, or the name of a venue's stream. */
  stream?: ControlStream | number | string;
  seq?: number;
  from_seq?: number;
  ts_exchange?: number | null;
  flags?: string[];
  data?: { e: string; s?: string; t?: number; T?: number };
}

/** What one client makes of the messages that it gets: counts frames, and has its memory judge them. */
export class Listener {
  readonly #settings: ReceiverSettings;
  readonly #counts: ReceiverCounts;
  readonly #clock: Clock;
  readonly #memory: ClientMemory;
  readonly #header = new FrameHeader();
  #acks = 0;
  /** Resumes whose `replay_end` is to come, and where their acks said that the streams stand: so far the replay goes. */
  #replays = 0;
  #owed: ControlStream[] = [];

  constructor(settings: ReceiverSettings, counts: ReceiverCounts, clock: Clock, memory: ClientMemory) {
    this.#settings = settings;
    this.#counts = counts;
    this.#clock = clock;
    this.#memory = memory;
  }

  /** Has had its acks, and what it resumes has come. */
  get isWhole(): boolean {
    return this.#acks >= this.#settings.readyAcks && this.#replays === 0;
  }

  binary(data: Buffer): void {
    if (this.#settings.form === "flatbuffers" && this.#header.read(data)) {
      const { stream, position, fromSeq, seq, derived, tsExchange } = this.#header;
      this.#frame(data.length, stream, position, fromSeq, seq, derived, tsExchange);
    } else this.#counts.error("malformed frame");
  }

  #frame(
    bytes: number,
    stream: number | string,
    position: number,
    fromSeq: number,
    seq: number,
    derived: boolean,
    tsExchange: number,
  ): void {
    // Sequences are exact in a double. A ring frame stands for itself at least; a derived one, such as that of a building
    // bar, for nothing when the ring has had none since the last. Written so that no number is none either.
    const last = derived ? seq + 1 : seq;
    if (!(fromSeq >= 0 && fromSeq <= last && seq <= Number.MAX_SAFE_INTEGER)) {
      this.#counts.error("malformed frame");
      return;
    }
    this.#memory.frames += 1;
    this.#counts.frames += 1;
    this.#counts.bytes += bytes;
    this.#memory.sequences.take(stream, fromSeq, seq, derived);
    if (derived) return;
    this.#memory.reach(position);
    if (this.#replays > 0) this.#counts.replayed += 1;
    if (tsExchange > 0) this.#counts.latency.add(this.#clock.now() - tsExchange);
  }

  text(data: Buffer): void {
    const message = parse(data);
    if (message === undefined) {
      this.#counts.error(this.#settings.form === "flatbuffers" ? "malformed control" : "malformed frame");
      return;
    }
    const { form } = this.#settings;
    if (form === "json" && typeof message.seq === "number") {
      const { stream, position = 0, from_seq = Number.NaN, seq, flags, ts_exchange } = message;
      const from = typeof stream === "number" ? from_seq : Number.NaN;
      const derived = flags?.includes("derived") ?? false;
      this.#frame(data.length, Number(stream), position, from, seq, derived, ts_exchange ?? 0);
    } else if (form === "relay" && message.data?.e === "trade") {
      const { s = "", t = Number.NaN, T = 0 } = message.data;
      this.#frame(data.length, s, 0, s === "" ? Number.NaN : t, t, false, T);
    } else this.#control(message);
  }

  #control(message: TextMessage): void {
    const { type, status, code, streams, stream, resume, epoch } = message;
    if (type === "hello" && epoch !== undefined) this.#memory.begin(epoch);
    if (resume === "resumed") this.#replays += 1;
    for (const each of streams ?? []) this.#stands(each);
    if (typeof stream === "object") this.#stands(stream);
    if (type === "gap") this.#gap(message);
    if (type === "error") this.#counts.error(`error ${code ?? "unknown"}`);
    if (type === "replay_end" && this.#replays > 0) this.#replayed();
    if (status !== "subscribed") return;
    if (resume !== undefined && resume !== "resumed") this.#counts.error(`resume ${resume}`);
    this.#acks += 1;
  }

  /** Where a stream stands now. What is replayed leads up to it, so it is no beginning then but what must be reached. */
  #stands(stream: ControlStream): void {
    if (this.#replays > 0) this.#owed.push(stream);
    else this.#memory.sequences.begin(stream.stream, stream.seq);
  }

  #replayed(): void {
    this.#counts.replays += 1;
    this.#replays -= 1;
    if (this.#replays > 0) return;
    for (const { stream, seq } of this.#owed) this.#memory.sequences.end(stream, seq);
    this.#owed = [];
  }

  #gap({ stream, from, to = Number.NaN, reason }: TextMessage): void {
    // Of another epoch's frames: how many they were is not known, and the ack has said where their stream stands.
    if (reason === "epoch") this.#counts.gaps += 1;
    else {
      const named = typeof stream === "number" ? this.#memory.sequences.gap(stream, from ?? undefined, to) : undefined;
      if (named === undefined) this.#counts.error("wrong gap");
      else this.#memory.named += named;
    }
  }
}

/** A text message, or undefined when it is no JSON object. */
function parse(data: Buffer): TextMessage | undefined {
  try {
    const value: unknown = JSON.parse(data.toString());
    return typeof value === "object" && value !== null ? (value as TextMessage) : undefined;
  } catch {
    return undefined;
  }
}
