import { type DestinationStream, type Logger, pino } from "pino";

/** A structured logger on standard error, so that standard output stays free for what a command prints. */
export function createLogger(level: string, destination: DestinationStream = pino.destination(2)): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}
