/** Connecting: addresses, options, refusals, failover, liveness, the end. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connect, TickwireError } from "../src/client/index.ts";
import { eventually } from "./gateway.ts";
import { type Served, serve, spot, type Venue } from "./serve.ts";
import { type DoubleOptions, ServerDouble } from "./server-double.ts";

const QUICK = { baseMs: 2, maxMs: 10 };
/** Nothing listens there. */
const DEAD = "ws://127.0.0.1:1";

async function double(t: TestContext, options: DoubleOptions = {}): Promise<ServerDouble> {
  const server = await ServerDouble.start(options);
  t.after(() => server.close());
  return server;
}

async function serving(t: TestContext): Promise<Served & { venue: Venue; id: number }> {
  const served = await serve({ graceMs: 600_000 });
  t.after(() => served.stop());
  const [venue] = served.venues as [Venue, Venue];
  const [id] = venue.list(spot(1)) as [number];
  venue.up();
  return Object.assign(served, { venue, id });
}

const coded = (code: string) => (error: unknown) => error instanceof TickwireError && error.code === code;

test("wrong addresses and options are refused before anything is sent", async () => {
  await assert.rejects(connect("http://localhost:8080"), coded("bad_url"));
  await assert.rejects(connect([]), coded("bad_url"));
  await assert.rejects(connect("nonsense"), coded("bad_url"));
  for (const options of [
    { heartbeatMs: 10 },
    { heartbeatMs: Number.NaN },
    { require: "real" as "live" },
    { reconnect: { baseMs: 0 } },
    { reconnect: { attempts: 0 } },
  ])
    await assert.rejects(connect(DEAD, options), coded("bad_option"));
});

test("no server within the attempts that are allowed", async () => {
  await assert.rejects(connect([DEAD, DEAD], { reconnect: { ...QUICK, attempts: 3 } }), coded("unavailable"));
});

test("of several addresses the first that answers is taken, and the hello is told", async (t) => {
  const { url } = await double(t, { epoch: 4711 });
  const client = await connect([DEAD, url], { reconnect: QUICK });
  t.after(() => client.close());
  assert.deepEqual([client.url, client.mode, client.epoch, client.isConnected], [`${url}/`, "simulated", 4711, true]);
});

test("a server of another mode is refused; one of the mode that is required is taken", async (t) => {
  const simulated = await double(t);
  const live = await double(t, { mode: "live" });
  await assert.rejects(connect(simulated.url, { require: "live", reconnect: QUICK }), coded("wrong_mode"));
  const client = await connect([simulated.url, live.url], { require: "live", reconnect: QUICK });
  t.after(() => client.close());
  assert.equal(client.url, `${live.url}/`);
});

test("a token is asked for at each connect, and goes out as a subprotocol", async (t) => {
  const offered: string[] = [];
  const server = await double(t);
  let asked = 0;
  const client = await connect(server.url, {
    token: async () => {
      asked += 1;
      return `subject.${asked}.signature`;
    },
    reconnect: QUICK,
  });
  t.after(() => client.close());
  const again = new Promise<void>((resolve) => void client.once("connect", () => resolve()));
  offered.push(String(server.connections.length));
  server.connections[0]?.socket.terminate();
  await again;
  assert.equal(asked, 2);
  assert.equal(server.connections.length, 2);
});

test("a server that refuses is not asked again: 401, 403 and 1008", async (t) => {
  for (const status of [401, 403]) {
    const { url } = await double(t, { status: () => status });
    await assert.rejects(connect(url, { reconnect: QUICK }), coded("refused"));
  }
  const server = await double(t);
  const client = await connect(server.url, { reconnect: QUICK });
  const errors: string[] = [];
  client.on("error", ({ code }) => errors.push(code));
  client.on("disconnect", ({ reason }) => errors.push(reason));
  client.on("retry", () => errors.push("retry"));
  server.connections[0]?.socket.close(1008, "policy");
  await assert.rejects(client.closed, coded("refused"));
  assert.deepEqual(errors, ["policy", "refused"]);
  assert.equal(server.connections.length, 1);
});

test("whatever else closes a connection, the client comes back", async (t) => {
  const server = await double(t);
  const client = await connect(server.url, { reconnect: QUICK });
  t.after(() => client.close());
  for (const [index, code] of [1000, 1001, 1011, 4008].entries()) {
    const back = new Promise<void>((resolve) => void client.once("connect", () => resolve()));
    server.connections[index]?.socket.close(code, "");
    await back;
  }
  assert.equal(server.connections.length, 5);
});

