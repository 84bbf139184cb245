// Drives the double with the official Node client, which was written apart from
// the Go client and decodes the protocol by itself. Prints one JSON object a
// row: {"row": "...", "error": null or the text}.
//
//   node oracle.mjs URL SECURE_URL FOLLOWER_URL LEADER_PORT
//
// URL is an insecure double, SECURE_URL a secure one with admin's credentials,
// FOLLOWER_URL an insecure double that follows the one on LEADER_PORT.
import assert from "node:assert/strict";
import {
  ANY, BACKWARDS, END, NO_STREAM, START, STREAM_EXISTS,
  AccessDeniedError, EventStoreDBClient, MaxAppendSizeExceededError, NotLeaderError,
  StreamDeletedError, StreamNotFoundError, UnknownError, WrongExpectedVersionError,
  binaryEvent, eventTypeFilter, jsonEvent, streamNameFilter,
} from "@eventstore/db-client";
import { collect, fail, follow, fresh, makers, report, revisions, row } from "./shared.mjs";

const [url, secureURL, followerURL, leaderPort] = process.argv.slice(2);
const client = EventStoreDBClient.connectionString(url);
const { event, events } = makers(jsonEvent);
const append = (stream, list, expectedRevision) => client.appendToStream(stream, list, { expectedRevision });

row("M1 appends are repeated by past revision and written again at the current one", async () => {
  const stream = fresh("m1");
  const batch = events(3);
  const first = await append(stream, batch, NO_STREAM);
  assert.equal(first.nextExpectedRevision, 2n);
  assert.deepEqual(await append(stream, batch, NO_STREAM), first);
  const again = await append(stream, batch, 2n);
  assert.equal(again.nextExpectedRevision, 5n);
});

row("M1 a wrong expected version is typed", async () => {
  const stream = fresh("m1");
  await append(stream, events(3), NO_STREAM);
  for (const [expected, id] of [[NO_STREAM, stream], [1n, stream], [7n, stream]]) {
    const err = await fail(append(id, event(), expected), WrongExpectedVersionError);
    assert.equal(err.expectedVersion, expected);
    assert.equal(err.actualVersion, 2n);
  }
  const err = await fail(append(fresh("missing"), event(), STREAM_EXISTS), WrongExpectedVersionError);
  assert.equal(err.expectedVersion, STREAM_EXISTS);
  assert.equal(err.actualVersion, NO_STREAM);
});

row("M1 Any recognises a repetition, and old with new is a conflict", async () => {
  const stream = fresh("m1");
  const batch = events(2);
  const first = await append(stream, batch, ANY);
  assert.deepEqual(await append(stream, batch, ANY), first);
  await fail(append(stream, [batch[0], event()], ANY), WrongExpectedVersionError);
});

