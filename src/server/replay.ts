import { z } from "zod";
import type { JournalPast } from "../journal/past.ts";
import { RequestError } from "../market/errors.ts";
import type { FrameLog } from "../wire/frame-log.ts";
import type { Window } from "../wire/window.ts";
import type { RequestId, SubscribeRequest } from "./request.ts";

/** Streams whose last sequence a resume may tell. */
const MAX_HELD = 4096;
/** Unix times below are seconds, from it on milliseconds: 5138 as seconds, 1973 as milliseconds. */
const FIRST_MILLISECONDS = 1e11;
const FIRST_SECONDS = 1e8;
const LAST_MILLISECONDS = 1e14;

const UNITS: Readonly<Record<string, number>> = { ms: 1e3, s: 1e6, m: 60e6, h: 3600e6, d: 86_400e6 };
const AGO = /^now-(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/;
const ISO = /^(\d{4}-\d\d-\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d))?$/;
const FORMS = "now-250ms, now-60s, now-5m, now-1h, now-1d, ISO 8601 with its zone, Unix seconds or milliseconds";

const resumeShape = z.strictObject({
  epoch: z.number().int().min(0),
  position: z.number().int().min(0),
  held: z.record(z.string().regex(/^\d{1,10}$/), z.number().int().min(0)).optional(),
});

/** Where a client that comes back stood: the position of the newest frame that it has. */
export interface Resume {
  epoch: number;
  position: number;
  /** The last sequence by stream, where the client tells: with it, what is missing is told exactly. */
  held: ReadonlyMap<number, number>;
}

/** Where the past begins that somebody asked for by time. */
export interface Past {
  /** Frames after it are sent. */
  position: number;
  /** The time that was asked for, or the first that is there, microseconds. */
  fromTime: number;
  /** Less is there than was asked for. */
  truncated: boolean;
  /** The ring has not got all of it. */
  isOlder: boolean;
  /** The epoch before this one that it begins in; undefined for this one. */
  earlier: number | undefined;
}

/** The beginning of a subscription that starts in the past. */
export interface Replay extends Past {
  id: RequestId;
  /** Whose positions these are. */
  epoch: number;
  /** The last sequences that the client has. */
  held: ReadonlyMap<number, number>;
  /** It was asked for by time, so nothing before it is missed. */
  isByTime: boolean;
  /** False when the epoch is not this one; the journal may have it: then it is `earlier`. */
  isKnown: boolean;
}

/** Reads the `resume` of a subscribe; throws a RequestError. */
export function readResume(value: unknown): Resume {
  const parsed = resumeShape.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = ["resume", ...(issue?.path ?? [])].join(".");
    throw new RequestError("bad_request", `${path}: ${issue?.message ?? "cannot be read"}`);
  }
  const { epoch, position, held = {} } = parsed.data;
  const streams = Object.entries(held);
  if (streams.length > MAX_HELD) throw new RequestError("bad_request", `resume.held: at most ${MAX_HELD} streams`);
  return { epoch, position, held: new Map(streams.map(([stream, sequence]) => [Number(stream), sequence])) };
}

/** The time that a `from` names, microseconds; `now` is the server's. Throws a RequestError for anything unclear. */
export function readFrom(value: unknown, now: number): number {
  const time =
    typeof value === "number" ? unixTime(value) : typeof value === "string" ? textTime(value, now) : undefined;
  if (time === undefined) throw new RequestError("bad_request", `from: one of ${FORMS}`);
  if (time > now) throw new RequestError("bad_request", "from: lies in the future");
  return time;
}

function textTime(text: string, now: number): number | undefined {
  const ago = AGO.exec(text);
  if (ago !== null) return Math.max(0, now - Math.round(Number(ago[1]) * (UNITS[ago[2] as string] as number)));
  if (/^\d{9,14}(\.\d{1,6})?$/.test(text)) return unixTime(Number(text));
  const iso = ISO.exec(text);
  if (iso === null) return undefined;
  // A day that its month does not have is another day to Date.
  const day = Date.parse(`${iso[1]}T00:00:00Z`);
  if (Number.isNaN(day) || new Date(day).toISOString().slice(0, 10) !== iso[1]) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) || ms < 0 ? undefined : ms * 1000;
}

function unixTime(value: number): number | undefined {
  if (!(value >= FIRST_SECONDS && value < LAST_MILLISECONDS)) return undefined;
  return Math.round(value * (value < FIRST_MILLISECONDS ? 1e6 : 1e3));
}

/** Where a subscription's past begins in the window; undefined when it begins now. Throws when it must not be cut short. */
export function replayOf(
  request: SubscribeRequest,
  id: RequestId,
  log: FrameLog,
  window: Window,
  past: JournalPast | undefined,
): Replay | undefined {
  const { resume, from, strict, channels } = request;
  if (resume !== undefined) return resumed(resume, id, log, window, past);
  if (from === undefined) return undefined;
  const slowOnly = channels.every((channel) => SLOW_CHANNELS.has(channel));
  const where = pastOf(from, strict, slowOnly, window, past);
  const isKnown = where.earlier === undefined;
  const epoch = where.earlier ?? log.epoch;
  return { id, epoch, held: NOTHING_HELD, isByTime: true, isKnown, ...where };
}

/** Where a time lies in the window, or in that of the slow ring; throws when there is less and it must not be cut short. */
export function pastOf(
  from: string | number,
  strict: boolean,
  slowOnly: boolean,
  window: Window,
  past: JournalPast | undefined,
): Past {
  const asked = readFrom(from, window.now);
  const inWindow = window.start(slowOnly);
  const isOlder = past !== undefined && asked < inWindow;
  const start = isOlder ? Math.min(inWindow, past.firstTime) : inWindow;
  const truncated = start > asked;
  if (truncated && strict) {
    throw new RequestError("not_available", `from: the window begins at ${new Date(start / 1000).toISOString()}`);
  }
  const fromTime = truncated ? start : asked;
  const earlier = isOlder ? past.epochAt(fromTime) : undefined;
  return { position: isOlder ? 0 : window.positionBefore(fromTime), fromTime, truncated, isOlder, earlier };
}

function resumed(
  { epoch, position, held }: Resume,
  id: RequestId,
  log: FrameLog,
  window: Window,
  past: JournalPast | undefined,
): Replay {
  const isKnown = epoch === log.epoch;
  if (isKnown && position > log.position) {
    throw new RequestError("bad_request", `resume.position: this epoch has come to ${log.position}`);
  }
  const isThere = past !== undefined || (log.ticks.covers(position) && log.slow.covers(position));
  const truncated = !(isKnown && isThere);
  const fromTime = isKnown ? window.timeAfter(position) : 0;
  const earlier = !isKnown && (past?.epochsFrom(epoch).length ?? 0) > 0 ? epoch : undefined;
  return { id, epoch, position, held, isByTime: false, isKnown, truncated, fromTime, isOlder: !isThere, earlier };
}

const NOTHING_HELD: ReadonlyMap<number, number> = new Map();
/** Channels that have all their frames in the slow ring, which reaches further back. */
const SLOW_CHANNELS: ReadonlySet<string> = new Set(["funding", "liquidations", "bars", "indicators"]);
