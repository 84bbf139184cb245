// What the scripts of the two Node clients share: they have the same surface, and each
// gives its own jsonEvent.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

// Events are made by one client's jsonEvent.
export function makers(jsonEvent) {
  const event = (type = "Happened") => jsonEvent({ type, data: { a: 1 } });
  return { event, events: (n) => Array.from({ length: n }, (_, i) => event(`type-${i}`)) };
}

export const fresh = (name) => `${name}-${randomUUID()}`;

export const fail = (promise, kind) =>
  promise.then(
    () => assert.fail(`expected ${kind.name}`),
    (err) => {
      assert.ok(err instanceof kind, `expected ${kind.name}, got ${err.constructor.name}: ${err.message}`);
      return err;
    });

export async function collect(reading) {
  const out = [];
  for await (const resolved of reading) out.push(resolved);
  return out;
}

export const revisions = (list) => list.map((r) => Number((r.link ?? r.event).revision));

// follow collects a subscription's messages until "caught up" was seen and
// until is satisfied, then unsubscribes.
export async function follow(subscription, until = () => true) {
  const seen = { events: [], caughtUp: 0 };
  await new Promise((resolve, reject) => {
    const check = () => { if (seen.caughtUp > 0 && until(seen)) resolve(); };
    subscription.on("error", reject);
    subscription.on("caughtUp", () => { seen.caughtUp++; check(); });
    subscription.on("data", (resolved) => { seen.events.push(resolved); check(); });
  });
  await subscription.unsubscribe();
  return seen;
}

const rows = [];

export const row = (name, run) => rows.push({ name, run });

// report runs the rows one after another and prints one JSON object for each.
export async function report() {
  for (const { name, run } of rows) {
    let timer;
    const timeout = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer in 20 s")), 20_000);
    });
    let error = null;
    try {
      await Promise.race([run(), timeout]);
    } catch (err) {
      error = err.stack ?? String(err);
    }
    clearTimeout(timer);
    console.log(JSON.stringify({ row: name, error }));
  }
}
