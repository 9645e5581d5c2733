import type { Clock } from "../std/clock.ts";
import { SystemClock } from "../std/clock.ts";
import { BotError } from "./errors.ts";
import type { OrderIntent } from "./order-contract.ts";
import type { OrderPublisher, Progress } from "./orders.ts";

/** What an order may be at most; what is not given is not limited. */
export interface RiskLimits {
  /** Quantity of one order. */
  maxQuantity?: number;
  /** Quantity of one order by symbol; goes before `maxQuantity`. */
  maxQuantityBySymbol?: Readonly<Record<string, number>>;
  /** Price times quantity of one order that has a price. */
  maxNotional?: number;
  /** Orders that pass in any 60 seconds. */
  maxOrdersPerMinute?: number;
  /** The only symbols that may be traded. */
  symbols?: readonly string[];
}

const MINUTE_MICROS = 60e6;

/** Stands before a publisher and lets through what is within the limits; rejects with `risk_rejected` and the reason. */
export function riskGate(limits: RiskLimits, orders: OrderPublisher, clock: Clock = new SystemClock()): OrderPublisher {
  for (const [limit, value] of Object.entries({ ...limits, ...limits.maxQuantityBySymbol })) {
    if (typeof value === "number" && !(value >= 0)) {
      throw new BotError("bad_config", `${limit}: a number from 0 on, not ${value}`);
    }
  }
  return new RiskGate(limits, orders, clock);
}

/** Why an order is over a limit of one order; undefined when it is not. */
export function riskReason(limits: RiskLimits, { symbol, quantity, limitPrice }: OrderIntent): string | undefined {
  const { maxQuantity, maxQuantityBySymbol, maxNotional, symbols } = limits;
  if (symbols !== undefined && !symbols.includes(symbol)) return `${symbol} may not be traded`;
  const most = maxQuantityBySymbol?.[symbol] ?? maxQuantity;
  if (most !== undefined && quantity > most) return `quantity ${quantity} is over the limit of ${most}`;
  const notional = (limitPrice ?? 0) * quantity;
  if (maxNotional !== undefined && notional > maxNotional) {
    return `notional ${notional} is over the limit of ${maxNotional}`;
  }
  return undefined;
}

class RiskGate implements OrderPublisher {
  readonly #limits: RiskLimits;
  readonly #orders: OrderPublisher;
  readonly #clock: Clock;
  /** When those passed that count into the last minute, microseconds. */
  readonly #passed: number[] = [];
  readonly open?: () => Promise<Progress>;
  readonly commit?: (progress: Progress) => Promise<void>;

  constructor(limits: RiskLimits, orders: OrderPublisher, clock: Clock) {
    this.#limits = limits;
    this.#orders = orders;
    this.#clock = clock;
    // A gate is transactional when what it guards is.
    if (orders.open !== undefined) this.open = () => orders.open?.() as Promise<Progress>;
    if (orders.commit !== undefined) this.commit = async (progress) => orders.commit?.(progress);
  }

  async publish(intent: OrderIntent): Promise<void> {
    const reason = riskReason(this.#limits, intent) ?? this.#rateReason();
    if (reason !== undefined) throw new BotError("risk_rejected", reason);
    await this.#orders.publish(intent);
  }

  #rateReason(): string | undefined {
    const { maxOrdersPerMinute } = this.#limits;
    if (maxOrdersPerMinute === undefined) return undefined;
    const now = this.#clock.now();
    while (this.#passed.length > 0 && now - (this.#passed[0] as number) >= MINUTE_MICROS) this.#passed.shift();
    if (this.#passed.length >= maxOrdersPerMinute) return `${maxOrdersPerMinute} orders a minute have passed`;
    this.#passed.push(now);
    return undefined;
  }
}
