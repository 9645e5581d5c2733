import type { Slot } from "../market/sink.ts";
import {
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
  FIRST_SEQUENCE,
  LAST_SEQUENCE,
  PRICE,
  SIZE,
  TRADE_NUMBER,
  TS_EXCHANGE,
} from "../market/sink.ts";
import {
  BRACE_CLOSE,
  Literal,
  REFUSED,
  ShortLiteral,
  scanDecimalField,
  scanIntegerField,
  scanLiteral,
  scanShort,
  scanText,
  scratch,
  wordAt,
} from "./scan.ts";
import { scanLevels } from "./scan-levels.ts";
import type { ScanTarget } from "./scan-target.ts";
import { copyTradeId } from "./scan-target.ts";
import type { SymbolTable } from "./symbol-table.ts";

/*
 * Hot path. The three shapes that make up nearly all of Binance's messages, exactly as it writes them:
 *
 *   {"e":"trade","E":ms,"s":"ETHUSDT","t":id,"p":"2682.51000000","q":"0.00460000","T":ms,"m":false,"M":true}
 *   {"e":"depthUpdate","E":ms,"s":"ETHUSDT","U":first,"u":last,"b":[["p","q"],…],"a":[…]}
 *   {"u":last,"s":"ETHUSDT","b":"p","B":"q","a":"p","A":"q"}
 *
 * bare, or as the data of {"stream":"ethusdt@trade","data":…}. The stream's name is skipped: the payload says all.
 */

const WRAPPER = new Literal('{"stream":"');
const DATA = new Literal('","data":');
const TRADE = new Literal('{"e":"trade"');
const DEPTH = new Literal('{"e":"depthUpd');
const DEPTH_END = new ShortLiteral('ate"');
const EVENT_TIME = new ShortLiteral(',"E":');
const UPDATE = new ShortLiteral('{"u":');
const SYMBOL = new ShortLiteral(',"s":"');
const TRADE_ID = new ShortLiteral('","t":');
const TRADE_PRICE = new ShortLiteral(',"p":"');
const TRADE_SIZE = new ShortLiteral('","q":"');
const TRADE_TIME = new ShortLiteral('","T":');
const MAKER = new ShortLiteral(',"m":');
const IGNORED = new ShortLiteral(',"M":');
/** By bit 1 of the first letter: true, or false, whose first letter stands before the word. */
const BOOLEAN_FIRST = Buffer.from("tf");
const BOOLEAN_WORD = Int32Array.of(Buffer.from("true").readInt32LE(), Buffer.from("alse").readInt32LE());
const FIRST_UPDATE = new ShortLiteral('","U":');
const LAST_UPDATE = new ShortLiteral(',"u":');
const BIDS = new ShortLiteral(',"b":[');
const ASKS = new ShortLiteral(',"a":[');
const BEST_BID = new ShortLiteral('","b":"');
const BEST_BID_SIZE = new ShortLiteral('","B":"');
const BEST_ASK = new ShortLiteral('","a":"');
const BEST_ASK_SIZE = new ShortLiteral('","A":"');

export const SCANNED_NOTHING = 0;
export const SCANNED_BUY = 1;
export const SCANNED_SELL = 2;
export const SCANNED_DEPTH = 3;
export const SCANNED_QUOTE = 4;

/** Where the scan of the event's own time goes; the slot gets the trade's time, which is earlier. */
const eventTime = new Float64Array(1);

/**
 * Scans the loaded message into the slot: its kind, or SCANNED_NOTHING when it has another shape. The symbol's
 * instrument is in `symbols.found`; the time is left in the venue's own unit.
 */
export function scanBinance(length: number, target: ScanTarget, symbols: SymbolTable): number {
  const slot = target.slot;
  let at = scanLiteral(0, WRAPPER);
  let end = length;
  if (at >= 0) {
    at = scanLiteral(scanText(at), DATA);
    if (at < 0 || scratch[length - 1] !== BRACE_CLOSE) return SCANNED_NOTHING;
    end = length - 1;
  } else {
    at = 0;
  }
  const payload = at;
  at = scanLiteral(payload, TRADE);
  if (at >= 0) return scanTrade(at, end, target, symbols);
  if (scratch[payload + 2] === 0x75)
    return scanQuote(payload, end, slot.numbers, symbols) === end ? SCANNED_QUOTE : SCANNED_NOTHING;
  at = scanLiteral(payload, DEPTH);
  at = scanShort(at, DEPTH_END);
  if (at >= 0) return scanDepth(at, end, slot, symbols) === end ? SCANNED_DEPTH : SCANNED_NOTHING;
  return SCANNED_NOTHING;
}

