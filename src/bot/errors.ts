/** What can be wrong about a bot, its surroundings or what it is sent; stable, for programs to compare. */
export type BotErrorCode =
  /** An option is out of its range, or of the wrong kind. */
  | "bad_config"
  /** A connector was given no client. */
  | "missing_client"
  /** A connector was given a client that lacks a method it needs. */
  | "bad_client"
  /** A package that is only needed for this connector is not installed. */
  | "missing_package"
  /** The store or the broker answered something that cannot be what was asked for. */
  | "bad_reply"
  /** A sample of a time series is not a pair of a time and a number. */
  | "bad_sample"
  /** A market snapshot cannot be read. */
  | "bad_snapshot"
  /** A control message or a command cannot be read. */
  | "bad_message"
  /** `onTick` returned something that is neither nothing nor a sequence. */
  | "bad_intents"
  /** An intent, or an event of an order, breaks its contract. */
  | "bad_order"
  /** An intent is over a limit of the risk gate. */
  | "risk_rejected"
  /** Another instance of the same bot and account has published meanwhile. */
  | "fenced"
  /** More waits in a queue than it may hold. */
  | "queue_full"
  /** What is used was closed. */
  | "closed"
  /** A venue has none of the instruments that were asked for. */
  | "not_available"
  /** A market that was not subscribed is asked for. */
  | "not_subscribed"
  /** A listener threw: the cause is what it threw. */
  | "listener_failed"
  /** A predictor threw, or what it said is no number from 0 to 1. */
  | "bad_prediction"
  /** An executor threw: the cause is what it threw. */
  | "not_executed"
  /** A runtime runs once. */
  | "already_run"
  /** `onStart` threw: the cause is what it threw. */
  | "start_failed";

/** An error of the bot framework. Its `message` is for people, its `code` for programs. */
export class BotError extends Error {
  override readonly name = "BotError";
  readonly code: BotErrorCode;

  constructor(code: BotErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The text of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
