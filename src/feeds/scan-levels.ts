import type { LevelList } from "../market/sink.ts";
import { BRACKET_CLOSE, BRACKET_OPEN, COMMA, QUOTE, REFUSED, scanDecimal, scratch } from "./scan.ts";

/**
 * Hot path. Levels as `["price","size"],["price","size"]]`, from after the opening bracket to after the closing one.
 * A price of zero is refused: no level has it.
 */
export function scanLevels(at: number, levels: LevelList): number {
  if (at < 0) return REFUSED;
  levels.count = 0;
  if (scratch[at] === BRACKET_CLOSE) return at + 1;
  let values = levels.values;
  let position = at;
  let index = 0;
  for (;;) {
    if (index === values.length) {
      levels.count = index >> 1;
      if (!levels.reserve()) return REFUSED;
      values = levels.values;
    }
    if (scratch[position] !== BRACKET_OPEN || scratch[position + 1] !== QUOTE) return REFUSED;
    position = scanDecimal(position + 2, values, index);
    if (position < 0 || values[index] === 0) return REFUSED;
    if (scratch[position + 1] !== COMMA || scratch[position + 2] !== QUOTE) return REFUSED;
    position = scanDecimal(position + 3, values, index + 1);
    if (position < 0 || scratch[position + 1] !== BRACKET_CLOSE) return REFUSED;
    index += 2;
    const next = scratch[position + 2];
    position += 3;
    if (next === COMMA) continue;
    if (next !== BRACKET_CLOSE) return REFUSED;
    levels.count = index >> 1;
    return position;
  }
}