test("a loss is told once, and each attempt after it, from one on after each connection", async (t) => {
  let isDown = false;
  const server = await double(t, { status: () => (isDown ? 503 : undefined) });
  const client = await connect([server.url, DEAD], { reconnect: QUICK });
  t.after(() => client.close());
  const told: string[] = [];
  client.on("connect", () => told.push("connect"));
  client.on("disconnect", ({ url, reason }) => told.push(`disconnect ${url} ${reason}`));
  client.on("retry", ({ url, reason, attempt, retryMs }) => {
    assert.ok(retryMs >= 0 && reason !== "");
    told.push(`retry ${attempt} ${url}`);
  });
  for (let loss = 0; loss < 2; loss += 1) {
    isDown = true;
    server.connections.at(-1)?.socket.close(1011, "");
    await eventually(
      () => told.length >= 5,
      () => told.join(),
    );
    isDown = false;
    await eventually(
      () => told.at(-1) === "connect",
      () => told.join(),
    );
    const retries = told.slice(1, -1);
    assert.equal(told[0], `disconnect ${server.url}/ closed with 1011`);
    assert.deepEqual(
      retries,
      retries.map((_, index) => `retry ${index + 1} ${index % 2 === 0 ? `${DEAD}/` : `${server.url}/`}`),
    );
    told.length = 0;
  }
});

test("a client that is closed where it hears of a loss does not try again", async (t) => {
  const server = await double(t);
  for (const event of ["disconnect", "retry"] as const) {
    const client = await connect(server.url, { reconnect: QUICK });
    const retries: number[] = [];
    client.on("retry", ({ attempt }) => retries.push(attempt));
    client.on(event, () => void client.close());
    server.connections.at(-1)?.socket.terminate();
    await client.closed;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(retries, event === "retry" ? [1] : []);
  }
  assert.equal(server.connections.length, 2);
});

test("a server that says nothing any more is left", async (t) => {
  const server = await double(t);
  const client = await connect(server.url, { heartbeatMs: 250, reconnect: QUICK });
  t.after(() => client.close());
  const reasons: string[] = [];
  client.on("disconnect", ({ reason }) => reasons.push(reason));
  await eventually(() => server.connections.length > 1, "another connection");
  assert.equal(reasons[0], "nothing came for 750 ms");
});

test("failover: nothing comes twice, and events of which nobody can know are a gap", async (t) => {
  const first = await serving(t);
  const second = await serving(t);
  second.venue.trade(second.id, 1);
  const client = await connect([first.url, second.url], { reconnect: QUICK });
  t.after(() => client.close());
  const keeper = await connect(second.url);
  t.after(() => keeper.close());
  await keeper.subscribe({ channels: "trades", symbols: "A0/USDT" });
  const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT", exchanges: "test-a" });
  const prices: number[] = [];
  const gaps: string[] = [];
  const log: string[] = [];
  tape.on("trade", ({ price }) => prices.push(price));
  tape.on("gap", ({ reason }) => gaps.push(reason));
  client.on("disconnect", () => log.push("disconnect"));
  client.on("reconnect", ({ url, tookMs }) => {
    assert.ok(tookMs >= 0);
    log.push(`reconnect ${url === `${second.url}/`}`);
  });
  for (let price = 1; price <= 5; price += 1) first.venue.trade(first.id, price);
  first.turn.end();
  await eventually(
    () => prices.length === 5,
    () => prices.join(),
  );
  await first.stop();
  await eventually(
    () => log.length === 2,
    () => log.join(),
  );
  for (let price = 6; price <= 9; price += 1) second.venue.trade(second.id, price);
  second.turn.end();
  await eventually(
    () => prices.length === 9,
    () => prices.join(),
  );
  assert.deepEqual(prices, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(log, ["disconnect", "reconnect true"]);
  assert.ok(gaps.every((reason) => reason === "epoch"));
});

test("the lag meter finds the offset of a clock that is 5 s ahead", async (t) => {
  const server = await double(t, {
    answer: ({ type, id }, connection) => {
      if (type === "ping") connection.say({ type: "pong", id, ts_server: (Date.now() + 5000) * 1000 });
    },
  });
  const client = await connect(server.url);
  t.after(() => client.close());
  await eventually(() => !Number.isNaN(client.lag.offsetMs), "a round trip");
  assert.ok(Math.abs(client.lag.offsetMs - 5000) < 1000, `${client.lag.offsetMs} ms`);
  assert.ok(client.lag.roundTripMs >= 0);
});

test("heartbeats are told", async (t) => {
  const { url } = await serving(t);
  const client = await connect(url, { heartbeatMs: 250 });
  t.after(() => client.close());
  let beats = 0;
  client.on("heartbeat", ({ serverTime, queueBytes, lagMs }) => {
    assert.ok(serverTime > 1.7e15 && queueBytes >= 0 && lagMs >= 0);
    beats += 1;
  });
  await eventually(() => beats > 1, "heartbeats");
});

test("close ends everything, twice as well as once, and while it is still connecting", async (t) => {
  const { url } = await serving(t);
  {
    await using client = await connect(url);
    const tape = await client.subscribe({ channels: "trades", symbols: "A0/USDT" });
    const iterator = tape[Symbol.asyncIterator]();
    await client.close();
    await client.close();
    assert.deepEqual(await iterator.next(), { done: true, value: undefined });
    await client.closed;
    await assert.rejects(client.subscribe({ symbols: "*" }), coded("closed"));
  }
  const silent = await double(t, { silent: true });
  const opening = connect(silent.url, { reconnect: { ...QUICK, attempts: 1 }, heartbeatMs: 250 });
  await eventually(() => silent.connections.length === 1, "the connection");
  silent.connections[0]?.socket.terminate();
  await assert.rejects(opening, coded("unavailable"));
});