row("M2 a batch is atomic and names its last event", async () => {
  const stream = fresh("m2");
  const batch = events(40);
  const result = await append(stream, batch, NO_STREAM);
  const [last] = await collect(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
  assert.equal(last.event.id, batch[39].id);
  assert.deepEqual(last.event.position, result.position);
});

row("M3 positions are sparse, inclusive forward and exclusive backward", async () => {
  const stream = fresh("m3");
  await append(stream, event(), ANY);
  const at = await append(stream, event(), ANY);
  await append(stream, event(), ANY);
  const { position } = at;
  assert.equal(position.commit, position.prepare);
  const forward = await collect(client.readAll({ fromPosition: position, maxCount: 10 }));
  assert.deepEqual(revisions(forward), [1, 2]);
  assert.ok(forward[1].event.position.commit > position.commit + 1n);
  const backward = await collect(client.readAll({ direction: BACKWARDS, fromPosition: position, maxCount: 1 }));
  assert.deepEqual(revisions(backward), [0]);
  const inside = { commit: position.commit + 1n, prepare: position.prepare + 1n };
  await fail(collect(client.readAll({ fromPosition: inside, maxCount: 1 })), UnknownError);
  const [first] = await collect(client.readAll({ maxCount: 1 }));
  assert.ok(first.event.streamId.startsWith("$"));
});

row("M4 missing, soft-deleted and tombstoned streams are told apart", async () => {
  await fail(collect(client.readStream(fresh("missing"))), StreamNotFoundError);
  const deleted = fresh("m4");
  await append(deleted, event(), NO_STREAM);
  await client.deleteStream(deleted);
  await fail(collect(client.readStream(deleted)), StreamNotFoundError);
  await fail(append(deleted, event(), STREAM_EXISTS), StreamDeletedError);
  const gone = fresh("m4");
  await append(gone, event(), NO_STREAM);
  await client.tombstoneStream(gone);
  const err = await fail(collect(client.readStream(gone)), StreamDeletedError);
  assert.equal(err.streamName, gone);
  await fail(append(gone, event(), ANY), StreamDeletedError);
});

row("M4 stream reads have directions, limits and ends", async () => {
  const stream = fresh("m4");
  await append(stream, events(5), NO_STREAM);
  const read = async (options) => revisions(await collect(client.readStream(stream, options)));
  assert.deepEqual(await read({ maxCount: 2 }), [0, 1]);
  assert.deepEqual(await read({ fromRevision: 3n }), [3, 4]);
  assert.deepEqual(await read({ direction: BACKWARDS, fromRevision: END, maxCount: 2 }), [4, 3]);
  assert.deepEqual(await read({ fromRevision: 9n }), []);
  await fail(collect(client.readStream(stream, { fromRevision: END })), UnknownError);
  await fail(collect(client.readStream(stream, { maxCount: 0 })), UnknownError);
});

row("M5 a delete of the wrong version is typed by its trailers", async () => {
  const stream = fresh("m5");
  await append(stream, events(3), NO_STREAM);
  const err = await fail(client.deleteStream(stream, { expectedRevision: 1n }), WrongExpectedVersionError);
  assert.equal(err.streamName, stream);
  assert.equal(err.expectedVersion, 1n);
  assert.equal(err.actualVersion, 2n);
  const missing = await fail(client.deleteStream(fresh("missing")), WrongExpectedVersionError);
  assert.equal(missing.actualVersion, -1n); // the trailer's number, as it is
});

row("M5 a soft-deleted stream revives and numbering continues", async () => {
  const stream = fresh("m5");
  await append(stream, events(3), NO_STREAM);
  const { position } = await client.deleteStream(stream);
  assert.ok(position.commit > 0n);
  const result = await append(stream, event("again"), NO_STREAM);
  assert.equal(result.nextExpectedRevision, 3n);
  assert.deepEqual(revisions(await collect(client.readStream(stream))), [3]);
});

row("M6 metadata is kept, one event long, and hides events", async () => {
  const stream = fresh("m6");
  await append(stream, events(5), NO_STREAM);
  await client.setStreamMetadata(stream, { maxCount: 4 });
  await client.setStreamMetadata(stream, { maxCount: 2, custom: "kept" });
  const { metadata } = await client.getStreamMetadata(stream);
  assert.equal(metadata.maxCount, 2);
  assert.equal(metadata.custom, "kept");
  assert.deepEqual(revisions(await collect(client.readStream(`$$${stream}`))), [1]);
  assert.deepEqual(revisions(await collect(client.readStream(stream))), [3, 4]);
  await client.setStreamMetadata(stream, { truncateBefore: 1 });
  assert.deepEqual(revisions(await collect(client.readStream(stream))), [1, 2, 3, 4]);
});

row("M7 a stream subscription catches up, says so and goes live", async () => {
  const stream = fresh("m7");
  await append(stream, events(70), NO_STREAM);
  const subscription = client.subscribeToStream(stream, { fromRevision: 9n });
  subscription.once("caughtUp", () => append(stream, event("live"), ANY));
  const { events: seen } = await follow(subscription, (s) => s.events.at(-1)?.event.type === "live");
  assert.deepEqual(revisions(seen), Array.from({ length: 61 }, (_, i) => i + 10));
});

row("M7 a subscription to a missing stream waits, one to a tombstoned stream fails", async () => {
  const stream = fresh("m7");
  const subscription = client.subscribeToStream(stream, { fromRevision: START });
  subscription.once("caughtUp", () => append(stream, event(), NO_STREAM));
  assert.deepEqual(revisions((await follow(subscription, (s) => s.events.length > 0)).events), [0]);
  await client.tombstoneStream(stream);
  await fail(follow(client.subscribeToStream(stream, { fromRevision: START })), StreamDeletedError);
});

row("M7 a subscription to $all starts after its position", async () => {
  const stream = fresh("m7");
  const { position } = await append(stream, event("at"), ANY);
  await append(stream, event("after"), ANY);
  const { events: seen } = await follow(client.subscribeToAll({ fromPosition: position }));
  assert.deepEqual(seen.map((r) => r.event.type), ["after"]);
});

row("M8 filters match, and checkpoints come by what was considered", async () => {
  const prefix = fresh("m8");
  await append(`${prefix}-a`, event("Wanted"), NO_STREAM);
  const start = await append(fresh("noise"), events(1), NO_STREAM);
  const noise = await append(fresh("noise"), events(100), NO_STREAM);
  await append(`${prefix}-b`, events(1), NO_STREAM);
  const checkpoints = [];
  const filter = streamNameFilter({
    prefixes: [prefix], maxSearchWindow: 10, checkpointInterval: 2,
    checkpointReached: (_, position) => { checkpoints.push(position); },
  });
  const { events: seen } = await follow(client.subscribeToAll({ fromPosition: START, filter }));
  assert.deepEqual(seen.map((r) => r.event.streamId), [`${prefix}-a`, `${prefix}-b`]);
  const within = checkpoints.filter((p) => p.commit > start.position.commit && p.commit <= noise.position.commit);
  assert.ok(within.length >= 5 && within.length <= 6, `${within.length} checkpoints in 100 events, one each 20`);
  const regex = eventTypeFilter({ regex: "^Want" });
  const byType = await follow(client.subscribeToAll({ fromPosition: START, filter: regex }));
  assert.ok(byType.events.every((r) => r.event.type === "Wanted"));
  assert.ok(byType.events.some((r) => r.event.streamId === `${prefix}-a`));
});

row("M9 an append over the limit is refused and nothing is stored", async () => {
  const stream = fresh("m9");
  const large = binaryEvent({ type: "large", data: new Uint8Array(1 << 20) });
  const err = await fail(append(stream, large, NO_STREAM), MaxAppendSizeExceededError);
  assert.equal(err.maxAppendSize, 1 << 20);
  await fail(collect(client.readStream(stream)), StreamNotFoundError);
});

row("M9 data, metadata and content type are kept", async () => {
  const stream = fresh("m9");
  const json = jsonEvent({ type: "json", data: { π: [1, "two"] }, metadata: { by: "me" } });
  const binary = binaryEvent({ type: "binary", data: Uint8Array.of(0, 255, 7), metadata: Uint8Array.of(9) });
  const empty = binaryEvent({ type: "empty", data: new Uint8Array() });
  const before = Date.now();
  await append(stream, [json, binary, empty], NO_STREAM);
  const read = (await collect(client.readStream(stream))).map((r) => r.event);
  assert.deepEqual(read.map((e) => e.id), [json.id, binary.id, empty.id]);
  assert.deepEqual(read.map((e) => e.isJson), [true, false, false]);
  assert.deepEqual(read[0].data, { π: [1, "two"] });
  assert.deepEqual(read[0].metadata, { by: "me" });
  assert.deepEqual([...read[1].data], [0, 255, 7]);
  assert.deepEqual([...read[1].metadata], [9]);
  assert.equal(read[2].data.length, 0);
  assert.ok(Math.abs(read[0].created.getTime() - before) < 60_000, `created ${read[0].created}`);
});

row("M10 TLS, credentials and access lists are checked", async () => {
  const admin = EventStoreDBClient.connectionString(secureURL);
  const stream = fresh("m10");
  await admin.appendToStream(stream, event());
  await admin.setStreamMetadata(stream, { acl: { readRoles: ["$admins"] } });
  assert.equal((await collect(admin.readAll({ maxCount: 3 }))).length, 3);
  const ops = { credentials: { username: "ops", password: "changeit" } };
  await fail(collect(admin.readAll({ maxCount: 3, ...ops })), AccessDeniedError);
  await fail(collect(admin.readStream(stream, ops)), AccessDeniedError);
  const wrong = { credentials: { username: "ops", password: "wrong" } };
  const err = await collect(admin.readStream(stream, wrong)).then(() => assert.fail("read"), (e) => e);
  assert.equal(err.code, 16); // Unauthenticated, which the client has no type for
  await admin.dispose();
});

row("M11 a follower names its leader, and gossip leads there", async () => {
  const follower = EventStoreDBClient.connectionString(followerURL);
  const err = await fail(follower.appendToStream(fresh("m11"), event()), NotLeaderError);
  assert.equal(String(err.leader.port), leaderPort);
  await follower.dispose();
  const found = EventStoreDBClient.connectionString(followerURL.replace("esdb://", "esdb+discover://"));
  const result = await found.appendToStream(fresh("m11"), event());
  assert.equal(result.success, true);
  await found.dispose();
});

row("M13 links are resolved and missing targets are absent", async () => {
  const source = fresh("source");
  const links = fresh("links");
  await append(source, events(2), NO_STREAM);
  const link = (target) => binaryEvent({ type: "$>", data: new TextEncoder().encode(target) });
  await append(links, [link(`1@${source}`), link(`9@${source}`)], NO_STREAM);
  const [found, missing] = await collect(client.readStream(links, { resolveLinkTos: true }));
  assert.equal(found.event.streamId, source);
  assert.equal(found.link.streamId, links);
  assert.equal(missing.event, undefined);
  assert.equal(missing.link.revision, 1n);
});

row("M15 a read of many pages is whole and in order", async () => {
  const stream = fresh("m15");
  await append(stream, events(200), NO_STREAM);
  const want = Array.from({ length: 200 }, (_, i) => i);
  assert.deepEqual(revisions(await collect(client.readStream(stream))), want);
  const back = await collect(client.readStream(stream, { direction: BACKWARDS, fromRevision: END }));
  assert.deepEqual(revisions(back), want.reverse());
});

await report();
await client.dispose();
process.exit(0); // what a failed row left open shall not hold the rest up
