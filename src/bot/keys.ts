/** Names of topics, streams and keys, as the producers and the order side of the platform use them. */
export const keys = {
  /** Topic of a bot's order intents. */
  orderIntents: (accountId: string, botId: string) => `orders.intent.account.${accountId}.${botId}`,
  /** Topic of what became of a bot's orders. */
  orderEvents: (accountId: string, botId: string) => `orders.event.account.${accountId}.${botId}`,
  riskAlerts: (accountId: string) => `risk.alerts.account.${accountId}`,
  /** Topic, list or stream of a bot's commands. */
  commands: (botId: string) => `bot.commands.${botId}`,
  /** Key that a bot's last heartbeat lies under, and channel that each is told on. */
  heartbeat: (botId: string) => `bot.heartbeat.${botId}`,
  /** Topic that depth snapshots of all instruments come on. */
  depthTopic: "ssi_ps",
  /** Sorted set of one instrument's depth snapshots; scores are epoch milliseconds. */
  depthHistory: (code: string) => `ssi_ps:${code}`,
  /** Stream of one instrument's depth snapshots: fields code, board, timestamp, payload. */
  depthStream: (code: string) => `ssi_ps_stream:${code}`,
  /** Time series of one instrument; whatever is no letter and no digit of its ticker becomes `_`. */
  series: (ticker: string, metric: "price" | "volume") =>
    `markets:${ticker.toLowerCase().replace(/[^a-z0-9]/g, "_")}:${metric}`,
} as const;

/** How long producers keep a time series, milliseconds: 30 days. */
export const SERIES_RETENTION_MS = 30 * 86_400_000;
