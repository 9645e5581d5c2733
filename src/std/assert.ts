/** A programmer's error: the process must not go on with a state that cannot be. Operating errors never come here. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws when a condition that the code relies on does not hold. Cheap enough to stay on in production. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The branch that cannot be reached: makes the compiler prove it, and says so loudly if it is. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
