import { Ring } from "../src/wire/ring.ts";
import type { Contender, Contest } from "./peers-contest.ts";

/** Records that each of them keeps. */
const RECORDS = 1 << 15;
const FRAME_BYTES = 176;
/** So large that the ring's index, 32 bytes a record, is full just when its bytes are. */
const RING_BYTES = RECORDS * (FRAME_BYTES + 32);
const COUNT = 2048;
const STREAM = 33;
/** As many as go in before the answers are looked at: the oldest have given way then. */
const LOOKED_AT = RECORDS + 500;

interface Entry {
  length: number;
  stream: number;
  sequence: number;
  position: number;
}

/** Counts sequences and positions as the engine does, in typed arrays. */
class RingWriter {
  readonly ring = new Ring(RING_BYTES);
  readonly #sequences = new Float64Array(1);
  readonly #positions = new Float64Array(1);

  write(): void {
    const { ring } = this;
    ring.claim(FRAME_BYTES);
    this.#sequences[0] += 1;
    this.#positions[0] += 3;
    ring.commit(FRAME_BYTES, STREAM, this.#sequences, 0, this.#positions, 0);
  }

  entries(): Entry[] {
    const { ring } = this;
    return Array.from({ length: ring.head - ring.tail }, (_, index) => {
      const record = ring.tail + index;
      return {
        length: ring.lengthOf(record),
        stream: ring.streamOf(record),
        sequence: ring.sequenceOf(record),
        position: ring.positionOf(record),
      };
    });
  }
}

/** An array, pushed to; what is too much goes at the front. */
class ShiftedQueue {
  readonly queue: Entry[] = [];
  #sequence = 0;
  #position = 0;

  write(): void {
    this.#sequence += 1;
    this.#position += 3;
    if (this.queue.length === RECORDS) this.queue.shift();
    this.queue.push({ length: FRAME_BYTES, stream: STREAM, sequence: this.#sequence, position: this.#position });
  }

  entries(): Entry[] {
    return this.queue;
  }
}

/** An array gone round by index: the best that an array of objects can do. */
class CircularQueue {
  readonly #queue = new Array<Entry | undefined>(RECORDS).fill(undefined);
  #head = 0;
  #sequence = 0;
  #position = 0;

  write(): void {
    this.#sequence += 1;
    this.#position += 3;
    this.#queue[this.#head & (RECORDS - 1)] = {
      length: FRAME_BYTES,
      stream: STREAM,
      sequence: this.#sequence,
      position: this.#position,
    };
    this.#head += 1;
  }

  entries(): Entry[] {
    const oldest = Math.max(0, this.#head - RECORDS);
    const count = this.#head - oldest;
    return Array.from({ length: count }, (_, index) => this.#queue[(oldest + index) & (RECORDS - 1)] as Entry);
  }
}

/** What a queue holds that more has gone into than it keeps. */
function answersOf(create: () => { write(): void; entries(): Entry[] }): Contender["answers"] {
  return () => {
    const fresh = create();
    for (let index = 0; index < LOOKED_AT; index += 1) fresh.write();
    return fresh.entries().flatMap(({ length, stream, sequence, position }) => [length, stream, sequence, position]);
  };
}

/** Room for a frame claimed and committed, against an object pushed into a bounded queue; neither writes the frame. */
export function ringContest(): Contest {
  const ring = new RingWriter();
  const shifted = new ShiftedQueue();
  const circular = new CircularQueue();
  // Full from the start, so that each record put in pushes one out.
  for (const queue of [ring, shifted, circular]) for (let index = 0; index < RECORDS; index += 1) queue.write();
  return {
    part: "a record into a bounded queue",
    count: COUNT,
    ours: {
      name: "ring, claim and commit",
      run(from, to) {
        for (let index = from; index < to; index += 1) ring.write();
      },
      answers: answersOf(() => new RingWriter()),
    },
    peers: [
      {
        name: "array, push and shift",
        run(from, to) {
          for (let index = from; index < to; index += 1) shifted.write();
        },
        answers: answersOf(() => new ShiftedQueue()),
      },
      {
        name: "array of objects, gone round",
        run(from, to) {
          for (let index = from; index < to; index += 1) circular.write();
        },
        answers: answersOf(() => new CircularQueue()),
      },
    ],
  };
}
