import type { JournalFigures } from "../journal/writer.ts";
import type { MetricSet } from "./metric-set.ts";

/** How the journal is doing; no series where there is none. */
export function defineJournal(set: MetricSet, figures: () => JournalFigures | undefined): void {
  const gauge = (name: string, help: string, read: (journal: JournalFigures) => number) =>
    set.gauge(name, help, [], (add) => {
      const journal = figures();
      if (journal !== undefined) add(read(journal));
    });
  set.gauge("tickwire_journal_state", "1 for the state that the journal is in", ["state"], (add) => {
    const journal = figures();
    if (journal !== undefined) add(1, journal.state);
  });
  gauge("tickwire_journal_lag_frames", "Frames that are committed and not written yet", ({ lag }) => lag);
  gauge(
    "tickwire_journal_written_position",
    "The last position that a crash of the process leaves",
    (each) => each.written,
  );
  gauge(
    "tickwire_journal_synced_position",
    "The last position that a crash of the machine leaves",
    (each) => each.synced,
  );
  gauge("tickwire_journal_bytes", "Bytes of all its files", ({ bytes }) => bytes);
  gauge("tickwire_journal_files", "Its files", ({ files }) => files);
  const counter = (name: string, help: string, read: (journal: JournalFigures) => number) =>
    set.counter(name, help, [], (add) => {
      const journal = figures();
      if (journal !== undefined) add(read(journal));
    });
  counter(
    "tickwire_journal_lost_frames_total",
    "Frames that the ring overwrote before they were copied",
    (each) => each.lost,
  );
  counter("tickwire_journal_gaps_total", "Gap records written: each names what is missing", ({ gaps }) => gaps);
  counter("tickwire_journal_errors_total", "Writes that the disk refused", ({ errors }) => errors);
}
