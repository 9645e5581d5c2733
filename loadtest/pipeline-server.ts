import { serverOf } from "../native-bench/fed-server.ts";
import { advance, recordedTrades, syntheticTrades, type TradeMessage } from "../native-bench/workload.ts";
import { Engine } from "../src/engine/engine.ts";
import { BinanceParser } from "../src/feeds/binance-parse.ts";
import { FeedCounters } from "../src/feeds/feed.ts";
import { StartedStreams } from "../src/feeds/started-streams.ts";
import { SymbolTable } from "../src/feeds/symbol-table.ts";
import { BINANCE_RULES } from "../src/feeds/venue-rules.ts";
import { IndicatorSet } from "../src/indicators/registry.ts";
import { Catalog, emptyListing } from "../src/market/instrument.ts";
import type { FeedControl } from "../src/market/sink.ts";
import { timeframeIndex } from "../src/market/timeframe.ts";
import type { Client } from "../src/server/client.ts";
import type { Server } from "../src/server/server.ts";
import { SystemClock } from "../src/std/clock.ts";
import { inlineMore } from "../src/std/compiler.ts";
import { Turn } from "../src/std/turn.ts";
import { FrameLog } from "../src/wire/frame-log.ts";
import type { ServerInfo } from "./baselines/listening.ts";
import { EVENTS_PER_TURN, Saturation } from "./baselines/saturation.ts";
import type { Role } from "./child.ts";

const MIB = 2 ** 20;
const TICK_MS = 25;
const SWEEP_MS = 250;
const HOUR_MICROS = 3_600e6;
const SYNTHETIC_TRADES = 14_515;
const NO_CONTROL: FeedControl = { subscribe() {}, unsubscribe() {}, resyncBook() {}, fetchHistory() {} };

/** What the fan-out of the gateway as it is shipped says of itself. */
export interface PipelineInfo extends ServerInfo {
  symbol: string;
  workload: string;
}

/** The gateway's parts, wired as main.ts does, but for the feed's socket. */
class PipelineServer {
  readonly workload = recordedTrades() ?? syntheticTrades(1, "uniform", SYNTHETIC_TRADES);
  readonly symbol: string;
  readonly counters = new FeedCounters();
  readonly server: Server;
  readonly #turn = new Turn(new SystemClock());
  readonly #engine: Engine;
  readonly #parser: BinanceParser;
  readonly #clients = new Set<Client>();
  #next = 0;

  constructor() {
    const venueSymbol = this.workload.symbols[0] as string;
    this.symbol = venueSymbol.replace(/USDT$/, "/USDT");
    const indicators = new IndicatorSet();
    this.#engine = new Engine({
      catalog: new Catalog(),
      log: new FrameLog(256 * MIB, 1),
      clock: this.#turn,
      indicators,
      bars: { timeframes: ["1s", "1m", "5m", "15m", "1h"].map(timeframeIndex) },
      freshness: { quietMicros: HOUR_MICROS, staleMicros: HOUR_MICROS },
    });
    this.server = serverOf(this.#engine, indicators, this.#turn, 4 * MIB);
    const venue = this.#engine.addVenue("binance", BINANCE_RULES, NO_CONTROL).instrument.id;
    const listing = { ...emptyListing(), symbol: this.symbol, venueSymbol, sizeUnit: "base" as const };
    const [id] = this.#engine.instruments(venue, [{ ...listing, status: "trading", channels: ["trades"] }]);
    const symbols = new SymbolTable();
    symbols.add(venueSymbol, id as number);
    this.#parser = new BinanceParser({
      sink: this.#engine,
      venue,
      symbols,
      started: new StartedStreams(),
      counters: this.counters,
      microseconds: false,
      onControl: () => {},
      onMalformed: () => {},
    });
    this.#watchMembers();
  }

  /** Who is in a topic is who must keep up; the server tells nobody else who that is. */
  #watchMembers(): void {
    const { topics } = this.server.services.publisher;
    const join = topics.join.bind(topics);
    topics.join = (member, stream, variant, scope) => {
      this.#clients.add(member as Client);
      join(member, stream, variant, scope);
    };
  }

  startTimers(): void {
    setInterval(() => this.#engine.tick(), TICK_MS);
    setInterval(() => this.#engine.sweep(), SWEEP_MS);
  }

  /** A turn's messages from the scanner to the sockets. */
  turn(): void {
    const { messages } = this.workload;
    for (let event = 0; event < EVENTS_PER_TURN; event += 1) {
      this.#parser.parse((messages[this.#next] as TradeMessage).bytes);
      advance(this.workload, this.#next, this.#next + 1);
      this.#next = (this.#next + 1) % messages.length;
    }
    this.#turn.end();
  }

  longestQueue(): number {
    let longest = 0;
    for (const client of this.#clients) {
      if (client.closed) this.#clients.delete(client);
      else longest = Math.max(longest, client.queued);
    }
    return longest;
  }
}

/** The whole path as it is shipped, from the scanner to the sockets, fed with a venue's bytes as fast as clients read. */
export async function bePipeline(): Promise<Role> {
  inlineMore();
  const pipeline = new PipelineServer();
  const listening = await pipeline.server.listen("127.0.0.1", 0);
  if ("error" in listening) throw new Error(listening.error);
  pipeline.startTimers();
  const saturation = new Saturation(
    () => pipeline.turn(),
    () => pipeline.longestQueue(),
  );
  const info: PipelineInfo = {
    url: `ws://127.0.0.1:${listening.port}`,
    symbol: pipeline.symbol,
    workload: pipeline.workload.name,
  };
  const lost = () => ({
    published: pipeline.server.services.publisher.lost,
    unscanned: pipeline.counters.slowMessages,
  });
  return { info, calls: { ...saturation.calls, lost } };
}
