import WebSocket from "ws";

/** Under the gateway's limits on a message's length and on the streams that one connection names. */
const SYMBOLS_PER_MESSAGE = 1000;
const MESSAGES_PER_CONNECTION = 4;

/**
 * Asks for a channel of so many symbols by name and goes away: with a long grace period the gateway stays subscribed at
 * its venue, and nobody needs to receive all of it. Resolves when all was acknowledged.
 */
export async function raiseDemand(url: string, channels: readonly string[], symbols: readonly string[]): Promise<void> {
  const perConnection = SYMBOLS_PER_MESSAGE * MESSAGES_PER_CONNECTION;
  for (let from = 0; from < symbols.length; from += perConnection) {
    await ask(url, channels, symbols.slice(from, from + perConnection));
  }
}

function ask(url: string, channels: readonly string[], symbols: readonly string[]): Promise<void> {
  const messages: string[] = [];
  for (let from = 0; from < symbols.length; from += SYMBOLS_PER_MESSAGE) {
    const part = symbols.slice(from, from + SYMBOLS_PER_MESSAGE);
    messages.push(JSON.stringify({ type: "subscribe", id: from + 1, channels, symbols: part }));
  }
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url}/stream?encoding=flatbuffers`, { perMessageDeflate: false });
    let left = messages.length;
    socket.on("open", () => {
      for (const message of messages) socket.send(message);
    });
    socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) return;
      const { type, status, message } = JSON.parse(data.toString()) as Record<string, string>;
      if (type === "error") reject(new Error(`the gateway refused a subscription: ${message}`));
      if (status === "subscribed") left -= 1;
      if (left === 0) socket.close();
    });
    socket.on("error", reject);
    socket.on("close", (code) => {
      if (left === 0) resolve();
      else reject(new Error(`the gateway closed the connection that raises demand with ${code}`));
    });
  });
}
