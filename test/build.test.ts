/** The bundles: every one that a script builds can be built, and what is not constant is refused. */
import { match, notStrictEqual, ok, strictEqual } from "node:assert";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
mkdirSync(join(root, "build"), { recursive: true });
const folder = mkdtempSync(join(root, "build", "test-"));
after(() => rmSync(folder, { recursive: true }));

const bundle = (entry: string, outfile: string) =>
  spawnSync(process.execPath, ["esbuild.config.mjs", entry, outfile], { cwd: root, encoding: "utf8" });

const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };
const config = readFileSync(join(root, "esbuild.config.mjs"), "utf8");
const entries = [
  ...Object.values(scripts).flatMap((script) => /esbuild\.config\.mjs (\S+)/.exec(script)?.[1] ?? []),
  ...Array.from(config.matchAll(/\["(src\/\S+)", "build\/\S+\.mjs"\]/g), ([, entry]) => entry as string),
];

test("each entry of a script is bundled, with its constants", () => {
  ok(entries.length >= 7);
  for (const [index, entry] of entries.entries()) {
    const outfile = join(folder, `${index}.mjs`);
    const { status, stderr } = bundle(entry, outfile);
    strictEqual(status, 0, `${entry}: ${stderr}`);
    const code = readFileSync(outfile, "utf8");
    match(code, /^const \S+ = /m);
    ok(!/^var (?!.*\|\| \{\}\);$)/m.test(code), entry);
    ok(readFileSync(`${outfile}.map`, "utf8").length > 1000);
  }
});

test("a variable that is assigned again is refused, by name", () => {
  const entry = join(folder, "variable.ts");
  writeFileSync(entry, "let times = 0;\nexport const count = () => {\n  times += 1;\n  return times;\n};\n");
  const { status, stderr } = bundle(entry, join(folder, "variable.mjs"));
  notStrictEqual(status, 0);
  match(stderr, /"times"/);
});
