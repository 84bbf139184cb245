package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// What the long checks are written with: how long they are, and a log that is
// long.

const (
	// longEvents is more than any width that a careless store may count in: 10,000
	// as text, 16 bits, pages and windows of tens of thousands.
	longEvents = 70_000
	// leastLongEvents is what no budget goes below: past 32,768, and a log past 16,384.
	leastLongEvents = 34_000
	// longRest is how long a check rests that looks for what happens by time.
	longRest = 5 * time.Second
)

// Scale bounds the work of the suite's long checks, for a backend that is slow
// or costs money. The zero value is the whole of it. What a smaller scale leaves
// out is said in the results and in the report.
type Scale struct {
	// LongEvents is how many events make a long stream, and half of it how many make
	// a long log; 0 means 70,000, and less than 34,000 is taken for 34,000. Appends at
	// the backend's own limits are smaller in proportion.
	LongEvents int
	// Rest is how long a check rests that looks for what a backend does by time:
	// forget an event ID, pass a writer, lose an idle subscription. 0 means 5 s. An
	// author whose backend has such a time gives more than that here.
	Rest time.Duration
}

// SmallScale is the least scale, for a first look. Not found at it is what begins
// beyond 34,000 events or 8 MiB an append, or what a backend does after seconds.
func SmallScale() Scale { return Scale{LongEvents: leastLongEvents, Rest: time.Second} }

func (s Scale) withDefaults() Scale {
	if s.LongEvents <= 0 {
		s.LongEvents = longEvents
	}
	s.LongEvents = max(s.LongEvents, leastLongEvents)
	if s.Rest <= 0 {
		s.Rest = longRest
	}
	return s
}

// note says what a smaller scale than the usual one leaves out; empty for the
// usual one.
func (s Scale) note() string {
	s = s.withDefaults()
	if s.LongEvents >= longEvents && s.Rest >= longRest {
		return ""
	}
	return fmt.Sprintf("at a smaller scale: long logs of %d events, appends that are as much smaller, and rests of %s, where the usual ones are %d and %s", s.LongEvents, s.Rest, longEvents, longRest)
}

// mostAtOnce bounds the appends that fill a long log: in events, for all
// backends take so many quickly, and in bytes, so that a batch is small in memory.
const (
	mostAtOnce      = 1000
	mostBytesAtOnce = 512 << 10
)

// roomy returns a Store over the first handle that allows what the backend allows.
func roomy(env *Env) (*eventstore.Store, error) {
	return env.NewStore(env.Fixture.Backend, eventstore.Options{BackendLimits: true})
}

// lengthen appends n new events to a stream, in large appends, and
// returns them.
func lengthen(ctx context.Context, env *Env, stream string, n int) ([]eventstore.Event, error) {
	store, err := roomy(env)
	if err != nil {
		return nil, err
	}
	events := make([]eventstore.Event, n)
	for i := range events {
		events[i] = env.Event("Happened")
	}
	size := max(events[0].Size(), 1)
	most := min(mostAtOnce, store.Limits().MaxAppendEvents, store.Limits().MaxAppendBytes/(2*size), mostBytesAtOnce/size)
	for at := 0; at < n; at += most {
		if _, err := store.Append(ctx, stream, eventstore.Any(), events[at:min(n, at+most)]...); err != nil {
			return nil, fmt.Errorf("append events %d to %d of a long stream: %w", at+1, min(n, at+most), err)
		}
	}
	return events, nil
}

// turns are the numbers around which careless code goes wrong, up to n: powers of
// two and of ten, the sizes of the Store's pages, and their neighbours.
func turns(n uint64) []uint64 {
	var all []uint64
	seen := make(map[uint64]bool)
	add := func(at uint64) {
		for _, v := range []uint64{at - 1, at, at + 1} {
			if 0 < v && v <= n && !seen[v] {
				seen[v] = true
				all = append(all, v)
			}
		}
	}
	for power := uint64(1); power <= n; power *= 2 {
		add(power)
	}
	for power := uint64(1); power <= n; power *= 10 {
		add(power)
	}
	for _, at := range []uint64{2560, 4608, 20_000, 50_000, n / 2, n} {
		add(at)
	}
	return all
}

// rests is a check that mostly waits.
func rests(check Check) Check {
	check.Long, check.Rests = true, true
	return check
}
