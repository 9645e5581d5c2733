/**
 * Reads the part of the FlatBuffers schema language that tickwire.fbs uses: enums, structs, tables, one union. flatc
 * checks the file first, so this parser trusts its grammar and throws on anything it does not know.
 */
export interface Field {
  name: string;
  type: string;
  vector: boolean;
  fallback: string | undefined;
  comment: string;
}

export interface Schema {
  enums: Map<string, { base: string; values: [name: string, value: number][] }>;
  structs: Map<string, Field[]>;
  tables: Map<string, Field[]>;
  union: { name: string; members: string[] };
}

export function parseSchema(text: string): Schema {
  const schema: Schema = { enums: new Map(), structs: new Map(), tables: new Map(), union: { name: "", members: [] } };
  const bare = text.replace(/\/\/.*$/gm, "");
  for (const [, kind, name, base, body] of bare.matchAll(
    /\b(enum|struct|table|union)\s+(\w+)\s*(?::\s*(\w+))?[^{]*\{([^}]*)\}/g,
  ) as IterableIterator<[string, string, string, string | undefined, string]>) {
    if (kind === "enum") schema.enums.set(name, { base: base ?? "int", values: parseEnum(body) });
    else if (kind === "union") schema.union = { name, members: body.split(",").map((member) => member.trim()) };
    else
      (kind === "struct" ? schema.structs : schema.tables).set(name, parseFields(body, commentsOf(text, kind, name)));
  }
  return schema;
}

function parseEnum(body: string): [string, number][] {
  let next = 0;
  return body.split(",").map((entry) => {
    const [name, value] = entry.split("=").map((part) => part.trim());
    if (value !== undefined) next = Number(value);
    return [name as string, next++];
  });
}

function parseFields(body: string, comments: Map<string, string>): Field[] {
  const fields: Field[] = [];
  for (const statement of body.split(";")) {
    if (statement.trim() === "") continue;
    const match = /^\s*(\w+)\s*:\s*(\[?)(\w+)\]?\s*(?:=\s*(\S+))?\s*$/.exec(statement);
    if (!match) throw new Error(`cannot read the field "${statement.trim()}"`);
    const [, name, vector, type, fallback] = match as unknown as [string, string, string, string, string | undefined];
    fields.push({ name, type, vector: vector === "[", fallback, comment: comments.get(name) ?? "" });
  }
  return fields;
}

/** The comment at the end of each field's line becomes the docstring of its accessor. */
function commentsOf(text: string, kind: string, name: string): Map<string, string> {
  const start = text.search(new RegExp(`^${kind} ${name}\\b`, "m"));
  const body = text.slice(start, text.indexOf("}", start));
  return new Map(
    [...body.matchAll(/^\s*(\w+)\s*:[^;]*;\s*\/\/\s*(.*)$/gm)].map(
      ([, field, comment]) => [field, comment] as [string, string],
    ),
  );
}
