/** How the messages of a source are read. */
export type ReceiverForm = "flatbuffers" | "json" | "relay";

export const RECEIVER_FORMS: readonly ReceiverForm[] = ["flatbuffers", "json", "relay"];

/** The command line of a receiver, read. */
export interface ReceiverSettings {
  url: string;
  clients: number;
  form: ReceiverForm;
  /** Sent by each client once it is open. */
  send: string[];
  protocol?: string;
  /** Answers with `"status":"subscribed"` that make a client ready; 0 is ready when open. */
  readyAcks: number;
  /** Connections begun a second; 0 as many as the handshakes allow. */
  rampPerSecond: number;
  /** A client that comes back after a `drop` goes on where the dropped one stood, by `resume`; without it as a new one. */
  resume: boolean;
}

/** What is wrong with a command line: one clear line. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

const MAX_CLIENTS = 60_000;
const MAX_PER_SECOND = 1_000_000;
/** Of a pace. */
export const MAX_BYTES_PER_SECOND = 100_000_000;

/** Reads a receiver's command line; throws a SettingsError. */
export function readReceiverSettings(args: readonly string[]): ReceiverSettings {
  const given = new Map<string, string>();
  const send: string[] = [];
  for (let index = 0; index < args.length; index += 2) {
    const flag = args[index] as string;
    const value = args[index + 1];
    if (!FLAGS.has(flag)) throw new SettingsError(`unknown argument ${flag}`);
    if (value === undefined) throw new SettingsError(`${flag} needs a value`);
    if (flag === "--send") send.push(value);
    else given.set(flag, value);
  }
  const form = RECEIVER_FORMS.find((each) => each === given.get("--form"));
  if (form === undefined) throw new SettingsError(`--form must be one of ${RECEIVER_FORMS.join(", ")}`);
  const url = given.get("--url") ?? "";
  if (!isPlainUrl(url)) throw new SettingsError(`--url must be ws://HOST:PORT/PATH, not ${url || "nothing"}`);
  const protocol = given.get("--protocol");
  return {
    url,
    form,
    send,
    clients: wholeNumber("--clients", given.get("--clients"), MAX_CLIENTS),
    readyAcks: wholeNumber("--ready-acks", given.get("--ready-acks") ?? String(send.length), MAX_CLIENTS),
    rampPerSecond: wholeNumber("--ramp", given.get("--ramp") ?? "0", MAX_PER_SECOND),
    resume: wholeNumber("--resume", given.get("--resume") ?? "0", 1) === 1,
    ...(protocol === undefined ? {} : { protocol }),
  };
}

/** How much the system may receive ahead of a client is the native form's to set; Node has no way to. */
const FLAGS = new Set(
  "--url --clients --form --send --protocol --ready-acks --ramp --resume --receive-buffer".split(" "),
);

/** The number of a command that is a word and a whole number: `drop 10`. Undefined when it is not. */
export function countOf(text: string | undefined, largest = MAX_CLIENTS): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) && Number(text) <= largest ? Number(text) : undefined;
}

function wholeNumber(flag: string, text: string | undefined, largest: number): number {
  if (text === undefined || !/^\d{1,9}$/.test(text) || Number(text) > largest) {
    throw new SettingsError(`${flag} must be a whole number of at most ${largest}, not ${text ?? "nothing"}`);
  }
  return Number(text);
}

/** Receivers speak plain WebSocket only, to an explicit port. */
function isPlainUrl(text: string): boolean {
  return /^ws:\/\/[A-Za-z0-9.-]+:\d{1,5}(\/[^\s#]*)?$/.test(text);
}
