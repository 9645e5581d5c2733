import { z } from "zod";
import { BotError } from "./errors.ts";
import { camelNames, isRecord } from "./wire-names.ts";

/** Levels a side. */
export const DEPTH_LEVELS = 10;

/** Producers write large whole numbers as text, and leave out or send empty what they do not have. */
const number = z.preprocess(
  (value) => (value === "" || value === null ? undefined : typeof value === "string" ? Number(value) : value),
  z.number().optional(),
);
const text = z.string().default("");

const statistics = {
  last: number,
  high: number,
  low: number,
  change: number,
  totalMatch: number,
  totalBid: number,
  totalAsk: number,
  openInterest: number,
  ceiling: number,
  floor: number,
  reference: number,
  foreignBuyVolume: number,
  foreignSellVolume: number,
  foreignBuyValue: number,
  foreignSellValue: number,
  foreignRoom: number,
  floatingShares: number,
};

const depthShape = z.object({
  board: text,
  /** The instrument as the exchange writes it. */
  symbol: text,
  /** The instrument as the keys of the producers name it. */
  code: z.string().min(1),
  /** When the exchange sent it, epoch milliseconds. */
  timestamp: z.preprocess(epochMs, z.number().int().min(0)),
  /** When the producer got it, epoch milliseconds. */
  serverTimestamp: z.preprocess(epochMs, z.number().int().min(0).optional()),
  instrumentType: text,
  session: text,
  group: text,
  /** The day that a derivative ends, as the exchange writes it. */
  expiry: text,
  ...statistics,
});

export interface DepthLevel {
  readonly price: number;
  readonly volume: number;
}

/** Ten levels a side and what the exchange says about the day. Numbers that are not told are undefined. */
export type DepthSnapshot = Readonly<z.infer<typeof depthShape>> & {
  /** Best first; levels without a price are left out. */
  readonly bids: readonly DepthLevel[];
  readonly offers: readonly DepthLevel[];
};

/** Reads the JSON of a depth snapshot, its names in snake_case or camelCase; throws `bad_snapshot`. */
export function parseDepthSnapshot(value: unknown): DepthSnapshot {
  const fields = isRecord(value) ? camelNames(typeof value.raw_symbol === "string" ? named(value) : value) : value;
  const parsed = depthShape.safeParse(fields);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new BotError("bad_snapshot", `${issue?.path.join(".") || "snapshot"}: ${issue?.message ?? "cannot be read"}`);
  }
  const from = fields as Record<string, unknown>;
  return { ...parsed.data, bids: levels(from, "bid"), offers: levels(from, "offer") };
}

function named(value: Record<string, unknown>): Record<string, unknown> {
  return { symbol: value.raw_symbol, ...value };
}

/** The levels under `bidPrice1`, `bidVolume1` and so on, or in a list `bids` of pairs or of objects. */
function levels(fields: Record<string, unknown>, side: "bid" | "offer"): DepthLevel[] {
  const list = fields[`${side}s`];
  const given = Array.isArray(list)
    ? list.map((level) => (Array.isArray(level) ? level : isRecord(level) ? [level.price, level.volume] : []))
    : Array.from({ length: DEPTH_LEVELS }, (_, index) => [
        fields[`${side}Price${index + 1}`],
        fields[`${side}Volume${index + 1}`],
      ]);
  return given
    .slice(0, DEPTH_LEVELS)
    .map(([price, volume]) => ({ price: quantity(price), volume: quantity(volume) }))
    .filter(({ price }) => price > 0);
}

function quantity(value: unknown): number {
  const parsed = number.safeParse(value);
  return parsed.success ? (parsed.data ?? 0) : 0;
}

/** Milliseconds as a number or as its text, or a text of ISO 8601; anything else as it is. */
export function epochMs(value: unknown): unknown {
  if (typeof value !== "string" || value.trim() === "") return value;
  const number = Number(value);
  if (Number.isFinite(number)) return number;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? value : ms;
}
