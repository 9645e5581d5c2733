import { BotError } from "./errors.ts";
import { keys } from "./keys.ts";
import { type OrderIntent, orderText } from "./order-contract.ts";
import type { OrderPublisher } from "./orders.ts";

/** What is asked of a Kafka producer; that of kafkajs fits. It is connected and disconnected by whoever made it. */
export interface KafkaProducer {
  send(record: {
    topic: string;
    acks?: number;
    messages: { key: string; value: string; headers: Record<string, string> }[];
  }): Promise<unknown>;
}

export interface KafkaOrdersOptions {
  producer: KafkaProducer;
  /** Topic, or what makes it of an order; `keys.orderIntents`. */
  topic?: string | ((intent: OrderIntent) => string);
}

/**
 * Orders to Kafka. The key is account and bot, so that a bot's orders on an account stay in order; the header
 * `idempotency-key` adds the sequence, by which a consumer knows an order that comes twice. All replicas acknowledge.
 */
export function kafkaOrders({ producer, topic }: KafkaOrdersOptions): OrderPublisher {
  if (producer === undefined || producer === null) {
    throw new BotError("missing_client", "producer: a Kafka producer is needed");
  }
  if (typeof producer.send !== "function") throw new BotError("bad_client", "producer: has no send()");
  const topicOf =
    typeof topic === "function"
      ? topic
      : ({ accountId, botId }: OrderIntent) => topic ?? keys.orderIntents(accountId, botId);
  return {
    async publish(intent) {
      const key = `${intent.accountId}:${intent.botId}`;
      const headers = { "idempotency-key": `${key}:${intent.sequence}`, "content-type": "application/json" };
      await producer.send({ topic: topicOf(intent), acks: -1, messages: [{ key, value: orderText(intent), headers }] });
    },
  };
}
