import { deepStrictEqual, ok } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * Who may import whom, folder by folder. Stages do not know the stage before or after them: main.ts alone joins them,
 * so that each can run by itself in a test or a bench. The server may read indicators: REST names their values. So may the
 * client, for what colour and direction a value has; it runs in a browser, and nothing of the server comes with it.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  std: [],
  market: ["std"],
  wire: ["std", "market"],
  indicators: ["std", "market"],
  feeds: ["std", "market"],
  engine: ["std", "market", "wire", "indicators"],
  journal: ["std", "market", "wire"],
  server: ["std", "market", "wire", "engine", "indicators", "journal"],
  client: ["std", "market", "wire", "indicators"],
  bot: ["std", "market", "wire", "indicators", "client"],
};

/** Only these read the configuration, and nobody imports them. */
const ENTRIES = ["src/main.ts", "src/replay.ts", "src/cli.ts", "src/tickwire.mjs"];

/** One folder only may import a package with a native part or a large surface. */
const PACKAGE_ROOMS: Readonly<Record<string, readonly string[]>> = {
  "uWebSockets.js": ["server"],
  "prom-client": ["server", "bot"],
  "hdr-histogram-js": ["server"],
  zod: ["server", "bot"],
  ws: ["feeds", "client", "dump.ts"],
  undici: ["feeds"],
  flatbuffers: ["wire", "engine"],
  ioredis: ["bot"],
};

interface Source {
  path: string;
  folder: string;
  text: string;
  imports: string[];
  packages: string[];
}

function read(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => {
      const absolute = join(entry.parentPath, entry.name);
      const path = relative(root, absolute);
      const text = readFileSync(absolute, "utf8");
      const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*["']([^"']+)["']/g)].map(
        (match) => match[1] as string,
      );
      const imports = specifiers
        .filter((specifier) => specifier.startsWith("."))
        .map((specifier) => relative(root, join(dirname(absolute), specifier)).replace(/\.js$/, ".ts"));
      const packages = specifiers.filter((specifier) => !specifier.startsWith(".") && !specifier.startsWith("node:"));
      return { path, folder: path.split("/")[1] as string, text, imports, packages };
    });
}

const sources = read("src");
const others = ["test", "native-bench", "loadtest", "schema"].flatMap(read);

test("every folder of src has a row in the table", () => {
  const folders = new Set(
    sources
      .map(({ path }) => path.split("/"))
      .filter((parts) => parts.length > 2)
      .map((parts) => parts[1]),
  );
  deepStrictEqual(
    [...folders].filter((folder) => !Object.hasOwn(MAY_IMPORT, folder as string)),
    [],
  );
});

test("folders import only what the table allows", () => {
  const wrong: string[] = [];
  for (const { path, folder, imports } of sources) {
    const allowed = MAY_IMPORT[folder];
    if (allowed === undefined) continue;
    for (const target of imports) {
      const room = target.split("/")[1] as string;
      if (room !== folder && !allowed.includes(room)) wrong.push(`${path} imports ${target}`);
    }
  }
  deepStrictEqual(wrong, []);
});

test("nobody imports the entries, and only they read the configuration and the environment", () => {
  const wrong: string[] = [];
  for (const { path, imports, text } of sources) {
    for (const target of imports) {
      if (ENTRIES.includes(target) && !ENTRIES.includes(path)) wrong.push(`${path} imports ${target}`);
      if (target === "src/config.ts" && !ENTRIES.includes(path)) wrong.push(`${path} imports ${target}`);
    }
    if (text.includes("process.env") && path !== "src/cli.ts") wrong.push(`${path} reads process.env`);
  }
  deepStrictEqual(wrong, []);
});

test("packages stay in their rooms", () => {
  const wrong: string[] = [];
  for (const { path, folder, packages } of sources) {
    for (const name of packages) {
      const rooms = PACKAGE_ROOMS[name];
      if (rooms !== undefined && !rooms.includes(folder)) wrong.push(`${path} imports ${name}`);
    }
  }
  deepStrictEqual(wrong, []);
});

test("the engine and what lies below it read no clock, no randomness, no socket", () => {
  const wrong: string[] = [];
  for (const { path, folder, text } of sources) {
    if (!["market", "wire", "indicators", "engine", "feeds"].includes(folder) || path.includes("/generated/")) continue;
    for (const word of ["Date.now", "new Date()", "Math.random", "performance.now"]) {
      if (text.includes(word)) wrong.push(`${path}: ${word}`);
    }
    if (/["']node:(net|http|https|tls|dgram)["']/.test(text)) wrong.push(`${path}: opens sockets`);
  }
  deepStrictEqual(wrong, []);
});

test("there are no import cycles", () => {
  // Imports of types alone do not run, so they make no cycle.
  const edges = new Map(sources.map(({ path, text }) => [path, runtimeImports(path, text)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: string[]): void => {
    if (trail.includes(path)) {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      return;
    }
    if (done.has(path)) return;
    for (const target of edges.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  deepStrictEqual(cycles, []);
});

function runtimeImports(path: string, text: string): string[] {
  return [...text.matchAll(/^import\s+(?!type\b)[^;]*?from\s*["'](\.[^"']+)["']/gm)].map((match) =>
    relative(root, join(root, dirname(path), match[1] as string)).replace(/\.js$/, ".ts"),
  );
}

test("every file is imported by somebody", () => {
  const imported = new Set([...sources, ...others].flatMap(({ imports }) => imports));
  const manifest = readFileSync(join(root, "package.json"), "utf8");
  const orphans = [...sources, ...others]
    .map(({ path }) => path)
    .filter((path) => !imported.has(path) && !path.endsWith(".test.ts") && !path.includes("/generated/"))
    .filter((path) => !manifest.includes(path) && path !== "src/cli.ts");
  deepStrictEqual(orphans, []);
});

test("nothing is left over", () => {
  const wrong: string[] = [];
  const words = ["TO" + "DO", "FIX" + "ME", "@ts-" + "ignore", "console" + ".debug", ".on" + "ly("];
  for (const { path, text } of [...sources, ...others]) {
    if (path.includes("/generated/")) continue;
    for (const word of words) if (text.includes(word)) wrong.push(`${path}: ${word}`);
  }
  deepStrictEqual(wrong, []);
});

test("file names are kebab-case, and none is a drawer for everything", () => {
  const wrong = [...sources, ...others]
    .map(({ path }) => path)
    .filter((path) => !path.includes("/generated/"))
    .filter((path) => {
      const name = (path.split("/").at(-1) as string).replace(/(\.test)?\.(ts|mjs)$/, "");
      return !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || /\b(utils?|helpers?|common|manager|misc)\b/.test(name);
    });
  deepStrictEqual(wrong, []);
});

test("dependencies are pinned exactly", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<
    string,
    Record<string, string>
  >;
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    ok(/^(npm:[\w-]+@)?\d+\.\d+\.\d+$/.test(version), `${name} is pinned, not ${version}`);
  }
});
