package kafka_test

import (
	"context"
	"fmt"
	"net/url"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/relay"
	"github.com/switchyard-dev/switchyard/relay/kafka"
)

// publish relays a store's orders to a Kafka topic until ctx is done.
func publish(ctx context.Context, store *eventstore.Store) error {
	publisher, err := kafka.Open(ctx, []string{"localhost:9092"}, "orders", nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	info, err := store.Info(ctx)
	if err != nil {
		return err
	}
	sub := relay.New("orders to kafka", publisher, func(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
		return []relay.CloudEvent{relay.FromEvent(relay.Source(info), e)}, nil
	})
	sub.Filter.Categories = []string{"order"}
	sub.ParkStream = "relay-parked" // takes a link to what the topic refuses
	return store.Run(ctx, sub)
}

// Events as they are go from a store to a topic. It needs a broker, and runs until
// its context is done.
func ExampleOpen() {
	_ = publish
}

// An event that is no event of a store can be published too.
func ExamplePublisher_Publish() {
	ctx := context.Background()
	publisher, err := kafka.Open(ctx, []string{"localhost:9092"}, "orders", &kafka.Options{Structured: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = publisher.Close() }()
	err = publisher.Publish(ctx, []relay.CloudEvent{{
		ID: "7", Source: "https://shop.example/clerk", Type: "ShopOpened",
		Extensions: map[string]string{relay.PartitionKey: "shop-1"},
	}})
	fmt.Println(err)
}

func ExampleOpenURL() {
	u, err := url.Parse("kafka://localhost:9092/orders?acks=0")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = kafka.OpenURL(context.Background(), u)
	fmt.Println(err)
	// Output: invalid kafka URL: unknown parameter "acks"; known are ca, cert, compression, key, mode, password_file, sasl, tls
}
