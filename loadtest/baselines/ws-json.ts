import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { Role } from "../child.ts";
import { acknowledgement, type ServerInfo } from "./listening.ts";
import { EVENTS_PER_TURN, Saturation } from "./saturation.ts";

const STREAM = 64;

/** The gateway's JSON form of a trade. */
const TRADE = {
  type: "trade",
  exchange: "binance",
  symbol: "BTC/USDT",
  market_type: "spot",
  stream: STREAM,
  channel: "trades",
  epoch: 7_976_249_570_992_945,
  position: 0,
  seq: 0,
  from_seq: 0,
  ts_exchange: 1_795_267_593_825_000,
  ts_receive: 1_795_267_593_850_000,
  ts_publish: 1_795_267_593_850_000,
  flags: ["last_of_event"],
  price: 67_186.6,
  size: 0.04113,
  side: "buy",
  trade_id: "1000000000",
  is_block: false,
  is_liquidation: false,
  is_odd_lot: false,
};

/** What most servers in Node do: JSON.stringify once an event, and `ws` to send it to each client. */
export async function beWsJson(): Promise<Role> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await new Promise((resolve) => server.once("listening", resolve));
  const clients = new Set<WebSocket>();
  let sequence = 0;
  server.on("connection", (socket) => {
    socket.on("error", () => socket.terminate());
    socket.on("close", () => clients.delete(socket));
    socket.on("message", () => {
      socket.send(acknowledgement(STREAM, sequence));
      clients.add(socket);
    });
  });
  const saturation = new Saturation(
    () => {
      for (let event = 0; event < EVENTS_PER_TURN; event += 1) {
        sequence += 1;
        const text = JSON.stringify({ ...TRADE, position: sequence, seq: sequence, from_seq: sequence });
        for (const client of clients) client.send(text);
      }
    },
    () => {
      let longest = 0;
      for (const client of clients) longest = Math.max(longest, client.bufferedAmount);
      return longest;
    },
  );
  const info: ServerInfo = { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}` };
  return { info, calls: saturation.calls };
}
