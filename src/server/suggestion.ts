import type { Catalog } from "../market/instrument.ts";

/** Symbols by their letters alone, for each catalog; made anew when the catalog has grown. */
const indexes = new WeakMap<Catalog, { size: number; symbols: Map<string, string> }>();

/**
 * The known symbol that a mistyped one most likely means: the same letters without separators, else undefined. One
 * request may hold a thousand unknown symbols, so the known ones are not gone through for each.
 */
export function suggestSymbol(catalog: Catalog, symbol: string): string | undefined {
  let index = indexes.get(catalog);
  if (index?.size !== catalog.size) {
    const symbols = new Map<string, string>();
    for (const known of catalog.all()) {
      const bare = bareOf(known.symbol);
      if (!symbols.has(bare)) symbols.set(bare, known.symbol);
    }
    index = { size: catalog.size, symbols };
    indexes.set(catalog, index);
  }
  return index.symbols.get(bareOf(symbol));
}

function bareOf(symbol: string): string {
  return symbol.toUpperCase().replace(/[-_/:.\s]/g, "");
}
