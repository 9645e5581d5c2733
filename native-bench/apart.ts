import { execFileSync } from "node:child_process";

/** The argument that has a program measure one thing only: its name and its arguments follow. */
export const APART_FLAG = "--apart";

/**
 * Has this very program measure one thing in a process of its own, whose memory and whose compiled code nothing else
 * has shaped. Returns what it measured, which travels as JSON.
 */
export function apart<T>(name: string, ...args: (string | number)[]): T {
  const output = execFileSync(process.execPath, [process.argv[1] as string, APART_FLAG, name, ...args.map(String)]);
  return JSON.parse(output.toString()) as T;
}
