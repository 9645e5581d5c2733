/** Fields of an object from the wire under their TypeScript names: `limit_price` as `limitPrice`; only the outermost. */
export function camelNames(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return renamed(fields, (name) => name.replace(/_([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase()));
}

/** Fields of an object under their names on the wire: `limitPrice` as `limit_price`; only the outermost. */
export function snakeNames(fields: object): Record<string, unknown> {
  return renamed(fields as Record<string, unknown>, (name) =>
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  );
}

function renamed(fields: Readonly<Record<string, unknown>>, rename: (name: string) => string): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) result[rename(name)] = value;
  }
  return result;
}

/** True for what has fields: no array, not null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
