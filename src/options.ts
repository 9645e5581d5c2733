/** One setting. */
export interface Option {
  env: string;
  /** What the value is, in the help. */
  value?: string;
  fallback: string;
  help: string;
}

/** Every setting: a flag, an environment variable, a default. The flag wins. */
export const OPTIONS = {
  port: { env: "PORT", value: "N", fallback: "8080", help: "port to listen on; 0 takes a free one" },
  host: {
    env: "HOST",
    value: "ADDRESS",
    fallback: "127.0.0.1",
    help: "address to listen on; other than loopback needs --insecure",
  },
  feeds: {
    env: "TICKWIRE_FEEDS",
    value: "LIST",
    fallback: "simulated",
    help: "sources: simulated (sim-a, sim-b), binance, coinbase, recording",
  },
  symbols: {
    env: "TICKWIRE_SYMBOLS",
    value: "LIST",
    fallback: "",
    help: "instruments kept subscribed, e.g. BTC/USDT,ETH/USDT; * is every one",
  },
  seed: { env: "TICKWIRE_SEED", value: "N", fallback: "1", help: "seed of the simulated market" },
  recording: {
    env: "TICKWIRE_RECORDING",
    value: "FILES",
    fallback: "",
    help: "capture files that the recording feed plays, in order",
  },
  "recording-venue": {
    env: "TICKWIRE_RECORDING_VENUE",
    value: "NAME",
    fallback: "binance",
    help: "whose frames they are: binance or coinbase",
  },
  speed: {
    env: "TICKWIRE_SPEED",
    value: "X",
    fallback: "1",
    help: "how fast a recording, or a journal, is played: 1, 10, 0.5, max",
  },
  replay: {
    env: "TICKWIRE_REPLAY",
    value: "DIR",
    fallback: "",
    help: "journal that is played instead of any feed: what tickwire replay DIR does",
  },
  from: { env: "TICKWIRE_REPLAY_FROM", value: "TIME", fallback: "", help: "where the replay begins, ISO 8601" },
  to: { env: "TICKWIRE_REPLAY_TO", value: "TIME", fallback: "", help: "where it ends" },
  epoch: {
    env: "TICKWIRE_REPLAY_EPOCH",
    value: "N",
    fallback: "",
    help: "replays this epoch only; tickwire journal ls tells them",
  },
  repeat: { env: "TICKWIRE_REPEAT", value: "N", fallback: "1", help: "how many times" },
  require: { env: "TICKWIRE_REQUIRE", value: "LIST", fallback: "", help: "venues without which /ready fails" },
  origins: {
    env: "TICKWIRE_ORIGINS",
    value: "LIST",
    fallback: "",
    help: "web origins that may connect, beside localhost",
  },
  "ring-memory": {
    env: "TICKWIRE_RING_MEMORY",
    value: "MIB",
    fallback: "256",
    help: "memory for the window of frames, MiB",
  },
  journal: {
    env: "TICKWIRE_JOURNAL",
    value: "DIR",
    fallback: "",
    help: "folder in which every frame is kept, for longer than memory holds them",
  },
  "journal-sync": {
    env: "TICKWIRE_JOURNAL_SYNC",
    value: "WHEN",
    fallback: "interval",
    help: "when the disk is made to have it: never, interval (each second), every (write)",
  },
  "journal-max-gb": {
    env: "TICKWIRE_JOURNAL_MAX_GB",
    value: "GB",
    fallback: "20",
    help: "size of the journal; its oldest files go first",
  },
  "journal-max-hours": {
    env: "TICKWIRE_JOURNAL_MAX_HOURS",
    value: "N",
    fallback: "8760",
    help: "age of its files",
  },
  "max-memory": {
    env: "TICKWIRE_MAX_MEMORY",
    value: "MIB",
    fallback: "512",
    help: "all clients' queues together, MiB; the slowest go first",
  },
  "max-queue": {
    env: "TICKWIRE_MAX_QUEUE",
    value: "KIB",
    fallback: "4096",
    help: "one client's queue, KiB; over it the client reads the ring at its own pace",
  },
  "max-connections": { env: "TICKWIRE_MAX_CONNECTIONS", value: "N", fallback: "10000", help: "connections in all" },
  "max-per-address": {
    env: "TICKWIRE_MAX_PER_ADDRESS",
    value: "N",
    fallback: "10000",
    help: "connections from one address",
  },
  timeframes: {
    env: "TICKWIRE_TIMEFRAMES",
    value: "LIST",
    fallback: "1s,1m,5m,15m,1h",
    help: "bars that are always computed",
  },
  "history-bars": { env: "TICKWIRE_HISTORY_BARS", value: "N", fallback: "500", help: "bars kept per series" },
  "late-ms": {
    env: "TICKWIRE_LATE_MS",
    value: "MS",
    fallback: "250",
    help: "how long a bar waits for late trades, 0 to 1000",
  },
  "grace-ms": {
    env: "TICKWIRE_GRACE_MS",
    value: "MS",
    fallback: "30000",
    help: "how long a venue subscription outlives its last client",
  },
  "quiet-ms": {
    env: "TICKWIRE_QUIET_MS",
    value: "MS",
    fallback: "2000",
    help: "no stream is called quiet before so long a silence",
  },
  "stale-ms": {
    env: "TICKWIRE_STALE_MS",
    value: "MS",
    fallback: "10000",
    help: "no stream is called stale before so long a silence",
  },
  "metrics-symbols": {
    env: "TICKWIRE_METRICS_SYMBOLS",
    value: "LIST",
    fallback: "",
    help: "instruments with series of their own in /metrics, at most 100 symbols",
  },
  "log-level": {
    env: "TICKWIRE_LOG_LEVEL",
    value: "LEVEL",
    fallback: "info",
    help: "fatal, error, warn, info, debug or silent",
  },
} as const satisfies Record<string, Option>;

/** Settings that are on or off. */
export const SWITCHES = {
  recompute: {
    env: "TICKWIRE_REPLAY_RECOMPUTE",
    help: "replays only the venues' events, and makes bars and indicators of them anew",
  },
  paced: {
    env: "TICKWIRE_REPLAY_PACED",
    help: "replays as its clients read: begins with the first subscription, waits for the slowest, ends with the journal",
  },
  insecure: {
    env: "TICKWIRE_INSECURE",
    help: "allow a host other than loopback although clients are not authenticated",
  },
} as const;
