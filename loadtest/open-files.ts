import { readFileSync } from "node:fs";

/** What a process has open beside its connections. */
const SPARE = 100;

/** Throws when a process here may not have so many connections open: better than to fail at the last of them. */
export function requireOpenFiles(clients: number): void {
  const limits = readFileSync("/proc/self/limits", "latin1");
  const most = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  if (clients + SPARE <= most) return;
  throw new Error(`${clients} clients need ${clients + SPARE} open files, and ${most} are allowed here (ulimit -Hn)`);
}
