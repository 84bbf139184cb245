package decider_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// SeatEvent is one of Taken and Left.
type SeatEvent interface{ seat() }

type (
	Taken struct{ By string }
	Left  struct{}
)

func (Taken) seat() {}
func (Left) seat()  {}

// Seat is what its events add up to.
type Seat struct{ By string }

func (s Seat) evolve(e SeatEvent) Seat {
	switch e := e.(type) {
	case Taken:
		s.By = e.By
	case Left:
		s.By = ""
	}
	return s
}

var errTaken = errors.New("the seat is taken")

// take decides that somebody takes a seat.
func take(by string) func(Seat) ([]SeatEvent, error) {
	return func(s Seat) ([]SeatEvent, error) {
		switch s.By {
		case "":
			return []SeatEvent{Taken{by}}, nil
		case by:
			return nil, nil // it is as it should be
		}
		return nil, errTaken
	}
}

func seatEvents() *codec.Codec[SeatEvent] {
	return codec.Must(codec.New[SeatEvent](nil, codec.Of[Taken]("SeatTaken"), codec.Of[Left]("SeatLeft")))
}

// open returns a store in memory and a Decider on its seats.
func open(opts *decider.Options) (*eventstore.Store, *decider.Decider[Seat, SeatEvent]) {
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		panic(err)
	}
	seats, err := decider.New(store, seatEvents(), Seat.evolve, opts)
	if err != nil {
		panic(err)
	}
	return store, seats
}

func Example() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	res, err := seats.Transact(ctx, "seat-4A", take("Ada"))
	fmt.Println(res.State, res.Version, err)
	_, err = seats.Transact(ctx, "seat-4A", take("Bob"))
	fmt.Println(err)
	// Output:
	// {Ada} 1 <nil>
	// the seat is taken
}

func ExampleNew() {
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	_, err = decider.New(store, seatEvents(), Seat.evolve, &decider.Options{
		CacheSize: 10_000, // states that need not be read again
		Snapshots: &decider.Snapshots{Type: "Seat", Version: 1, Every: 500},
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleDecider_Do() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	// The ID comes from whoever sends the command, such as an Idempotency-Key.
	cmd := decider.Command{Stream: "seat-4A", ID: uuid.NewSHA1(uuid.NameSpaceURL, []byte("key-17"))}
	for range 2 {
		res, err := seats.Do(ctx, cmd, take("Ada"))
		fmt.Println(res.Version, len(res.Events), res.Duplicate, err)
	}
	// Output:
	// 1 1 false <nil>
	// 1 1 true <nil>
}

func ExampleDecider_Do_expected() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	if _, err := seats.Transact(ctx, "seat-4A", take("Ada")); err != nil {
		fmt.Println(err)
	}
	// A client that saw the seat free, and says so: an If-Match.
	_, err := seats.Do(ctx, decider.Command{Stream: "seat-4A", Expected: eventstore.NoStream()}, take("Bob"))
	fmt.Println(errors.Is(err, eventstore.ErrConflict))
	// Output: true
}

func ExampleDecider_Transact() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	res, err := seats.Transact(ctx, "seat-4A", func(s Seat) ([]SeatEvent, error) {
		if s.By != "" {
			return nil, errTaken
		}
		return []SeatEvent{Taken{"Ada"}, Left{}}, nil // all or none
	})
	fmt.Printf("%q %d %v\n", res.State.By, res.Version, err)
	// Output: "" 2 <nil>
}

func ExampleDecider_Load() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	_, version, err := seats.Load(ctx, "seat-4A") // nobody was there
	fmt.Println(version, err)
	if _, err := seats.Transact(ctx, "seat-4A", take("Ada")); err != nil {
		fmt.Println(err)
	}
	seat, version, err := seats.Load(ctx, "seat-4A")
	fmt.Println(seat.By, version, err)
	// Output:
	// 0 <nil>
	// Ada 1 <nil>
}

func ExampleDecider_Fold() {
	store, seats := open(nil)
	defer func() { _ = store.Close() }()
	fmt.Println(seats.Fold(Seat{}, Taken{"Ada"}, Left{}, Taken{"Bob"}))
	// Output: {Bob}
}

func ExampleDecider_Read() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	if _, err := seats.Transact(ctx, "seat-4A", func(Seat) ([]SeatEvent, error) {
		return []SeatEvent{Taken{"Ada"}, Left{}, Taken{"Bob"}}, nil
	}); err != nil {
		fmt.Println(err)
	}
	for event, err := range seats.Read(ctx, "seat-4A", 1) {
		fmt.Printf("%d %#v %v\n", event.Recorded.Version, event.Value, err)
	}
	// Output:
	// 2 decider_test.Left{} <nil>
	// 3 decider_test.Taken{By:"Bob"} <nil>
}

func ExampleAtomically() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	if _, err := seats.Transact(ctx, "seat-4A", take("Ada")); err != nil {
		fmt.Println(err)
	}
	// Ada moves to another seat, if it is free.
	results, err := decider.Atomically(ctx, store, nil, func(tx *decider.Tx) error {
		from, err := seats.In(tx, "seat-4A")
		if err != nil {
			return err
		}
		to, err := seats.In(tx, "seat-4B")
		if err != nil {
			return err
		}
		if to.State.By != "" {
			return errTaken
		}
		to.Add(Taken{from.State.By})
		from.Add(Left{})
		return nil
	})
	for _, result := range results {
		fmt.Println(result.Events[0].Stream, result.Events[0].Type, result.Version)
	}
	fmt.Println(err)
	// Output:
	// seat-4A SeatLeft 2
	// seat-4B SeatTaken 1
	// <nil>
}

