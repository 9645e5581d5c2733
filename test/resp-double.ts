/**
 * A double, not a Redis: it speaks the protocol of one over TCP and answers commands as a test says, so that commands
 * which the Redis at hand does not have can be tested down to the bytes.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";

/** What a command is answered with: text as a bulk string, numbers as integers, null, lists of these, errors. */
export type RespReply = string | number | null | Error | readonly RespReply[];

export interface RespDouble {
  readonly port: number;
  /** The commands that came, in order, each with its arguments. */
  readonly commands: string[][];
  /** Pieces of input that began a command: commands that were sent in one go come in one. */
  readonly reads: number;
  stop(): Promise<void>;
}

/** Starts a double on a free port; `answer` is given each command and its arguments. */
export async function startRespDouble(answer: (command: readonly string[]) => RespReply): Promise<RespDouble> {
  const commands: string[][] = [];
  const sockets = new Set<Socket>();
  let reads = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    let input = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      reads += 1;
      input = Buffer.concat([input, bytes]);
      for (;;) {
        const read = readCommand(input);
        if (read === undefined) return;
        input = input.subarray(read.bytes);
        commands.push(read.command);
        socket.write(encode(answer(read.command)));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    commands,
    get reads() {
      return reads;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The first command of the input and its length; undefined while it has not all come. */
export function readCommand(input: Buffer): { command: string[]; bytes: number } | undefined {
  let at = 0;
  const line = () => {
    const end = input.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const text = input.toString("latin1", at, end);
    at = end + 2;
    return text;
  };
  const head = line();
  if (head === undefined) return undefined;
  if (!/^\*\d+$/.test(head)) throw new Error(`not a command: ${head}`);
  const command: string[] = [];
  for (let left = Number(head.slice(1)); left > 0; left -= 1) {
    const size = line();
    if (size === undefined) return undefined;
    if (!/^\$\d+$/.test(size)) throw new Error(`not a bulk string: ${size}`);
    const length = Number(size.slice(1));
    if (input.length < at + length + 2) return undefined;
    command.push(input.toString("utf8", at, at + length));
    at += length + 2;
  }
  return { command, bytes: at };
}

export function encode(reply: RespReply): string {
  if (reply === null) return "$-1\r\n";
  if (typeof reply === "number") return `:${reply}\r\n`;
  if (typeof reply === "string") return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`;
  if (reply instanceof Error) return `-${reply.message}\r\n`;
  return `*${reply.length}\r\n${reply.map(encode).join("")}`;
}
