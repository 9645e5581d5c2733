/**
 * `npm run loadtest -- --scenario NAME`: open-loop load on the gateway, beside simpler servers. The source, each server
 * and each receiver is a process of its own, so that the report can say which of them was the limit.
 */
import { cpus } from "node:os";
import { beChild, CHILD_FLAG } from "./child.ts";
import { type Command, helpText, readCommand, UsageError } from "./flags.ts";
import { formatOutcome, LossError, limitOf, type Outcome } from "./report.ts";
import { ROLES } from "./roles.ts";
import type { Context } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/index.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_LOSS = 3;

type Stoppable = { stop(): Promise<void> };

/** Runs a scenario and stops all that it started, whether it went well or not. */
async function runScenario({ scenario, flags }: Command): Promise<Outcome> {
  const kept: Stoppable[] = [];
  const context: Context = {
    flags,
    progress: (text) => process.stderr.write(`${text}\n`),
    keep: (part) => {
      kept.push(part);
      return part;
    },
  };
  try {
    return await (SCENARIOS[scenario] as (typeof SCENARIOS)[string]).run(context);
  } finally {
    for (const part of kept.reverse()) await part.stop();
  }
}

async function main(args: readonly string[]): Promise<number> {
  const command = readCommand(args, SCENARIOS);
  if (command.help) {
    console.log(helpText(SCENARIOS));
    return 0;
  }
  const outcome = await runScenario(command);
  const machine = `${cpus()[0]?.model.trim()} x ${cpus().length}, Node ${process.versions.node}`;
  console.log(`${command.scenario}, ${machine}, ${new Date().toISOString().slice(0, 10)}\n`);
  console.log(formatOutcome(outcome));
  if (command.json) {
    const { figures, losses, loads } = outcome;
    console.log(JSON.stringify({ scenario: command.scenario, machine, figures, losses, limit: limitOf(loads), loads }));
  }
  if (outcome.losses.length === 0) return 0;
  process.stderr.write(`loadtest: lost: ${outcome.losses.join("; ")}\n`);
  return EXIT_LOSS;
}

const [first, role, options] = process.argv.slice(2);
if (first === CHILD_FLAG) {
  const start = ROLES[role as string];
  if (start === undefined) throw new Error(`no role ${role}`);
  await beChild(() => start(JSON.parse(options as string)));
} else {
  // Leaving ends what was started, too.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(EXIT_FAILED));
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    const lost = error instanceof LossError;
    process.stderr.write(`loadtest: ${lost ? "lost: " : ""}${(error as Error).message}\n`);
    process.exitCode = lost ? EXIT_LOSS : error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
  }
}
