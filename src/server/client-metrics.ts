import { channelOfSlot, SLOTS_PER_INSTRUMENT } from "../market/channel.ts";
import type { Client } from "./client.ts";
import type { Latency } from "./latency.ts";
import { STAGES } from "./latency.ts";
import type { MetricSet } from "./metric-set.ts";
import { ENCODINGS } from "./publisher.ts";
import type { Services } from "./services.ts";

/** What goes out, to whom, and how long it takes. */
export function defineClientMetrics(
  set: MetricSet,
  services: Services,
  latency: Latency,
  clients: () => Iterable<Client>,
): void {
  definePublished(set, services);
  defineConnections(set, services, clients);
  defineQueues(set, services, clients);
  defineLatency(set, services, latency);
}

function definePublished(set: MetricSet, { publisher }: Services): void {
  const byChannel = (counts: Float64Array, add: (value: number, channel: string, encoding: string) => void) => {
    for (const [encoding, name] of ENCODINGS.entries()) {
      const sums = sumsByChannel(
        counts.subarray(encoding * SLOTS_PER_INSTRUMENT, (encoding + 1) * SLOTS_PER_INSTRUMENT),
      );
      for (const [channel, sum] of sums) if (sum > 0) add(sum, channel, name);
    }
  };
  set.counter(
    "tickwire_frames_sent_total",
    "Frames handed to the sockets' topics or to one client; counted once however many clients get them",
    ["channel", "encoding"],
    (add) => byChannel(publisher.frames, add),
  );
  set.counter("tickwire_bytes_sent_total", "Bytes of those frames", ["channel", "encoding"], (add) =>
    byChannel(publisher.bytes, add),
  );
  set.counter("tickwire_ticks_total", "Frames that came out of the ring, by channel", ["channel"], (add) => {
    for (const [channel, sum] of sumsByChannel(publisher.ticks)) add(sum, channel);
  });
  set.counter(
    "tickwire_publish_lost_total",
    "Ring frames overwritten before they were published; must stay 0",
    [],
    (add) => add(publisher.lost),
  );
}

/** Counts by slot, added up by channel: a timeframe is no channel. Slot 0 is states and the directory. */
function sumsByChannel(counts: Float64Array): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [slot, count] of counts.entries()) {
    const channel = channelOfSlot(slot);
    if (channel !== undefined) sums.set(channel, (sums.get(channel) ?? 0) + count);
  }
  return sums;
}

function defineConnections(set: MetricSet, services: Services, clients: () => Iterable<Client>): void {
  const { counters } = services;
  set.gauge("tickwire_connections", "Client connections open now", [], (add) => add([...clients()].length));
  set.gauge("tickwire_subscriptions", "Subscriptions of all clients", [], (add) => add(subscriptionsOf(clients())));
  set.counter("tickwire_connections_opened_total", "Client connections opened", [], (add) =>
    add(counters.connectionsOpened),
  );
  set.counter("tickwire_connections_closed_total", "Client connections closed", [], (add) =>
    add(counters.connectionsClosed),
  );
  set.counter("tickwire_connections_refused_total", "Upgrades refused, by code", ["code"], (add) => {
    for (const [code, count] of counters.refused) add(count, code);
  });
  set.counter("tickwire_control_messages_total", "Control messages received", [], (add) =>
    add(counters.controlMessages),
  );
  set.counter("tickwire_errors_total", "Errors answered on sockets, by code", ["code"], (add) => {
    for (const [code, count] of counters.errors) add(count, code);
  });
  set.counter("tickwire_http_responses_total", "HTTP answers, by status", ["status"], (add) => {
    for (const [status, count] of counters.responses) add(count, String(status));
  });
}

function defineQueues(set: MetricSet, { counters }: Services, clients: () => Iterable<Client>): void {
  set.gauge("tickwire_queue_bytes", "Bytes that wait for all clients", [], (add) => add(queuedOf(clients())));
  set.gauge("tickwire_queue_longest_bytes", "Bytes that wait for the client with the longest queue", [], (add) =>
    add(longestOf(clients())),
  );
  set.counter(
    "tickwire_clients_dropped_total",
    "Clients closed with 4008: overtaken again and again, with a queue that cannot wait, or all queues too long together",
    ["reason"],
    (add) => {
      add(counters.closedSlow, "slow");
      add(counters.closedForMemory, "memory");
    },
  );
  set.gauge("tickwire_clients_behind", "Clients that read the ring at their own pace, slow or replaying", [], (add) =>
    add(behindOf(clients())),
  );
  set.counter("tickwire_clients_fell_behind_total", "Times that a client's queue was over its limit", [], (add) =>
    add(counters.fellBehind),
  );
  set.counter("tickwire_clients_caught_up_total", "Times that a client came level and went live again", [], (add) =>
    add(counters.caughtUp),
  );
  set.counter("tickwire_client_laps_total", "Times that the ring overtook a client that was behind", [], (add) =>
    add(counters.laps),
  );
  set.counter("tickwire_replays_total", "Resumes and replays begun", [], (add) => add(counters.replays));
  set.counter("tickwire_gaps_total", "Gaps told to clients, by reason", ["reason"], (add) => {
    for (const [reason, count] of counters.gaps) add(count, reason);
  });
}

function behindOf(clients: Iterable<Client>): number {
  let behind = 0;
  for (const client of clients) if (client.isBehind) behind += 1;
  return behind;
}

function defineLatency(set: MetricSet, { engine }: Services, latency: Latency): void {
  set.duration(
    "tickwire_latency",
    "From the first message of a turn until its frames are in the ring, handed to the library, written to the sockets",
    ["stage"],
    (add) => {
      for (const [index, stage] of latency.stages.entries()) add(stage, STAGES[index] as string);
    },
  );
  set.duration(
    "tickwire_venue_lag",
    "From the venue's time of a tick to its receipt, both clocks as they are, one tick in 64",
    ["exchange"],
    (add) => {
      for (const { instrument } of engine.venues) {
        const lag = latency.lagOf(instrument.id);
        if (lag !== undefined) add(lag, instrument.exchange);
      }
    },
  );
}

/** Subscriptions of all clients. */
export function subscriptionsOf(clients: Iterable<Client>): number {
  let count = 0;
  for (const client of clients) count += client.subscriptionCount;
  return count;
}

function queuedOf(clients: Iterable<Client>): number {
  let bytes = 0;
  for (const client of clients) bytes += client.queued;
  return bytes;
}

function longestOf(clients: Iterable<Client>): number {
  let bytes = 0;
  for (const client of clients) bytes = Math.max(bytes, client.queued);
  return bytes;
}
