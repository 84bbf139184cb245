// Package relay publishes a store's events elsewhere, as CloudEvents 1.0. The store
// is the outbox: what was appended is published, whoever crashes, and nothing is
// written twice.
//
// A relay is a durable subscription that [eventstore.Store.Run] runs:
//
//	sub := relay.New("shop to kafka", publisher, func(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
//		return []relay.CloudEvent{relay.FromEvent(source, e)}, nil
//	})
//	err := store.Run(ctx, sub)
//
// So it has a lease, a checkpoint, retries and parking, and runs on every backend
// that has a global order and checkpoints. [HTTP] is a [Publisher] for a web address,
// and package relay/kafka has one for a Kafka topic.
//
// # What consumers can rely on
//
// Delivery is at least once: after a crash or a lost answer an event comes again, as
// it was. A consumer that passes over what it has seen, by source and ID together,
// has every event exactly once, and those of each stream in the order of their
// versions. An ID alone is not enough: it is unique in its stream only.
package relay
