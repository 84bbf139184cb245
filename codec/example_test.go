package codec_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// SeatEvent is one of Taken and Left.
type SeatEvent interface{ seat() }

type (
	Taken struct {
		By string `json:"by"`
	}
	Left struct{}
)

func (Taken) seat() {}
func (Left) seat()  {}

// takenV1 named the guest otherwise.
type takenV1 struct {
	Guest string `json:"guest"`
}

// Seats is the form of the family in the store.
func Seats() *codec.Codec[SeatEvent] {
	return codec.Must(codec.New[SeatEvent](nil,
		codec.Of[Taken]("SeatTaken", codec.Up(func(v takenV1) (Taken, error) {
			return Taken{By: v.Guest}, nil
		})),
		codec.Of[Left]("SeatLeft", codec.Was("SeatFreed")),
	))
}

func Example() {
	ctx := context.Background()
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	seats := Seats()

	// What was stored years ago, by a program that knew the first version.
	old := eventstore.Event{Type: "SeatTaken", Data: []byte(`{"guest":"Ada"}`)}
	freed := eventstore.Event{Type: "SeatFreed", Data: []byte(`{}`)}
	taken, err := seats.Encode(ctx, uuid.Nil, Taken{By: "Bob"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Append(ctx, "seat-4A", eventstore.NoStream(), old, freed, taken); err != nil {
		fmt.Println(err)
		return
	}
	for event, err := range seats.Each(ctx, store.ReadStream(ctx, "seat-4A", eventstore.ReadOptions{})) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %#v\n", event.Recorded.Version, event.Value)
	}
	// Output:
	// 1 codec_test.Taken{By:"Ada"}
	// 2 codec_test.Left{}
	// 3 codec_test.Taken{By:"Bob"}
}

func ExampleNew() {
	requests := 0
	seats, err := codec.New[SeatEvent](&codec.Options{
		Metadata: func(_ context.Context, set func(key, value string)) { // asked for each event
			requests++
			set("request", strconv.Itoa(requests))
		},
	}, codec.Of[Taken]("SeatTaken"), codec.Of[Left]("SeatLeft"))
	if err != nil {
		fmt.Println(err)
		return
	}
	event, err := seats.Encode(context.Background(), uuid.Nil, Left{})
	fmt.Println(event.Type, event.Metadata, err)
	_, err = codec.New[SeatEvent](nil, codec.Of[Taken]("Seat"), codec.Of[Left]("Seat"))
	fmt.Println(err)
	// Output:
	// SeatLeft map[request:1] <nil>
	// invalid codec: the name "Seat" occurs twice
}

func ExampleUp() {
	seats := codec.Must(codec.New[SeatEvent](nil, codec.Of[Taken]("SeatTaken", codec.Up(func(v takenV1) (Taken, error) {
		return Taken{By: v.Guest}, nil
	}))))
	v, _, err := seats.Decode(context.Background(), eventstore.RecordedEvent{Event: eventstore.Event{Type: "SeatTaken", Data: []byte(`{"guest":"Ada"}`)}})
	fmt.Printf("%+v %v\n", v, err)
	now, err := seats.Encode(context.Background(), uuid.Nil, Taken{By: "Bob"})
	fmt.Println(string(now.Data), now.Metadata, err)
	// Output:
	// {By:Ada} <nil>
	// {"by":"Bob"} map[$schemaVersion:2] <nil>
}

func ExampleWas() {
	seats := codec.Must(codec.New[SeatEvent](nil, codec.Of[Left]("SeatLeft", codec.Was("SeatFreed"))))
	v, _, err := seats.Decode(context.Background(), eventstore.RecordedEvent{Event: eventstore.Event{Type: "SeatFreed", Data: []byte(`{}`)}})
	fmt.Printf("%T %v\n", v, err)
	now, err := seats.Encode(context.Background(), uuid.Nil, v)
	fmt.Println(now.Type, err)
	// Output:
	// codec_test.Left <nil>
	// SeatLeft <nil>
}

func ExampleCodec_Encode() {
	event, err := Seats().Encode(context.Background(), uuid.Max, Taken{By: "Ada"})
	fmt.Println(event.ID, event.Type, event.ContentType, string(event.Data), err)
	// Output: ffffffff-ffff-ffff-ffff-ffffffffffff SeatTaken application/json {"by":"Ada"} <nil>
}

func ExampleCodec_Decode() {
	seats := Seats()
	_, _, err := seats.Decode(context.Background(), eventstore.RecordedEvent{
		Event:  eventstore.Event{Type: "SeatTaken", Data: []byte(`{}`)}.WithSchemaVersion(3),
		Stream: "seat-4A", Version: 9,
	})
	fmt.Println(err)
	// Output: unknown event 00000000-0000-0000-0000-000000000000 (version 9 of stream "seat-4A"): type "SeatTaken", schema version "3", content type "": the version of its schema is unknown, and the newest known one is 2; deploy the code that knows it first
}

func ExampleCodec_Types() {
	filter := eventstore.Filter{Types: Seats().Types()} // a subscription that meets no unknown event
	fmt.Println(filter.Types)
	// Output: [SeatTaken SeatLeft SeatFreed]
}

func ExampleCodec_Schemas() {
	for _, schema := range Seats().Schemas() {
		fmt.Println(schema.Name, schema.Version, schema.Type)
	}
	// Output:
	// SeatTaken 1 codec_test.takenV1
	// SeatTaken 2 codec_test.Taken
	// SeatLeft 1 codec_test.Left
	// SeatFreed 1 codec_test.Left
}

func ExampleIgnore() {
	seats := codec.Must(codec.New[SeatEvent](nil, codec.Of[Left]("SeatLeft"), codec.Ignore("SeatTaken", "SeatFreed")))
	v, ok, err := seats.Decode(context.Background(), eventstore.RecordedEvent{Event: eventstore.Event{Type: "SeatTaken"}})
	fmt.Println(v, ok, err)
	// Output: <nil> false <nil>
}

func ExampleIgnoreUnknown() {
	seats := codec.Must(codec.New[SeatEvent](nil, codec.Of[Left]("SeatLeft"), codec.IgnoreUnknown()))
	v, ok, err := seats.Decode(context.Background(), eventstore.RecordedEvent{Event: eventstore.Event{Type: "DoorOpened"}})
	fmt.Println(v, ok, err)
	// Output: <nil> false <nil>
}

func ExampleWithCause() {
	ctx := codec.WithCorrelation(context.Background(), "request-17")
	request, err := Seats().Encode(ctx, uuid.Max, Taken{By: "Ada"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Elsewhere, what reacts to it:
	ctx = codec.WithCause(context.Background(), eventstore.RecordedEvent{Event: request})
	answer, err := Seats().Encode(ctx, uuid.Nil, Left{})
	fmt.Println(answer.CorrelationID(), answer.CausationID(), err)
	// Output: request-17 ffffffff-ffff-ffff-ffff-ffffffffffff <nil>
}

func ExampleWithCorrelation() {
	ctx := codec.WithCorrelation(context.Background(), "request-17")
	event, err := Seats().Encode(ctx, uuid.Nil, Left{})
	fmt.Println(event.CorrelationID(), err)
	// Output: request-17 <nil>
}

func ExampleWithMetadata() {
	ctx := codec.WithMetadata(context.Background(), map[string]string{"user": "ada"})
	event, err := Seats().Encode(ctx, uuid.Nil, Left{})
	fmt.Println(event.Metadata, err)
	// Output: map[user:ada] <nil>
}

// hidden keeps a name out of the store. A real one encrypts it; see [codec.Filter]
// for what it has to keep to.
type hidden struct{}

func (hidden) Seal(_ context.Context, value any, event *eventstore.Event) (err error) {
	if taken, ok := value.(Taken); ok {
		taken.By = "somebody"
		event.Data, err = json.Marshal(taken)
	}
	return err
}

func (hidden) Open(context.Context, *eventstore.RecordedEvent) error { return nil }

func ExampleThrough() {
	seats := codec.Must(codec.New[SeatEvent](nil, codec.Of[Taken]("SeatTaken", codec.Through(hidden{}))))
	event, err := seats.Encode(context.Background(), uuid.Nil, Taken{By: "Ada"})
	fmt.Println(string(event.Data), err)
	// Output: {"by":"somebody"} <nil>
}
