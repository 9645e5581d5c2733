/**
 * A Redis of the test's own: on a free port of the loopback, in a directory of its own, gone afterwards. Where there is
 * no `redis-server` it is installed when that is allowed; where it is not, whoever needs one fails with what to install.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Redis } from "ioredis";

const TO_INSTALL = "these tests need redis-server: apt-get install redis-server (7.0 or later), or put it on the PATH";
/** Two test processes must not install at once. */
const LOCK = join(tmpdir(), "tickwire-redis-install.lock");
const LOOK_MS = 200;
/** Debian's own rule: what stands here decides which daemons an installation may start. */
const POLICY = "/usr/sbin/policy-rc.d";
/** Somebody else may be installing something. */
const WAIT = ["-o", "DPkg::Lock::Timeout=120"];

export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** A client that is closed with the server. */
  client(): Redis;
  /** Kills the server and starts it again, with all that it had acknowledged. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedis(): Promise<RedisServer> {
  const program = await redisProgram();
  const directory = mkdtempSync(join(tmpdir(), "tickwire-redis-"));
  const port = await freePort();
  const where = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", directory];
  const how = ["--save", "", "--appendonly", "yes", "--appendfsync", "no"];
  let running = await startProcess(program, [...where, ...how]);
  const clients: Redis[] = [];
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    client() {
      const client = new Redis(port, "127.0.0.1");
      // That the server was away is told by the commands that fail.
      client.on("error", () => {});
      clients.push(client);
      return client;
    },
    async crash() {
      await running.end("SIGKILL");
      running = await startProcess(program, [...where, ...how]);
    },
    async stop() {
      for (const client of clients) client.disconnect();
      await running.end("SIGTERM");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface RunningProcess {
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Resolves when the server accepts connections; it does not outlive this process. */
async function startProcess(program: string, options: readonly string[]): Promise<RunningProcess> {
  const child = spawn(program, options, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const killed = () => child.kill("SIGKILL");
  process.once("exit", killed);
  let output = "";
  await new Promise<void>((resolve, reject) => {
    const read = (bytes: Buffer) => {
      output += bytes.toString();
      if (output.includes("Ready to accept connections")) resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`redis-server ended: ${output}`)));
  });
  return {
    async end(signal) {
      child.kill(signal);
      await ended;
      process.off("exit", killed);
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function redisProgram(): Promise<string> {
  const found = onPath("redis-server");
  if (found !== undefined) return found;
  if (process.getuid?.() !== 0 || onPath("apt-get") === undefined) throw new Error(TO_INSTALL);
  await locked(() => {
    if (onPath("redis-server") === undefined) install();
  });
  const installed = onPath("redis-server");
  if (installed === undefined) throw new Error(TO_INSTALL);
  return installed;
}

function onPath(program: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/** Installs Debian's package; its daemon is kept from starting. */
function install(): void {
  const ownPolicy = !existsSync(POLICY);
  if (ownPolicy) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  try {
    execFileSync("apt-get", ["update"], { env, stdio: "ignore" });
    execFileSync("apt-get", [...WAIT, "install", "-y", "--no-install-recommends", "redis-server"], {
      env,
      stdio: "ignore",
    });
  } catch (cause) {
    throw new Error(TO_INSTALL, { cause });
  } finally {
    if (ownPolicy) unlinkSync(POLICY);
  }
}

/** Runs when nobody else does; a lock whose process is gone is not a lock. */
async function locked(work: () => void): Promise<void> {
  while (!tryLock()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  try {
    work();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

function tryLock(): boolean {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: "wx" });
    return true;
  } catch {
    if (isStale()) rmSync(LOCK, { force: true });
    return false;
  }
}

function isStale(): boolean {
  try {
    const owner = Number(readFileSync(LOCK, "utf8"));
    // Made, but its number is not written yet.
    if (owner === 0) return Date.now() - statSync(LOCK).mtimeMs > 10_000;
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
