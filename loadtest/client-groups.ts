import type { ReceiverOptions } from "./receiver.ts";
import { type SourceRun, unifiedSymbol } from "./source.ts";

/** The venue's limits on REST allow four whole books at once, then one in four seconds. */
export const BOOKS = 4;

/** Clients that ask for the same, counted by a receiver of their own. */
export interface Group {
  name: string;
  /** Of all clients. */
  share: number;
  json: boolean;
  requests: readonly object[];
  /** Frames that each client must get at least, where they can be counted at the source. */
  least?: (run: SourceRun) => number;
}

/** Who asks for what: each group is a receiver of its own. */
export function groupsOf(instruments: number): Group[] {
  const all = Array.from({ length: instruments }, (_, index) => unifiedSymbol(index));
  const some = all.slice(0, BOOKS);
  return [
    {
      name: "trades",
      share: 0.2,
      json: false,
      requests: [{ channels: ["trades"], symbols: all }],
      least: (run) => run.trades,
    },
    {
      name: "books of some, 20 levels",
      share: 0.1,
      json: false,
      requests: [{ channels: ["orderbook"], symbols: some }],
    },
    {
      name: "whole books of some",
      share: 0.1,
      json: false,
      requests: [{ channels: ["orderbook"], symbols: some, depth: "full" }],
    },
    {
      name: "quotes",
      share: 0.1,
      json: false,
      requests: [{ channels: ["quotes"], symbols: all }],
      least: (run) => run.quotes,
    },
    {
      name: "bars and indicators",
      share: 0.2,
      json: false,
      requests: [{ channels: ["bars", "indicators"], symbols: all, timeframes: ["1s", "1m"] }],
    },
    {
      name: "every trade and quote by *",
      share: 0.15,
      json: false,
      requests: [{ channels: ["trades", "quotes"], symbols: ["*"] }],
      least: (run) => run.trades + run.quotes,
    },
    {
      name: "trades and quotes of some",
      share: 0.1,
      json: true,
      requests: [{ channels: ["trades", "quotes"], symbols: some }],
    },
    {
      name: "books of some, conflated",
      share: 0.05,
      json: true,
      requests: [{ channels: ["orderbook"], symbols: some, conflate_ms: 100 }],
    },
  ];
}

export function optionsOf(url: string, group: Group, clients: number): ReceiverOptions {
  return {
    url: `${url}/stream?encoding=${group.json ? "json&time_unit=us" : "flatbuffers"}`,
    clients: Math.max(1, Math.round(clients * group.share)),
    form: group.json ? "json" : "flatbuffers",
    send: group.requests.map((request, index) => JSON.stringify({ type: "subscribe", id: index + 1, ...request })),
  };
}
