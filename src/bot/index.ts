/** `tickwire/bot`: the framework of trading bots. */
export { alignToTimeframe, TIMEFRAMES, type Timeframe } from "../market/timeframe.ts";
export type { BarColumns, ColumnName, ColumnRow, FillGaps } from "./bar-columns.ts";
export * from "./bot-base.ts";
export { type BotCommand, parseBotCommand, parseControlMessage } from "./command-contract.ts";
export { type BotContext, type ContextOptions, createBotContext, type Logger } from "./context.ts";
export * from "./control.ts";
export { DEPTH_LEVELS, type DepthLevel, type DepthSnapshot, parseDepthSnapshot } from "./depth-snapshot.ts";
export { BotError, type BotErrorCode } from "./errors.ts";
export * from "./features.ts";
export * from "./heartbeat.ts";
export * from "./kafka-orders.ts";
export * from "./keys.ts";
export * from "./market-data.ts";
export type { SourceHealth, SourceStatus } from "./market-source.ts";
export * from "./market-stream.ts";
export type * from "./market-stream-events.ts";
export type { StreamMetrics } from "./market-stream-metrics.ts";
export type { MarketSelection, MarketStreamOptions } from "./market-stream-options.ts";
export * from "./memory-market-data.ts";
export * from "./memory-orders.ts";
export {
  isOrderEvent,
  type OrderDraft,
  type OrderEvent,
  type OrderIntent,
  orderText,
  parseOrderEvent,
  parseOrderIntent,
} from "./order-contract.ts";
export * from "./orders.ts";
export * from "./predictor.ts";
export * from "./probes.ts";
export type { HeartbeatReport } from "./pulse.ts";
export { connectRedis, type RedisClient, type RedisPipeline } from "./redis-client.ts";
export * from "./redis-control.ts";
export type { StreamEntry } from "./redis-entries.ts";
export * from "./redis-heartbeat.ts";
export * from "./redis-orders.ts";
export { type RedisStateOptions, RedisStateStore } from "./redis-state.ts";
export * from "./redis-stream-data.ts";
export * from "./redis-time-series.ts";
export { type RiskLimits, riskGate } from "./risk-gate.ts";
export * from "./runtime.ts";
export type { RuntimeConfig, SignalSource } from "./runtime-config.ts";
export type { RuntimeStats } from "./runtime-stats.ts";
export * from "./signal-engine.ts";
export * from "./signal-orders.ts";
export { InMemoryStateStore, type SetOptions, type StateStore } from "./state.ts";
export * from "./supervisor.ts";
export type { TickReport } from "./ticker.ts";
export type { TradeColumns } from "./trade-buffer.ts";
