import { Builder } from "flatbuffers";
import type { Field, Schema } from "./parse.ts";

const SCALAR_BYTES: Record<string, number> = {
  ubyte: 1,
  byte: 1,
  bool: 1,
  ushort: 2,
  short: 2,
  int: 4,
  uint: 4,
  long: 8,
  ulong: 8,
  double: 8,
};

/** The scalar type under an enum's name; undefined for what is reached through an offset. */
export function scalarOf(schema: Schema, field: Field): string | undefined {
  if (field.vector) return undefined;
  if (field.type in SCALAR_BYTES) return field.type;
  return schema.enums.get(field.type)?.base;
}

/** The value of a field that is not there. */
export function fallbackOf(schema: Schema, field: Field): string {
  if (field.fallback === undefined) return "0";
  if (field.fallback === "nan") return "Number.NaN";
  const named = schema.enums.get(field.type)?.values.find(([name]) => name === field.fallback);
  return named ? String(named[1]) : field.fallback;
}

/** Places of fields in a built template, by `TABLE_FIELD`. */
type Places = Map<string, number>;

/**
 * Builds one frame of a payload with the official Builder, every field forced to have a place, and reads from its
 * vtables where each landed. Strings and vectors are made first, hence last in memory, so that one template serves any
 * length of them; of several, the first in the schema comes first in memory.
 */
function buildTemplate(schema: Schema, payload: string): { bytes: Uint8Array; places: Places } {
  const builder = new Builder(512);
  builder.forceDefaults(true);
  const fields = schema.tables.get(payload) as Field[];
  const offsets = new Map<string, number>();
  for (const field of [...fields].reverse()) {
    if (field.type === "string") offsets.set(field.name, builder.createString(""));
    else if (field.vector) {
      builder.startVector(16, 0, 8);
      offsets.set(field.name, builder.endVector());
    }
  }
  const table = buildTable(schema, builder, fields, offsets);
  const frame = schema.tables.get("Frame") as Field[];
  const root = buildTable(
    schema,
    builder,
    frame,
    new Map([["payload", table]]),
    schema.union.members.indexOf(payload) + 1,
  );
  builder.finish(root, "TWF1");
  const bytes = builder.asUint8Array().slice();
  const places: Places = new Map();
  const view = new DataView(bytes.buffer);
  const rootAt = view.getUint32(0, true);
  placeFields(view, rootAt, "FRAME", slotsOf(frame), places);
  const payloadField = places.get("FRAME_PAYLOAD") as number;
  const payloadAt = payloadField + view.getUint32(payloadField, true);
  placeFields(view, payloadAt, constantCase(payload), slotsOf(fields), places);
  return { bytes, places };
}

/** Field names in the order of vtable slots: a union takes two, its type and its value. */
export function slotsOf(fields: Field[]): string[] {
  return fields.flatMap((field) => (field.name === "payload" ? ["payload_type", "payload"] : [field.name]));
}

function buildTable(
  schema: Schema,
  builder: Builder,
  fields: Field[],
  offsets: Map<string, number>,
  unionType = 0,
): number {
  const slots = slotsOf(fields);
  builder.startObject(slots.length);
  const byName = new Map(fields.map((field) => [field.name, field]));
  const width = (slot: string) => {
    const field = byName.get(slot);
    return slot === "payload_type" ? 1 : (SCALAR_BYTES[scalarOf(schema, field as Field) ?? "uint"] as number);
  };
  // Widest first: the Builder fills downwards, so no padding falls between fields.
  const order = slots
    .map((name, slot) => ({ name, slot }))
    .sort((a, b) => width(b.name) - width(a.name) || b.slot - a.slot);
  for (const { name, slot } of order) {
    const field = byName.get(name);
    const offset = offsets.get(name);
    if (name === "payload_type") builder.addFieldInt8(slot, unionType, 0);
    else if (offset !== undefined) builder.addFieldOffset(slot, offset, 0);
    else addScalar(schema, builder, slot, field as Field);
  }
  return builder.endObject();
}

function addScalar(schema: Schema, builder: Builder, slot: number, field: Field): void {
  const fallback = fallbackOf(schema, field);
  const value = fallback === "Number.NaN" ? Number.NaN : Number(fallback);
  switch (SCALAR_BYTES[scalarOf(schema, field) as string]) {
    case 1:
      builder.addFieldInt8(slot, value, 0);
      break;
    case 2:
      builder.addFieldInt16(slot, value, 0);
      break;
    case 4:
      builder.addFieldInt32(slot, value, 0);
      break;
    default:
      if (field.type === "double") builder.addFieldFloat64(slot, value, 0);
      else builder.addFieldInt64(slot, BigInt(value), 0n);
  }
}

