#pragma once
#include "scan.hpp"
#include "symbols.hpp"
#include "trade.hpp"

/**
 * Scans a trade of Binance's combined stream, the length of the message given, exactly as the venue writes it:
 *
 *   {"stream":"ethusdt@trade","data":{"e":"trade","E":ms,"s":"ETHUSDT","t":id,"p":"2682.51000000",
 *    "q":"0.00460000","T":ms,"m":false,"M":true}}
 *
 * False for any other message. The trade's id stays where it lies.
 */
inline bool scanTrade(const char* message, size_t length, const Symbols& symbols, Trade& trade, uint32_t& instrument) {
  Scanner scanner{message};
  int64_t eventTime;
  int64_t time;
  bool makerBought;
  bool ignored;
  if (!scanner.literal("{\"stream\":\"") || !scanner.text() || !scanner.literal("\",\"data\":")) return false;
  if (!scanner.literal("{\"e\":\"trade\",\"E\":") || !scanner.integer(eventTime)) return false;
  if (!scanner.literal(",\"s\":\"") || !symbols.scan(scanner, instrument)) return false;
  if (!scanner.literal("\",\"t\":")) return false;
  trade.id = scanner.at;
  if (!scanner.integer(trade.number)) return false;
  trade.idLength = static_cast<uint32_t>(scanner.at - trade.id);
  if (!scanner.literal(",\"p\":\"") || !scanner.decimal(trade.price)) return false;
  if (!scanner.literal("\",\"q\":\"") || !scanner.decimal(trade.size)) return false;
  if (!scanner.literal("\",\"T\":") || !scanner.integer(time)) return false;
  if (!scanner.literal(",\"m\":") || !scanner.boolean(makerBought)) return false;
  if (!scanner.literal(",\"M\":") || !scanner.boolean(ignored)) return false;
  if (!scanner.literal("}}") || scanner.at != message + length) return false;
  if (trade.price == 0 || trade.size == 0 || trade.number == 0 || time > LARGEST_EXACT / 1000) return false;
  trade.time = time * 1000;
  // When the buyer was the maker, the aggressor sold.
  trade.side = static_cast<Side>(BUY + makerBought);
  return true;
}
