import type { ErrorCode } from "../market/errors.ts";

/**
 * Stable codes of what can go wrong in the client; beside them those that the server answers with (`ErrorCode`).
 *
 * - `bad_url`, `bad_option`: the call cannot be carried out as it stands
 * - `wrong_mode`: the server is not of the mode that `require` names
 * - `unavailable`: no server could be reached within the attempts that were allowed, or it did not answer
 * - `refused`: the server closed the connection for a reason that coming back does not change
 * - `protocol`: something came that is no message of the protocol
 * - `closed`: the client was closed
 * - `handler`: a handler of the program threw; `cause` is what it threw
 * - `queue_full`: an iteration with `overflow: "error"` fell behind
 * - `not_here`: it needs Node, or a package that is not installed
 */
export const CLIENT_ERROR_CODES = [
  "bad_url",
  "bad_option",
  "wrong_mode",
  "unavailable",
  "refused",
  "protocol",
  "closed",
  "handler",
  "queue_full",
  "not_here",
] as const;

export type ClientErrorCode = (typeof CLIENT_ERROR_CODES)[number];

/** Every error of the client. */
export class TickwireError extends Error {
  override readonly name = "TickwireError";
  readonly code: ClientErrorCode | ErrorCode;

  constructor(code: ClientErrorCode | ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
