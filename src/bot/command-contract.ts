import { z } from "zod";
import type { ControlMessage } from "./control.ts";
import { BotError } from "./errors.ts";
import { camelNames, isRecord } from "./wire-names.ts";

const name = z.string().min(1).max(256);
const time = z.number().int().min(0);
const revision = z.union([name, z.number().int().min(0)]);
const overrides = z.record(z.string(), z.unknown()).optional();
const envelope = { commandId: name, issuedAt: time, correlationId: name.optional() };

const commandShape = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("start"),
    ...envelope,
    image: name,
    configRevision: revision,
    effectiveAt: time.optional(),
    overrides,
  }),
  z.object({
    type: z.literal("stop"),
    ...envelope,
    mode: z.enum(["graceful", "force"]),
    timeoutMs: time.optional(),
    reason: z.string().optional(),
  }),
  z.object({ type: z.literal("rollout"), ...envelope, image: name, configRevision: revision, overrides }),
]);

/** What whoever runs bots tells one of them. Times are epoch milliseconds. */
export type BotCommand = Readonly<z.infer<typeof commandShape>>;

/**
 * Reads a command, with the names of the wire or of TypeScript; `bot.start`, `bot.stop` and `bot.rollout` are taken for
 * the words without `bot.`, in any case. Throws `bad_message`.
 */
export function parseBotCommand(value: unknown): BotCommand {
  const fields = isRecord(value) ? camelNames(value) : {};
  const type = typeof fields.type === "string" ? fields.type.toLowerCase().replace(/^bot\./, "") : fields.type;
  const parsed = commandShape.safeParse({ ...fields, type });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new BotError("bad_message", `${issue?.path.join(".") || "command"}: ${issue?.message ?? "cannot be read"}`);
}

/** Reads the JSON text of a control message; throws `bad_message`. */
export function parseControlMessage(text: string): ControlMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new BotError("bad_message", "a control message is JSON", { cause });
  }
  if (!isRecord(value) || typeof value.type !== "string") {
    throw new BotError("bad_message", "a control message is an object with a type");
  }
  return value as ControlMessage;
}

/** How a control message ends a bot. */
export interface StopOrder {
  reason: string;
  /** What is still running is given so long, milliseconds; undefined: as the runtime was told. */
  timeoutMs: number | undefined;
}

/** What a control message says about stopping; undefined when it says nothing. */
export function stopOrderOf(message: ControlMessage): StopOrder | undefined {
  const type = message.type.toLowerCase();
  if (type !== "stop" && type !== "bot.stop") return undefined;
  const { reason, mode, timeoutMs } = camelNames(message);
  const given = typeof timeoutMs === "number" && timeoutMs >= 0 ? timeoutMs : undefined;
  return {
    reason: typeof reason === "string" && reason !== "" ? reason : "stop-command",
    timeoutMs: mode === "force" ? 0 : given,
  };
}
