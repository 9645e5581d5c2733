import { FrameWriter } from "./frame-writer.ts";

/**
 * The writer of an engine that follows frames which were written before: whatever the engine itself would say goes
 * nowhere, and the stored frames are loaded in its place. Derived frames are made as ever.
 */
export class SilentFrameWriter extends FrameWriter {
  override commit(): void {}

  protected override commitBuilt(): void {}
}
