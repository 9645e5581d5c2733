import { CursorFile } from "./cursor-file.ts";
import { TickwireError } from "./errors.ts";
import { type ConnectOptions, checkOptions, readUrls } from "./options.ts";
import {
  type EmbeddedOptions,
  type JournalOptions,
  type OwnServer,
  openEmbeddedServer,
  openJournalServer,
} from "./own-server.ts";
import { Tickwire } from "./tickwire.ts";

/** What a client reads when no server is named: an engine of its own, or a journal. */
export type OwnOptions = Partial<JournalOptions> & { embedded?: EmbeddedOptions };

/**
 * Connects to a tickwire server; resolves once it has greeted. With several addresses they are tried in turn, and failed
 * over to. Without one it is ws://localhost:8080. With `{ journal: DIR }` there is no server: the journal is replayed to
 * this program alone, as fast as it reads, from when all that it has asked for was answered, and the client ends with it.
 * With `{ embedded: { feeds: ["binance"] } }` this
 * program has an engine of its own, in a process beside it, which ends with the client.
 *
 * Throws a TickwireError: `bad_url`, `bad_option`, `wrong_mode`, `refused`, `unavailable`, `not_here`.
 */
export async function connect(
  urls?: string | readonly string[] | (ConnectOptions & OwnOptions),
  options: ConnectOptions = {},
): Promise<Tickwire> {
  const isAddress = urls === undefined || typeof urls === "string" || Array.isArray(urls);
  if (isAddress) return open(readUrls(urls as string | readonly string[] | undefined), options);
  const given = urls as ConnectOptions & OwnOptions;
  const { journal, embedded } = given;
  if (journal === undefined && embedded === undefined) return open(readUrls(undefined), given);
  checkOptions(given);
  if (journal === undefined) return withServer(await openEmbeddedServer(embedded as EmbeddedOptions), given, false);
  if (embedded !== undefined) throw new TickwireError("bad_option", "journal and embedded exclude each other");
  if (given.cursorFile !== undefined) throw new TickwireError("bad_option", "a journal has no cursor file");
  return withServer(await openJournalServer(given as JournalOptions), given, true);
}

async function open(urls: readonly URL[], options: ConnectOptions): Promise<Tickwire> {
  checkOptions(options);
  const { cursorFile } = options;
  const cursor = cursorFile === undefined ? undefined : await CursorFile.open(cursorFile);
  return new Tickwire(urls, options, cursor).open();
}

/** Connects to a server that is this program's alone; they end with each other. */
async function withServer(server: OwnServer, options: ConnectOptions, isJournal: boolean): Promise<Tickwire> {
  const reconnect = { baseMs: 20, maxMs: 100, ...options.reconnect };
  const own = isJournal ? { play: () => server.play() } : {};
  const client = new Tickwire([new URL(server.url)], { ...options, reconnect }, undefined, own);
  server.ended.then((error) => (error === undefined ? client.closeWhenRead() : client.giveUp(error)));
  client.closed.then(server.stop, server.stop);
  try {
    return await client.open();
  } catch (error) {
    server.stop();
    // It was there and had come to its end before anybody could ask for anything.
    const isEmpty = isJournal && error instanceof TickwireError && error.code === "closed" && !options.signal?.aborted;
    throw isEmpty ? new TickwireError("bad_option", "the journal has nothing of that time") : error;
  }
}
