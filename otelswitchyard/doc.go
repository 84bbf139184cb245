// Package otelswitchyard tells OpenTelemetry what a store, its subscriptions and
// decisions do.
//
//	tracer, err := otelswitchyard.New(nil) // the global providers
//	store, err := all.Open(ctx, url, &eventstore.Options{Tracer: tracer})
//	events, err := codec.New[Event](&codec.Options{Metadata: tracer.Metadata}, types...)
//	orders, err := decider.New(store, events, evolve, &decider.Options{Tracer: tracer})
//
// # Spans
//
//   - "send CATEGORY", a producer's: an append with all its attempts;
//   - "process CATEGORY", a consumer's: one call of a durable subscription's handler. It
//     links to the traces in which its events were encoded and is not their child: a
//     replay of last year's events does not reopen last year's traces;
//   - "transact CATEGORY": a decision from its first read to its stored events.
//
// Reads and subscriptions have none: a subscription lasts as long as its process, and
// transact counts what it has read.
//
// CATEGORY is that of the stream, and is left out where an operation has streams of
// several categories, or one whose ID has no '-': the whole ID would be its category. A
// stream named by a UUID alone makes a category of its first digits; put a word before it.
//
// # Metrics
//
// By the conventions for messaging: messaging.client.operation.duration,
// messaging.client.sent.messages, messaging.client.consumed.messages and
// messaging.process.duration. And of its own:
//
//   - switchyard.transact.attempts: how often each decision was made;
//   - switchyard.transact.conflicts: appends that came too late;
//   - switchyard.subscription.lag, in seconds: how long ago the oldest event in a handler's
//     hands was recorded; between events, that of the newest one when it was finished. It
//     grows while a handler hangs. A parked event that is retried counts from when the
//     handler was given it. A process has the lag of a subscription that it owns: none
//     once Run ends, or has lost the lease or the backend, until the next event; so alarm
//     on a lag that is absent too, or on switchyard checkpoint list. Of several processes
//     under one name take the highest. Where nothing is appended it stays what it was.
//
// Streams, IDs and the texts of errors are in spans, and never in metrics. An error's
// kind is error.type in both: "conflict", "unavailable" and so on, "_OTHER" for those of
// the application.
//
// # Stability
//
// Names follow release 1.43.0 of the semantic conventions, which calls those for
// messaging "development", and spans and metrics carry its schema URL. A change of a name
// stands in the changelog.
package otelswitchyard
