// Package kafka publishes a relay's events to a Kafka topic, by the CloudEvents
// binding for Kafka, for ordinary consumers that know nothing of Switchyard:
//
//	publisher, err := kafka.Open(ctx, []string{"localhost:9092"}, "orders", nil)
//	…
//	err = store.Run(ctx, relay.New("orders to kafka", publisher, translate))
//
// # What is in the topic
//
// One record an event. Its key is the event's partitionkey, which is the stream
// unless the translation says otherwise, and its partition is chosen from the key as
// Kafka's own clients do. So a stream is in one partition and in its order. In binary
// mode, the default, the value is the event's data as it is, the header content-type
// its media type, and every other attribute a header ce_NAME; in structured mode the
// value is the whole event as JSON. A record's timestamp is when it was published, so
// that a topic's retention counts from there; when the event happened is in its
// attribute time.
//
// Records are acknowledged by all replicas in sync (acks=all) before the relay passes
// them; give the topic a min.insync.replicas of more than one. The topic is not made
// here, nor changed: how many partitions it has and how long it keeps what is for its
// consumers to choose. With more partitions than before a stream may go on in another
// one, and a topic with cleanup.policy=compact keeps the last event of each stream
// alone.
//
// # Repetitions
//
// Delivery is at least once. An event that comes again is the same in source and ID,
// and may come after later ones of its stream: pass over what was seen, or every
// sequence that is not above the last one of its source.
package kafka