function scanTrade(from: number, end: number, target: ScanTarget, symbols: SymbolTable): number {
  const slot = target.slot;
  const numbers = slot.numbers;
  let at = scanIntegerField(from, EVENT_TIME, eventTime, 0);
  at = symbols.scanField(at, SYMBOL);
  // What the trade will touch comes into the cache while the rest is scanned; a refused symbol's predecessor does no harm.
  target.sink.prefetch(symbols.found);
  const idEnd = scanIntegerField(at, TRADE_ID, numbers, TRADE_NUMBER);
  if (idEnd < 0) return SCANNED_NOTHING;
  copyTradeId(at + TRADE_ID.length, idEnd, slot, target.tradeIdWords);
  at = scanDecimalField(idEnd, TRADE_PRICE, numbers, PRICE);
  at = scanDecimalField(at, TRADE_SIZE, numbers, SIZE);
  at = scanIntegerField(at, TRADE_TIME, numbers, TS_EXCHANGE);
  at = scanShort(at, MAKER);
  if (at < 0) return SCANNED_NOTHING;
  // true or false at random would cost a wrong guess of the processor every second time: the word is looked up instead.
  const no = ((scratch[at] as number) >> 1) & 1;
  if (scratch[at] !== BOOLEAN_FIRST[no] || wordAt(at + no) !== BOOLEAN_WORD[no]) return SCANNED_NOTHING;
  at = scanShort(at + 4 + no, IGNORED);
  if (at < 0) return SCANNED_NOTHING;
  const ignored = ((scratch[at] as number) >> 1) & 1;
  if (scratch[at] !== BOOLEAN_FIRST[ignored] || wordAt(at + ignored) !== BOOLEAN_WORD[ignored]) return SCANNED_NOTHING;
  at += 4 + ignored;
  if (at !== end - 1 || scratch[at] !== BRACE_CLOSE) return SCANNED_NOTHING;
  if ((numbers[PRICE] as number) === 0 || (numbers[SIZE] as number) === 0) return SCANNED_NOTHING;
  // m says that the buyer was the maker: then the aggressor sold.
  return SCANNED_SELL - no;
}

function scanDepth(from: number, end: number, slot: Slot, symbols: SymbolTable): number {
  const numbers = slot.numbers;
  let at = scanIntegerField(from, EVENT_TIME, numbers, TS_EXCHANGE);
  at = symbols.scanField(at, SYMBOL);
  at = scanIntegerField(at, FIRST_UPDATE, numbers, FIRST_SEQUENCE);
  at = scanIntegerField(at, LAST_UPDATE, numbers, LAST_SEQUENCE);
  at = scanLevels(scanShort(at, BIDS), slot.bids);
  at = scanLevels(scanShort(at, ASKS), slot.asks);
  if (at !== end - 1 || scratch[at] !== BRACE_CLOSE) return REFUSED;
  return (numbers[FIRST_SEQUENCE] as number) <= (numbers[LAST_SEQUENCE] as number) ? end : REFUSED;
}

function scanQuote(from: number, end: number, numbers: Float64Array, symbols: SymbolTable): number {
  let at = scanIntegerField(from, UPDATE, numbers, LAST_SEQUENCE);
  at = symbols.scanField(at, SYMBOL);
  at = scanDecimalField(at, BEST_BID, numbers, BID_PRICE);
  at = scanDecimalField(at, BEST_BID_SIZE, numbers, BID_SIZE);
  at = scanDecimalField(at, BEST_ASK, numbers, ASK_PRICE);
  at = scanDecimalField(at, BEST_ASK_SIZE, numbers, ASK_SIZE);
  if (at !== end - 2 || scratch[at + 1] !== BRACE_CLOSE) return REFUSED;
  return end;
}
