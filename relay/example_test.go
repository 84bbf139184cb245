package relay_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/relay"
)

// printer is a receiver for the examples. Package relay/kafka has one for Kafka.
type printer struct{}

func (printer) Publish(_ context.Context, events []relay.CloudEvent) error {
	for _, event := range events {
		fmt.Println(event.Subject, event.Extensions[relay.Version], event.Type, string(event.Data))
	}
	return nil // the receiver has them all
}

// openExample opens a store for the examples that holds two orders.
func openExample() *eventstore.Store {
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		panic(err)
	}
	for _, stream := range []string{"order-1", "order-2"} {
		placed := eventstore.Event{Type: "OrderPlaced", Data: []byte(`{"cents":1299}`)}
		priced := eventstore.Event{Type: "PriceCalculated", Data: []byte(`{"margin":0.2}`)}
		if _, err := store.Append(context.Background(), stream, eventstore.NoStream(), placed, priced); err != nil {
			panic(err)
		}
	}
	return store
}

func ExampleNew() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	info, err := store.Info(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	var publisher printer

	source := relay.Source(info) // or a URI of your own, such as https://shop.example/orders
	sub := relay.New("orders to the world", publisher, func(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
		if e.Type == "PriceCalculated" {
			return nil, nil // ours alone
		}
		return []relay.CloudEvent{relay.FromEvent(source, e)}, nil
	})
	sub.Filter.Categories = []string{"order"}
	sub.ParkStream = "relay-parked" // what the receiver refuses for good
	sub.UntilCaughtUp = true        // an application leaves this out, and runs on
	err = store.Run(ctx, sub)
	fmt.Println(err)
	// Output:
	// order-1 1 OrderPlaced {"cents":1299}
	// order-2 1 OrderPlaced {"cents":1299}
	// <nil>
}

func ExampleFromEvent() {
	store := openExample()
	defer func() { _ = store.Close() }()
	for event, err := range store.ReadStream(context.Background(), "order-1", eventstore.ReadOptions{Limit: 1}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		c := relay.FromEvent("https://shop.example/events", event)
		fmt.Println(c.Source)
		fmt.Println(c.DataSchema)
		fmt.Println(c.Extensions[relay.PartitionKey], c.Extensions[relay.Sequence])
		fmt.Println(c.ID == event.ID.String())
	}
	// Output:
	// https://shop.example/events/order-1
	// https://shop.example/events/schemas/OrderPlaced/1
	// order-1 00000000000000000001
	// true
}

// A translation may rename and choose: what leaves is a contract with others, and
// need not be what is stored.
func ExampleTranslation() {
	translate := func(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
		c := relay.FromEvent("https://shop.example/events", e)
		c.Type = "com.example.shop." + c.Type
		delete(c.Extensions, relay.Metadata) // it may hold what is nobody's business
		return []relay.CloudEvent{c}, nil
	}
	events, err := translate(context.Background(), eventstore.RecordedEvent{
		Event:  eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`), Metadata: map[string]string{"user": "ann"}},
		Stream: "order-1", Version: 1,
	})
	fmt.Println(events[0].Type, len(events[0].Extensions), err)
	// Output: com.example.shop.OrderPlaced 4 <nil>
}

func ExampleCloudEvent_AppendJSON() {
	c := relay.CloudEvent{ID: "7", Source: "/shop", Type: "OrderPlaced", DataContentType: "application/json", Data: []byte(`{"cents": 1299}`)}
	fmt.Println(string(c.AppendJSON(nil)))
	// Output: {"specversion":"1.0","id":"7","source":"/shop","type":"OrderPlaced","datacontenttype":"application/json","data":{"cents": 1299}}
}

func ExampleCloudEvent_Attributes() {
	c := relay.CloudEvent{ID: "7", Source: "/shop", Type: "OrderPlaced", Extensions: map[string]string{"partitionkey": "order-1"}}
	for name, value := range c.Attributes() {
		fmt.Println(name, value)
	}
	// Output:
	// specversion 1.0
	// id 7
	// source /shop
	// type OrderPlaced
	// partitionkey order-1
}

func ExampleCloudEvent_Validate() {
	fmt.Println(relay.CloudEvent{ID: "7", Source: "/shop"}.Validate())
	// Output: invalid CloudEvent's type: it is empty, and every event has one
}

func ExampleHTTP() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.Header.Get("Content-Type")) // 200 confirms the batch
	}))
	defer receiver.Close()
	publisher := relay.HTTP(&http.Client{Timeout: 10 * time.Second}, receiver.URL)
	err := publisher.Publish(context.Background(), []relay.CloudEvent{{ID: "7", Source: "/shop", Type: "ShopOpened"}})
	fmt.Println(err)
	// Output:
	// POST application/cloudevents-batch+json; charset=UTF-8
	// <nil>
}
