/** The instruments that the Binance double lists. Suffix guessing must fail on some of them, as on the real list. */
export interface Instrument {
  symbol: string;
  baseAsset: string;
  quoteAsset: string;
  status: "TRADING" | "HALT" | "BREAK" | "CANCEL_ONLY";
  tickSize: string;
  stepSize: string;
  minNotional: string;
}

type Row = [base: string, quote: string, tickSize: string, stepSize: string, status?: Instrument["status"]];

const LISTED: Row[] = [
  ["ETH", "USDT", "0.01", "0.0001"],
  ["BTC", "USDT", "0.01", "0.00001"],
  ["BTC", "FDUSD", "0.01", "0.00001"],
  ["BTC", "TUSD", "0.01", "0.00001"],
  ["ETH", "BTC", "0.00001", "0.0001"],
  ["SOL", "USDT", "0.01", "0.001"],
  ["XRP", "USDT", "0.0001", "0.1"],
  ["DOGE", "USDT", "0.00001", "1"],
  ["BTC", "TRY", "1", "0.00001"],
  ["BCC", "USDT", "0.01", "0.00001", "BREAK"],
  ["币安人生", "USDT", "0.0001", "0.1"],
];

const QUOTES = ["FDUSD", "USDT", "USDC", "TUSD", "BTC", "ETH", "BNB", "TRY", "EUR"];

/** Symbols on the tape come first, then the fixed list, then as many invented ones as a scale test asks for. */
export function listInstruments(onTape: string[], invented: number): Map<string, Instrument> {
  const instruments = new Map<string, Instrument>();
  const add = ([baseAsset, quoteAsset, tickSize, stepSize, status = "TRADING"]: Row): void => {
    const symbol = baseAsset + quoteAsset;
    const minNotional = "5.00000000";
    if (!instruments.has(symbol)) {
      instruments.set(symbol, { symbol, baseAsset, quoteAsset, status, tickSize, stepSize, minNotional });
    }
  };
  for (const symbol of onTape) add(LISTED.find(([base, quote]) => base + quote === symbol) ?? split(symbol));
  LISTED.forEach(add);
  for (let i = 1; i <= invented; i++) add([`SIM${String(i).padStart(5, "0")}`, "USDT", "0.01", "0.0001"]);
  return instruments;
}

function split(symbol: string): Row {
  const quote = QUOTES.find((candidate) => symbol.endsWith(candidate)) ?? symbol.slice(-4);
  return [symbol.slice(0, -quote.length), quote, "0.01", "0.0001"];
}

/** One entry of exchangeInfo, in the venue's form. */
export function describeInstrument(instrument: Instrument): object {
  const { symbol, status, baseAsset, quoteAsset, tickSize, stepSize, minNotional } = instrument;
  return {
    symbol,
    status,
    baseAsset,
    baseAssetPrecision: 8,
    quoteAsset,
    quotePrecision: 8,
    quoteAssetPrecision: 8,
    orderTypes: ["LIMIT", "LIMIT_MAKER", "MARKET"],
    icebergAllowed: true,
    ocoAllowed: true,
    isSpotTradingAllowed: true,
    isMarginTradingAllowed: false,
    filters: [
      {
        filterType: "PRICE_FILTER",
        minPrice: eight(tickSize),
        maxPrice: "1000000.00000000",
        tickSize: eight(tickSize),
      },
      { filterType: "LOT_SIZE", minQty: eight(stepSize), maxQty: "9000000.00000000", stepSize: eight(stepSize) },
      {
        filterType: "NOTIONAL",
        minNotional,
        applyMinToMarket: true,
        maxNotional: "9000000.00000000",
        applyMaxToMarket: false,
        avgPriceMins: 5,
      },
    ],
    permissions: [],
    permissionSets: [["SPOT"]],
    defaultSelfTradePreventionMode: "EXPIRE_MAKER",
    allowedSelfTradePreventionModes: ["EXPIRE_MAKER"],
  };
}

function eight(decimal: string): string {
  return Number(decimal).toFixed(8);
}
