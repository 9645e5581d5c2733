import { CursorFile } from "./cursor-file.ts";
import { TickwireError } from "./errors.ts";
import { type JournalOptions, openJournalServer } from "./journal-server.ts";
import { type ConnectOptions, checkOptions, readUrls } from "./options.ts";
import { Tickwire } from "./tickwire.ts";

/**
 * Connects to a tickwire server; resolves once it has greeted. With several addresses they are tried in turn, and failed
 * over to. Without one it is ws://localhost:8080. With `{ journal: DIR }` there is no server: the journal is replayed to
 * this program alone, as fast as it reads, and the client ends with it.
 *
 * Throws a TickwireError: `bad_url`, `bad_option`, `wrong_mode`, `refused`, `unavailable`, `not_here`.
 */
export async function connect(
  urls?: string | readonly string[] | (ConnectOptions & Partial<JournalOptions>),
  options: ConnectOptions = {},
): Promise<Tickwire> {
  const isAddress = urls === undefined || typeof urls === "string" || Array.isArray(urls);
  if (isAddress) return open(readUrls(urls as string | readonly string[] | undefined), options);
  const given = urls as ConnectOptions & Partial<JournalOptions>;
  if (given.journal === undefined) return open(readUrls(undefined), given);
  return replay(given as ConnectOptions & JournalOptions);
}

async function open(urls: readonly URL[], options: ConnectOptions): Promise<Tickwire> {
  checkOptions(options);
  const { cursorFile } = options;
  const cursor = cursorFile === undefined ? undefined : await CursorFile.open(cursorFile);
  return new Tickwire(urls, options, cursor).open();
}

/** Serves a journal to this program alone, and ends with it. */
async function replay(options: ConnectOptions & JournalOptions): Promise<Tickwire> {
  checkOptions(options);
  if (options.cursorFile !== undefined) throw new TickwireError("bad_option", "a journal has no cursor file");
  const server = await openJournalServer(options);
  const reconnect = { baseMs: 20, maxMs: 100, ...options.reconnect };
  const client = new Tickwire([new URL(server.url)], { ...options, reconnect }, undefined, true);
  server.ended.then((error) => (error === undefined ? client.close() : client.giveUp(error)));
  client.closed.then(server.stop, server.stop);
  try {
    return await client.open();
  } catch (error) {
    server.stop();
    throw error;
  }
}
