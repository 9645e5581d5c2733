import { type ChildProcess, fork } from "node:child_process";

/** The argument that makes this program one part of a load test: the role's name and its options as JSON follow. */
export const CHILD_FLAG = "--child";

/** What a parent may ask of a child, by name; the answers travel as JSON. */
// biome-ignore lint/suspicious/noExplicitAny: each call's value is the business of the two ends that share it.
export type Calls = Record<string, (value: any) => unknown>;

/** A part of a load test: what it tells its parent once it is up, and what it can be asked. */
export interface Role {
  info: object;
  calls: Calls;
}

interface Question {
  id: number;
  command: string;
  value: unknown;
}

interface Answer {
  /** 0 for the first word, which says what the child is; else the question's. */
  id: number;
  result?: unknown;
  error?: string;
}

/** How long a child may take for what it is asked, beyond what the asker knows it to take. */
const DEADLINE_MS = 60_000;

/** A part of a load test in a process of its own, so that its processor time is its own. Asked over the IPC channel. */
export class Child<Info extends object = object> {
  readonly name: string;
  readonly pid: number;
  readonly info: Info;
  readonly #process: ChildProcess;
  readonly #waiting: Map<number, (answer: Answer) => void>;
  #lastId = 0;

  private constructor(name: string, child: ChildProcess, waiting: Map<number, (answer: Answer) => void>, info: Info) {
    this.name = name;
    this.#process = child;
    this.pid = child.pid as number;
    this.#waiting = waiting;
    this.info = info;
  }

  /** Starts this very program in a role; throws what the child says, or that it died. */
  static async start<Info extends object>(role: string, options: object): Promise<Child<Info>> {
    const child = fork(process.argv[1] as string, [CHILD_FLAG, role, JSON.stringify(options)]);
    const waiting = new Map<number, (answer: Answer) => void>();
    child.on("message", (answer: Answer) => {
      const resolve = waiting.get(answer.id);
      waiting.delete(answer.id);
      resolve?.(answer);
    });
    child.once("exit", (code, signal) => {
      for (const [id, resolve] of waiting) resolve({ id, error: `it ended with ${signal ?? code}` });
      waiting.clear();
    });
    const info = await answerOf(role, waiting, 0);
    return new Child(role, child, waiting, info as Info);
  }

  /** How it ended, when it did so by itself. */
  get ended(): string | undefined {
    const { exitCode, signalCode } = this.#process;
    return exitCode === null && signalCode === null ? undefined : `${this.name} ended with ${signalCode ?? exitCode}`;
  }

  /** `takesMs` is how long the child is known to take. */
  async call<Result>(command: string, value: unknown = null, takesMs = 0): Promise<Result> {
    this.#lastId += 1;
    const answer = answerOf(this.name, this.#waiting, this.#lastId, takesMs);
    if (!this.#process.connected) throw new Error(`${this.name}: it has ended`);
    this.#process.send({ id: this.#lastId, command, value } satisfies Question);
    return (await answer) as Result;
  }

  /** A child ends when its parent lets go of it. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    if (this.#process.connected) this.#process.disconnect();
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 2000);
    await ended;
    clearTimeout(timer);
  }
}

async function answerOf(
  name: string,
  waiting: Map<number, (answer: Answer) => void>,
  id: number,
  takesMs = 0,
): Promise<unknown> {
  const deadlineMs = DEADLINE_MS + takesMs;
  let timer: NodeJS.Timeout | undefined;
  const { result, error } = await new Promise<Answer>((resolve) => {
    waiting.set(id, resolve);
    timer = setTimeout(() => resolve({ id, error: `no answer within ${deadlineMs / 1000} s` }), deadlineMs);
  });
  clearTimeout(timer);
  if (error !== undefined) throw new Error(`${name}: ${error}`);
  return result;
}

/** The child's side: plays a role until the parent is gone. */
export async function beChild(start: () => Promise<Role>): Promise<void> {
  const send = (answer: Answer) => {
    if (process.connected) process.send?.(answer);
  };
  // Without a parent nobody would ever end this process.
  process.once("disconnect", () => process.exit(0));
  let role: Role;
  try {
    role = await start();
  } catch (error) {
    send({ id: 0, error: (error as Error).message });
    return;
  }
  process.on("message", ({ id, command, value }: Question) => {
    void (async () => {
      try {
        const call = role.calls[command];
        if (call === undefined) throw new Error(`it knows no ${command}`);
        send({ id, result: (await call(value)) ?? null });
      } catch (error) {
        send({ id, error: (error as Error).message });
      }
    })();
  });
  send({ id: 0, result: role.info });
}
