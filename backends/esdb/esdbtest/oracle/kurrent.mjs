// Drives the double with the official Node client of KurrentDB. It appends as the
// older one does, but reads by a library written in Rust, which decodes the protocol
// by itself and verifies certificates by rules of its own. Prints one JSON object a
// row, as oracle.mjs does.
//
//   node kurrent.mjs URL SECURE_URL
import assert from "node:assert/strict";
import {
  ANY, BACKWARDS, END, NO_STREAM, START,
  AccessDeniedError, KurrentDBClient, StreamDeletedError, StreamNotFoundError, WrongExpectedVersionError,
  binaryEvent, eventTypeFilter, jsonEvent, streamNameFilter,
} from "@kurrent/kurrentdb-client";
import { collect, fail, follow, fresh, makers, report, revisions, row } from "./shared.mjs";

const [url, secureURL] = process.argv.slice(2);
const client = KurrentDBClient.connectionString(url);
const { event, events } = makers(jsonEvent);
const append = (stream, list, streamState) => client.appendToStream(stream, list, { streamState });

row("M1 appends are repeated, and conflicts are typed", async () => {
  const stream = fresh("m1");
  const batch = events(3);
  const first = await append(stream, batch, NO_STREAM);
  assert.equal(first.nextExpectedRevision, 2n);
  assert.deepEqual(await append(stream, batch, NO_STREAM), first);
  await fail(append(stream, event(), 7n), WrongExpectedVersionError);
});

row("M4 streams are read in both directions, and missing and deleted ones told apart", async () => {
  const stream = fresh("m4");
  await append(stream, events(70), NO_STREAM);
  const want = Array.from({ length: 70 }, (_, i) => i);
  assert.deepEqual(revisions(await collect(client.readStream(stream))), want);
  const back = await collect(client.readStream(stream, { direction: BACKWARDS, fromRevision: END, maxCount: 2 }));
  assert.deepEqual(revisions(back), [69, 68]);
  await fail(collect(client.readStream(fresh("missing"))), StreamNotFoundError);
  await client.tombstoneStream(stream);
  await fail(collect(client.readStream(stream)), StreamDeletedError);
});

row("M3 $all is read in both directions, and filtered", async () => {
  const stream = fresh("m3");
  const { position } = await append(stream, events(2), ANY);
  const [last] = await collect(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
  assert.deepEqual(last.event.position, position);
  const found = await collect(client.readAll({ filter: streamNameFilter({ prefixes: [stream] }), maxCount: 10 }));
  assert.deepEqual(revisions(found), [0, 1]);
  const byType = await collect(client.readAll({ filter: eventTypeFilter({ regex: "^(?!\\$)type-1$" }), maxCount: 1 }));
  assert.equal(byType[0].event.type, "type-1");
});

row("M7 subscriptions catch up and go live", async () => {
  const stream = fresh("m7");
  await append(stream, events(70), NO_STREAM);
  const subscription = client.subscribeToStream(stream, { fromRevision: 9n });
  subscription.once("caughtUp", () => append(stream, event("live"), ANY));
  const { events: seen } = await follow(subscription, (s) => s.events.at(-1)?.event.type === "live");
  assert.deepEqual(revisions(seen), Array.from({ length: 61 }, (_, i) => i + 10));
});

row("M8 a filtered subscription finds what matches", async () => {
  const stream = fresh("m8");
  await append(stream, events(2), ANY);
  const filter = streamNameFilter({ prefixes: [stream] });
  const { events: seen } = await follow(client.subscribeToAll({ fromPosition: START, filter }));
  assert.deepEqual(revisions(seen), [0, 1]);
});

row("M9 data and content type are kept", async () => {
  const stream = fresh("m9");
  await append(stream, [jsonEvent({ type: "json", data: { π: 1 } }), binaryEvent({ type: "binary", data: Uint8Array.of(0, 255) })], NO_STREAM);
  const read = (await collect(client.readStream(stream))).map((r) => r.event);
  assert.deepEqual(read.map((e) => e.isJson), [true, false]);
  assert.deepEqual(read[0].data, { π: 1 });
  assert.deepEqual([...read[1].data], [0, 255]);
});

row("M10 TLS is verified by the authority, by Rust's rules too", async () => {
  const admin = KurrentDBClient.connectionString(secureURL);
  const stream = fresh("m10");
  await admin.appendToStream(stream, event());
  assert.deepEqual(revisions(await collect(admin.readStream(stream))), [0]);
  await admin.setStreamMetadata(stream, { acl: { readRoles: ["$admins"] } });
  await fail(collect(admin.readStream(stream, { credentials: { username: "ops", password: "changeit" } })), AccessDeniedError);
  await admin.dispose();
});

await report();
process.exit(0); // what a failed row left open shall not hold the rest up
