/** What the server says of a connection, by `type`. Times are microseconds: the client asks for them so. */
export interface Hello {
  type: "hello";
  version: string;
  mode: "live" | "simulated" | "replay";
  epoch: number;
  position: number;
  window_seconds: number;
  heartbeat_ms: number;
}

/** What an ack says of a stream. */
export interface AckedStream {
  stream: number;
  channel: string;
  symbol: string;
  exchange: string;
  timeframe?: string;
  depth?: number | "full";
  seq: number;
  state: string;
  resumable: boolean;
}

/** What of a request the server has not got. */
export interface Unavailable {
  exchange: string;
  symbol: string;
  channel?: string;
  code: string;
}

export interface Ack {
  type: "system";
  status: "subscribed" | "unsubscribed";
  id: number;
  streams: AckedStream[];
  stream_count?: number;
  unavailable: Unavailable[];
  indicators?: { id: number; name: string; lanes: string[] }[];
  resume?: "resumed" | "restarted" | "unknown_epoch";
}

export interface GapMessage {
  type: "gap";
  stream: number;
  from: number | null;
  to: number | null;
  reason: string;
  epoch?: number;
}

export type ServerMessage =
  | Hello
  | Ack
  | GapMessage
  | { type: "heartbeat"; ts_server: number; position: number; queue_bytes: number; lag_ms: number }
  | { type: "stream_added"; subscription: number; stream: AckedStream }
  | { type: "replay_begin"; id: number }
  | { type: "replay_end"; id: number; epoch: number; position: number }
  | { type: "pong"; id: number; ts_server: number }
  | { type: "server_shutdown"; retry_after_ms: number }
  | { type: "error"; id: number | null; code: string; message: string };

/** The message that a text is; undefined when it is none. What a newer server says besides is some other type. */
export function readMessage(text: string): ServerMessage | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof (value as { type?: unknown } | null)?.type === "string" ? (value as ServerMessage) : undefined;
  } catch {
    return undefined;
  }
}