func ExampleAtomically_once() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	// The ID comes from whoever sends the command: sent again, it is answered as before.
	opts := &decider.AtomicOptions{ID: uuid.NewSHA1(uuid.NameSpaceURL, []byte("key-17"))}
	for range 2 {
		results, err := decider.Atomically(ctx, store, opts, func(tx *decider.Tx) error {
			seat, err := seats.In(tx, "seat-4A") // loaded before anything is decided
			if err != nil {
				return err
			}
			if seat.State.By != "" {
				return errTaken
			}
			seat.Add(Taken{"Ada"})
			return nil
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(results[0].Version, results[0].Duplicate)
	}
	// Output:
	// 1 false
	// 1 true
}

func ExampleStream_Add() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	_, err := decider.Atomically(ctx, store, nil, func(tx *decider.Tx) error {
		seat, err := seats.In(tx, "seat-4A")
		if err != nil {
			return err
		}
		seat.Add(Taken{"Ada"}, Left{}, Taken{"Bob"})
		fmt.Println(seat.State.By, seat.Version) // the state with them, the version without
		return nil
	})
	fmt.Println(err)
	// Output:
	// Bob 0
	// <nil>
}

func ExampleDecider_In() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	// Together or not at all.
	_, err := decider.Atomically(ctx, store, nil, func(tx *decider.Tx) error {
		for _, name := range []string{"seat-1A", "seat-1B"} {
			seat, err := seats.In(tx, name)
			if err != nil {
				return err
			}
			taken, err := take("Ada")(seat.State)
			if err != nil {
				return err
			}
			seat.Add(taken...)
		}
		return nil
	})
	seat, _, loaded := seats.Load(ctx, "seat-1B")
	fmt.Println(seat.By, err, loaded)
	// Output: Ada <nil> <nil>
}

func ExampleReact() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	if _, err := seats.Transact(ctx, "seat-4A", take("Ada")); err != nil {
		fmt.Println(err)
	}
	// Whoever sits on 4A gets the footrest too, which is another stream.
	footrest := decider.React("footrest", seatEvents(), func(ctx context.Context, cause *decider.Cause, event SeatEvent) error {
		taken, ok := event.(Taken)
		if !ok || cause.Stream != "seat-4A" {
			return nil
		}
		_, err := seats.Do(ctx, cause.Command("footrest-4A", "take"), take(taken.By))
		return err
	})
	footrest.UntilCaughtUp = true
	for range 2 {
		if err := store.Run(ctx, footrest); err != nil {
			fmt.Println(err)
		}
		seat, version, err := seats.Load(ctx, "footrest-4A")
		fmt.Println(seat.By, version, err)
		if err := store.DeleteCheckpoint(ctx, "footrest"); err != nil { // it handles all events again
			fmt.Println(err)
		}
	}
	// Output:
	// Ada 1 <nil>
	// Ada 1 <nil>
}

func ExampleCause_Command() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	if _, err := seats.Transact(ctx, "seat-4A", take("Ada")); err != nil {
		fmt.Println(err)
	}
	// Two commands on one stream have two names; each counts once.
	swap := decider.React("swap", seatEvents(), func(ctx context.Context, cause *decider.Cause, _ SeatEvent) error {
		if cause.Stream != "seat-4A" {
			return nil
		}
		_, err := seats.Do(ctx, cause.Command("seat-4B", "take"), take("Ada"))
		if err == nil {
			_, err = seats.Do(ctx, cause.Command("seat-4B", "leave"), func(Seat) ([]SeatEvent, error) { return []SeatEvent{Left{}}, nil })
		}
		return err
	})
	swap.UntilCaughtUp = true
	for range 2 {
		if err := errors.Join(store.Run(ctx, swap), store.DeleteCheckpoint(ctx, "swap")); err != nil {
			fmt.Println(err)
		}
	}
	_, version, err := seats.Load(ctx, "seat-4B")
	fmt.Println(version, err)
	// Output: 2 <nil>
}

func ExampleCause_Key() {
	ctx := context.Background()
	store, seats := open(nil)
	defer func() { _ = store.Close() }()

	if _, err := seats.Transact(ctx, "seat-4A", take("Ada")); err != nil {
		fmt.Println(err)
	}
	sent := make(map[uuid.UUID]string) // a mail server that knows what it has sent
	mail := decider.React("mail", seatEvents(), func(_ context.Context, cause *decider.Cause, event SeatEvent) error {
		if taken, ok := event.(Taken); ok {
			sent[cause.Key("mail")] = "to " + taken.By
		}
		return nil
	})
	mail.UntilCaughtUp = true
	for range 2 {
		if err := errors.Join(store.Run(ctx, mail), store.DeleteCheckpoint(ctx, "mail")); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(len(sent))
	// Output: 1
}

// printer is a Tracer that prints; package otelswitchyard has one for OpenTelemetry.
type printer struct{}

func (printer) TransactStart(ctx context.Context, start decider.TransactStart) context.Context {
	fmt.Println("decide on", start.Stream)
	return ctx
}

func (printer) TransactEnd(_ context.Context, end decider.TransactEnd) {
	fmt.Println("version", end.Version, "attempts", end.Attempts, "refused", end.Refused)
}

func ExampleTracer() {
	store, seats := open(&decider.Options{Tracer: printer{}})
	defer func() { _ = store.Close() }()

	for _, by := range []string{"Ada", "Bob"} {
		_, _ = seats.Transact(context.Background(), "seat-4A", take(by))
	}
	// Output:
	// decide on seat-4A
	// version 1 attempts 1 refused false
	// decide on seat-4A
	// version 1 attempts 1 refused true
}
