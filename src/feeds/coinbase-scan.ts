import type { LevelList } from "../market/sink.ts";
import { PRICE, SIZE, TRADE_NUMBER, TS_EXCHANGE } from "../market/sink.ts";
import { scanTime } from "./rfc3339.ts";
import {
  BRACE_CLOSE,
  BRACKET_CLOSE,
  BRACKET_OPEN,
  COMMA,
  Literal,
  QUOTE,
  REFUSED,
  ShortLiteral,
  scanDecimal,
  scanInteger,
  scanLiteral,
  scanShort,
  scanText,
  scratch,
  wordAt,
} from "./scan.ts";
import type { ScanTarget } from "./scan-target.ts";
import { copyTradeId } from "./scan-target.ts";
import type { SymbolTable } from "./symbol-table.ts";

/*
 * Hot path. The two shapes that make up nearly all of Coinbase Exchange's messages, exactly as it writes them:
 *
 *   {"type":"match","trade_id":280232,"maker_order_id":"…","taker_order_id":"…","side":"sell","size":"985",
 *    "price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}
 *   {"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"]],"time":"…"}
 */

const MATCH = new Literal('{"type":"match",');
const TRADE_ID = new Literal('"trade_id":');
const MAKER_ORDER = new Literal(',"maker_order_i');
const TAKER_ORDER = new Literal('","taker_order_i');
const ORDER_ID = new ShortLiteral('d":"');
const SIDE = new Literal('","side":"');
const MATCH_SIZE = new Literal('","size":"');
const MATCH_PRICE = new Literal('","price":"');
const MATCH_PRODUCT = new Literal('","product_id":"');
const SEQUENCE = new Literal('","sequence":');
const TIME = new Literal(',"time":"');
const UPDATE = new Literal('{"type":"l2up');
const UPDATE_PRODUCT = new Literal('date","product_');
const PRODUCT_END = new ShortLiteral('id":"');
const CHANGES = new Literal('","changes":[');

export const SCANNED_NOTHING = 0;
export const SCANNED_MAKER_BUY = 1;
export const SCANNED_MAKER_SELL = 2;
export const SCANNED_UPDATE = 3;

/** By bit 0 of the first letter: buy and its closing quote, or sell. Looked up, because a guess would fail half the time. */
const SIDE_WORD = Int32Array.of(Buffer.from('buy"').readInt32LE(), Buffer.from("sell").readInt32LE());

const sequence = new Float64Array(1);

/** Scans the loaded message into the slot: its kind, or SCANNED_NOTHING. The product is in `symbols.found`. */
export function scanCoinbase(length: number, target: ScanTarget, symbols: SymbolTable): number {
  const numbers = target.slot.numbers;
  let kind = SCANNED_UPDATE;
  let at = scanLiteral(0, UPDATE);
  if (at >= 0) {
    at = symbols.scanField(scanLiteral(at, UPDATE_PRODUCT), PRODUCT_END);
    at = scanChanges(scanLiteral(at, CHANGES), target.slot.bids, target.slot.asks);
  } else {
    at = scanLiteral(0, MATCH);
    if (at < 0) return SCANNED_NOTHING;
    at = scanMatch(at, target, symbols);
    // The position and the maker's side share a number: doubling is cheaper than a field to leave the side in.
    kind = at < 0 ? SCANNED_NOTHING : SCANNED_MAKER_BUY + (at & 1);
    at >>= 1;
  }
  at = scanTime(scanLiteral(at, TIME), numbers, TS_EXCHANGE);
  if (at !== length - 2 || scratch[at] !== QUOTE || scratch[at + 1] !== BRACE_CLOSE) return SCANNED_NOTHING;
  return kind;
}

/** From the trade's id to before the time: twice the position, plus one when the maker sold. */
function scanMatch(from: number, target: ScanTarget, symbols: SymbolTable): number {
  const numbers = target.slot.numbers;
  const id = scanLiteral(from, TRADE_ID);
  let at = scanInteger(id, numbers, TRADE_NUMBER);
  if (at < 0) return REFUSED;
  copyTradeId(id, at, target.slot, target.tradeIdWords);
  at = scanText(scanShort(scanLiteral(at, MAKER_ORDER), ORDER_ID));
  at = scanText(scanShort(scanLiteral(at, TAKER_ORDER), ORDER_ID));
  at = scanLiteral(at, SIDE);
  if (at < 0) return REFUSED;
  const sold = (scratch[at] as number) & 1;
  if (wordAt(at) !== SIDE_WORD[sold]) return REFUSED;
  at = scanDecimal(scanLiteral(at + 3 + sold, MATCH_SIZE), numbers, SIZE);
  at = scanDecimal(scanLiteral(at, MATCH_PRICE), numbers, PRICE);
  at = symbols.scan(scanLiteral(at, MATCH_PRODUCT));
  at = scanInteger(scanLiteral(at, SEQUENCE), sequence, 0);
  if (at < 0 || numbers[PRICE] === 0 || numbers[SIZE] === 0) return REFUSED;
  return 2 * at + sold;
}

/** `["buy","price","size"],["sell",…]]` into the side that each change names; buy is bid. */
function scanChanges(from: number, bids: LevelList, asks: LevelList): number {
  if (from < 0) return REFUSED;
  bids.count = 0;
  asks.count = 0;
  let at = from;
  if (scratch[at] === BRACKET_CLOSE) return at + 1;
  for (;;) {
    if (scratch[at] !== BRACKET_OPEN || scratch[at + 1] !== QUOTE) return REFUSED;
    at += 2;
    const sold = (scratch[at] as number) & 1;
    if (wordAt(at) !== SIDE_WORD[sold]) return REFUSED;
    const levels = sold === 1 ? asks : bids;
    if (!levels.reserve()) return REFUSED;
    const values = levels.values;
    const index = 2 * levels.count;
    at = scanDecimal(afterSeparator(at + 3 + sold), values, index);
    if (at < 0 || values[index] === 0) return REFUSED;
    at = scanDecimal(afterSeparator(at), values, index + 1);
    if (at < 0 || scratch[at + 1] !== BRACKET_CLOSE) return REFUSED;
    levels.count += 1;
    const next = scratch[at + 2];
    at += 3;
    if (next === BRACKET_CLOSE) return at;
    if (next !== COMMA) return REFUSED;
  }
}

/** The position after `","`. */
function afterSeparator(at: number): number {
  return scratch[at] === QUOTE && scratch[at + 1] === COMMA && scratch[at + 2] === QUOTE ? at + 3 : REFUSED;
}
