import type { Cursor } from "./cursor.ts";
import type { AckedStream, Hello } from "./message.ts";
import type { Streams } from "./streams.ts";
import type { Wanted } from "./wanted.ts";

/*
 * Where subscriptions stand on a connection: what each goes on from on the next one, and what it begins after on this one.
 */

/** Where a subscription stands: everything up to it was handed on. Undefined while it has not begun. */
export function standingOf(wanted: Wanted, streams: Streams): Cursor | undefined {
  const { attached, isAcked, resume } = wanted;
  if (!isAcked || isUntouched(wanted, streams)) return resume;
  const epoch = streams.epochOf(attached.id);
  const held = streams.held(attached.id, epoch);
  if (epoch === streams.epoch) return { epoch, position: streams.position, held };
  // Another one is in an older epoch or in a newer one: where the connection is says nothing of this one.
  const begun = resume?.epoch === epoch ? resume.position : 0;
  return { epoch, position: Math.max(begun, streams.lastOf(attached.id, epoch)), held };
}

/** True while a past that was asked for by its time has not begun to come. */
function isUntouched({ isReplaying, resume, attached }: Wanted, streams: Streams): boolean {
  if (!isReplaying || resume !== undefined) return false;
  return attached.acked.every(({ stream }) => streams.heldOf(stream) === undefined);
}

/** Keeps where a subscription stood; one that this connection had not got to stands where it did before. */
export function leaveOff(wanted: Wanted, streams: Streams): void {
  wanted.resume = standingOf(wanted, streams);
  if (wanted.resume !== undefined) wanted.hasBegun = true;
  wanted.isAcked = false;
}

/**
 * A subscription was taken, the `isFirst` of this connection: until its past comes, the connection stands where that
 * begins, or where the server does.
 */
export function standBack(streams: Streams, resume: Cursor | undefined, hello: Hello, isFirst: boolean): void {
  const { epoch, position } = resume ?? hello;
  const isBefore = epoch < streams.epoch || (epoch === streams.epoch && position < streams.position);
  if (resume === undefined ? epoch !== streams.epoch : isBefore || isFirst) streams.standAt(epoch, position);
}

/** The last sequence that this client has of a stream, when its subscription is taken; undefined when not known. */
export function heldAt(
  { stream, seq, resumable }: AckedStream,
  { resume, isReplaying }: Wanted,
  streams: Streams,
  epoch: number,
  isResumed: boolean,
): number | undefined {
  if (!isResumed) return isReplaying ? undefined : seq;
  const known = streams.heldIn(stream, epoch) ?? (resume?.epoch === epoch ? resume.held[stream] : undefined);
  // A stream that was born while nobody was connected begins with its first frame, or with a snapshot.
  return known ?? (resumable ? undefined : seq);
}
