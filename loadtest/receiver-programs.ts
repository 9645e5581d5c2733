import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";

const run = promisify(execFile);

/** How a program is started: an executable and its first arguments. */
export interface Program {
  kind: "native" | "node";
  command: string;
  args: readonly string[];
}

/** A program of native-bench/native, by its target in the Makefile there. */
export type NativeName = "receiver" | "fanout";

/**
 * The checkout's root, from the sources as well as from a bundle in build/: where the sources of the receiver lie.
 */
function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "loadtest", "receiver-node.ts"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error("the receiver is built from the sources, which are not here");
    folder = parent;
  }
  return folder;
}

const root = findRoot();
const nativeFolder = join(root, "native-bench", "native");

const lookedUp: { compiler?: Promise<string | undefined>; program?: Promise<Program> } = {};

/** Why native programs cannot be built here, or undefined. */
export function nativeMissing(): Promise<string | undefined> {
  lookedUp.compiler ??= lookForCompiler();
  return lookedUp.compiler;
}

async function lookForCompiler(): Promise<string | undefined> {
  if (process.platform !== "linux") return "the native programs use epoll, which is Linux's alone";
  if (!existsSync(join(nativeFolder, "receiver", "main.cpp"))) return "there are no sources of the native programs";
  for (const tool of ["make", "g++"]) {
    try {
      await run(tool, ["--version"]);
    } catch {
      return `there is no ${tool}`;
    }
  }
  return undefined;
}

const built = new Map<NativeName, Promise<Program>>();

/** Builds a native program where it is not up to date. Rejects with the compiler's words. */
export function nativeProgram(name: NativeName): Promise<Program> {
  let program = built.get(name);
  if (program === undefined) {
    program = make(name);
    built.set(name, program);
  }
  return program;
}

async function make(name: NativeName): Promise<Program> {
  try {
    await run("make", ["--silent", "--no-print-directory", "-C", nativeFolder, name], { maxBuffer: 16 * 2 ** 20 });
  } catch (error) {
    throw new Error(`make ${name}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`);
  }
  return { kind: "native", command: join(root, "build", "native", name), args: [] };
}

/** Bundles the Node form of the receiver, once a process. */
export function nodeProgram(): Promise<Program> {
  lookedUp.program ??= bundle();
  return lookedUp.program;
}

async function bundle(): Promise<Program> {
  const file = join(root, "build", "receiver-node.mjs");
  const { outputFiles } = await build({
    stdin: {
      contents: 'import { runReceiver } from "./receiver-node.ts"; runReceiver(process.argv.slice(2));',
      resolveDir: join(root, "loadtest"),
    },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    minifySyntax: true,
    logLevel: "silent",
    write: false,
  });
  await mkdir(dirname(file), { recursive: true });
  // Several processes may do so at a time: none must run a half-written file.
  const whole = `${file}.${process.pid}`;
  await writeFile(whole, outputFiles[0]?.contents ?? "");
  await rename(whole, file);
  return { kind: "node", command: process.execPath, args: [file] };
}
