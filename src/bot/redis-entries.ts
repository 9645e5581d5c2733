import { BotError } from "./errors.ts";

/** An entry of a stream. */
export interface StreamEntry {
  /** `<ms>-<counter>`. */
  readonly id: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** The entries of an XRANGE or XREVRANGE; throws `bad_reply`. */
export function readEntries(reply: unknown): StreamEntry[] {
  if (!Array.isArray(reply)) throw new BotError("bad_reply", "a stream answers with a list of entries");
  return reply.map((entry: unknown) => {
    const [id, list] = Array.isArray(entry) ? (entry as unknown[]) : [];
    // A null list is an entry that was deleted while it was pending.
    if (typeof id !== "string" || !(Array.isArray(list) || list === null)) {
      throw new BotError("bad_reply", "an entry of a stream is its id and its fields");
    }
    const fields: Record<string, string> = {};
    for (let at = 0; at + 1 < (list?.length ?? 0); at += 2) fields[String(list?.[at])] = String(list?.[at + 1]);
    return { id, fields };
  });
}

/** The entries of an XREAD of one stream, none when it timed out; throws `bad_reply`. */
export function readReadEntries(reply: unknown): StreamEntry[] {
  if (reply === null || reply === undefined) return [];
  const [stream] = Array.isArray(reply) ? (reply as unknown[]) : [];
  if (!Array.isArray(stream)) throw new BotError("bad_reply", "XREAD answers with streams");
  return readEntries(stream[1]);
}

const ID = /^\d{1,20}(-\d{1,20})?$/;

/** Throws `bad_config` for what is neither an id of an entry nor `$`. */
export function checkId(id: string): void {
  if (id !== "$" && !ID.test(id)) throw new BotError("bad_config", `lastId: "$" or an id like "0-0", not "${id}"`);
}