function placeFields(view: DataView, table: number, prefix: string, slots: string[], places: Places): void {
  const vtable = table - view.getInt32(table, true);
  slots.forEach((name, slot) => {
    places.set(`${prefix}_${name.toUpperCase()}`, table + view.getUint16(vtable + 4 + 2 * slot, true));
  });
}

export function constantCase(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]/g, "_$&").toUpperCase();
}

/**
 * The payloads that the hot path writes, and Stream, because thousands of bars may close for the first time at once; the
 * rest is rare and goes through the Builder itself.
 */
const TEMPLATED = ["Trade", "BookLevels", "Quote", "Ticker", "Funding", "Liquidation", "Bar", "Indicators", "Stream"];

export function templatesSource(schema: Schema): string {
  const lines = [
    "// Generated by `npm run codegen` from schema/tickwire.fbs; do not edit.",
    "// Each template is one whole frame, built by the official Builder with every field forced to have a place; the",
    "// constants say where, in bytes from the frame's start. Stamping is unrolled: a loop takes three times as long.",
    "",
    'import { templateWords } from "../template-words.ts";',
    "",
  ];
  let header: string | undefined;
  for (const payload of TEMPLATED) {
    const { bytes, places } = buildTemplate(schema, payload);
    const frame = [...places].filter(([name]) => name.startsWith("FRAME_"));
    const text = JSON.stringify(frame);
    if (header === undefined) for (const [name, at] of frame) lines.push(`export const ${name} = ${at};`);
    else if (text !== header) throw new Error(`${payload}: the header lies elsewhere than in the other templates`);
    header = text;
    const prefix = constantCase(payload);
    lines.push("", `// ${payload}: ${bytes.length} bytes without its variable part.`);
    for (const [name, at] of places) if (name.startsWith(`${prefix}_`)) lines.push(`export const ${name} = ${at};`);
    const view = new DataView(bytes.buffer);
    for (const field of schema.tables.get(payload) as Field[]) {
      if (!field.vector && field.type !== "string") continue;
      const name = `${prefix}_${field.name.toUpperCase()}`;
      const at = places.get(name) as number;
      lines.push(`/** Where the first element of ${field.name} goes; its length, a u32, is right before. */`);
      lines.push(`export const ${name}_DATA = ${at + view.getUint32(at, true) + 4};`);
    }
    lines.push(...stampOf(payload, prefix, bytes, placesWritten(schema, payload, places)));
  }
  return `${lines.join("\n")}\n`;
}

/** Words that the encoder writes whole in every frame, so that they need not come from the template. */
function placesWritten(schema: Schema, payload: string, places: Places): Set<number> {
  const bytes = new Set<number>();
  for (const [table, prefix] of [
    ["Frame", "FRAME"],
    [payload, constantCase(payload)],
  ] as const) {
    for (const field of schema.tables.get(table) as Field[]) {
      const width = SCALAR_BYTES[scalarOf(schema, field) ?? ""] ?? 0;
      // Narrow fields share their words with what only the template knows, but for the two that lie together.
      const isWhole = width === 8 || field.name === "stream" || (table === "Frame" && field.name === "instrument");
      if (!isWhole) continue;
      const at = places.get(`${prefix}_${field.name.toUpperCase()}`) as number;
      for (let byte = at; byte < at + width; byte += 1) bytes.add(byte);
    }
  }
  return bytes;
}

/** The template's words and a function that writes those of them that are the same in every frame. */
function stampOf(payload: string, prefix: string, bytes: Uint8Array, written: Set<number>): string[] {
  const lines = [`export const ${prefix}_BYTES = ${bytes.length};`, `const ${prefix}_WORDS = templateWords([`];
  for (let at = 0; at < bytes.length; at += 24) lines.push(`  ${[...bytes.subarray(at, at + 24)].join(", ")},`);
  lines.push(
    "]);",
    "",
    `/** Writes what is the same in every frame; \`word\` is the frame's place, in words of 8 bytes. */`,
  );
  lines.push(
    `export function stamp${payload}(f64: Float64Array, word: number): void {`,
    `  const words = ${prefix}_WORDS;`,
  );
  for (let word = 0; word < bytes.length / 8; word += 1) {
    const isWritten = [0, 1, 2, 3, 4, 5, 6, 7].every((byte) => written.has(8 * word + byte));
    if (!isWritten) lines.push(`  f64[word + ${word}] = words[${word}];`);
  }
  lines.push("}");
  return lines;
}
