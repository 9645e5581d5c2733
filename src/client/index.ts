/** `tickwire/client`: what programs import to read a tickwire server, in Node and in a browser. */
export type { BarFields, BarRow, IndicatorRow } from "./bar-rows.ts";
export type { BarColumn } from "./bar-table.ts";
export type { BarsEvents, BarsOptions, BarsState, IndicatorSpec, LiveBars } from "./bars.ts";
export type { Books, BooksEvents, BooksOptions } from "./books.ts";
export { connect, type OwnOptions } from "./connect.ts";
export type { ClientErrorCode } from "./errors.ts";
export { CLIENT_ERROR_CODES, TickwireError } from "./errors.ts";
export type { DroppedEvent, EventQueue, QueueLimits } from "./event-queue.ts";
export type { Lag } from "./lag.ts";
export type { BookState, LocalBook } from "./local-book.ts";
export type { Unavailable } from "./message.ts";
export type { ConnectOptions, Mode, ReconnectOptions, TokenProvider } from "./options.ts";
export type { EmbeddedOptions, JournalOptions } from "./own-server.ts";
export type { InstrumentName, StreamInfo } from "./receiver.ts";
export type { SubscribeSpec } from "./request.ts";
export type { Heartbeat, Reconnected, Retry } from "./session-context.ts";
export type { GapEvent, PlainEvent, Subscription, SubscriptionEvents } from "./subscription.ts";
export type { ClientStats, Tickwire, TickwireEvents } from "./tickwire.ts";
export type {
  BarEvent,
  BarStateName,
  BookEvent,
  EventView,
  FundingEvent,
  IndicatorsEvent,
  LiquidationEvent,
  QuoteEvent,
  Side,
  StateEvent,
  StreamStateName,
  TickerEvent,
  TradeEvent,
} from "./views.ts";
