import { FLAG_SNAPSHOT } from "../wire/frame.ts";
import { FrameView } from "../wire/generated/views.ts";
import type { Memory } from "../wire/memory.ts";

const view = new FrameView();

/** True when the frame at `at` stands for the whole state of its stream. */
export function isSnapshot(memory: Memory, at: number): boolean {
  view.attach(memory, at + memory.i32[at >> 2]);
  return (view.flags & FLAG_SNAPSHOT) !== 0;
}
