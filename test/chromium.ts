/** A headless Chromium that a test talks to through its debugging protocol. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";
import { eventually } from "./gateway.ts";

const PROGRAM = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0,
);
/** The reason why tests in a browser are skipped, or false. */
export const NO_CHROMIUM: string | false = PROGRAM === undefined ? "no Chromium on the PATH" : false;

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-port=0",
  "--window-size=900,500",
];

/** One page of a browser. */
export class Page {
  readonly #browser: ChildProcess;
  readonly #socket: WebSocket;
  readonly #folder: string;
  readonly #answers = new Map<number, (answer: { result?: Record<string, unknown> }) => void>();
  /** What the page logged, and the errors in it. */
  readonly said: string[] = [];
  #lastId = 0;

  private constructor(browser: ChildProcess, socket: WebSocket, folder: string) {
    this.#browser = browser;
    this.#socket = socket;
    this.#folder = folder;
    socket.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString()) as { id?: number; method?: string; params?: object };
      if (message.id !== undefined) this.#answers.get(message.id)?.(message as never);
      else if (/exceptionThrown|consoleAPICalled|entryAdded/.test(message.method ?? ""))
        this.said.push(JSON.stringify(message.params));
    });
  }

  static async open(url: string): Promise<Page> {
    const folder = mkdtempSync(join(tmpdir(), "tickwire-chromium-"));
    const browser = spawn(PROGRAM as string, [...FLAGS, `--user-data-dir=${folder}`, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
      // A group of its own, so that all its processes can be ended.
      detached: true,
    });
    let said = "";
    browser.stderr?.on("data", (data: Buffer) => {
      said += data.toString();
    });
    const listening = /ws:\/\/(127\.0\.0\.1:\d+)\//;
    await eventually(() => listening.test(said), "the browser to listen");
    const host = listening.exec(said)?.[1] as string;
    const pages = (await (await fetch(`http://${host}/json`)).json()) as {
      type: string;
      webSocketDebuggerUrl: string;
    }[];
    const found = pages.find(({ type }) => type === "page") as { webSocketDebuggerUrl: string };
    const socket = new WebSocket(found.webSocketDebuggerUrl);
    await new Promise((resolve) => socket.once("open", resolve));
    const page = new Page(browser, socket, folder);
    await page.#ask("Runtime.enable", {});
    await page.#ask("Log.enable", {});
    await page.#ask("Page.navigate", { url });
    return page;
  }

  #ask(method: string, params: object): Promise<Record<string, unknown>> {
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise<Record<string, unknown>>((resolve) => {
      this.#answers.set(id, ({ result = {} }) => resolve(result));
    });
    this.#socket.send(JSON.stringify({ id, method, params }));
    return answer;
  }

  /** The value of an expression in the page, awaited. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.#ask("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    return (answer.result as { value?: unknown }).value;
  }

  /** A picture of the page, PNG. */
  async picture(): Promise<Buffer> {
    const { data } = await this.#ask("Page.captureScreenshot", {});
    return Buffer.from(data as string, "base64");
  }

  async close(): Promise<void> {
    this.#socket.terminate();
    const exited = new Promise((resolve) => this.#browser.once("exit", resolve));
    process.kill(-(this.#browser.pid as number), "SIGKILL");
    await exited;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20 });
  }
}
