package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	filledLength = 10   // events of each stream that Fill writes
	rareEvery    = 10   // one stream in so many is of the category that is read alone
	placeEvery   = 1000 // one stream in so many has its position remembered
	fillWriters  = 128
)

// Filled is what [Fill] has written to a store.
type Filled struct {
	streams int
	places  []eventstore.Position // from all over the store
}

// Fill writes n events, rounded up to whole streams of ten, and calls progress
// with how many are written, one call at a time. The streams' names are spread
// over the alphabet as random UUIDs are, so that the store's indexes grow as they
// would in use; one stream in ten is of the category that a case of [Cases] reads.
func Fill(ctx context.Context, store *eventstore.Store, n int, progress func(done int)) (*Filled, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filled := &Filled{streams: (n + filledLength - 1) / filledLength}
	var mu sync.Mutex // guards what follows, and filled.places
	var next, done int
	var failed error
	// take ends one stream's writing and begins the next one's.
	take := func(last int, result eventstore.AppendResult, err error) (stream int, more bool) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil && failed == nil:
			failed = err
			cancel()
		case err == nil && last >= 0:
			if last%placeEvery == 0 {
				filled.places = append(filled.places, result.Position)
			}
			done += filledLength
			progress(done)
		}
		next++
		return next - 1, failed == nil && next <= filled.streams
	}
	var writers sync.WaitGroup
	for range fillWriters {
		writers.Go(func() {
			stream, more := take(-1, eventstore.AppendResult{}, nil)
			for more {
				result, err := store.Append(ctx, filledStream(stream), eventstore.NoStream(), events(filledLength)...)
				stream, more = take(stream, result, err)
			}
		})
	}
	writers.Wait()
	if failed != nil {
		return nil, fmt.Errorf("fill the store: %w", failed)
	}
	return filled, nil
}

// filledStream names the i-th stream that Fill writes.
func filledStream(i int) string {
	category := "order-"
	if i%rareEvery == 0 {
		category = rareCategory + "-"
	}
	return category + uuid.NewSHA1(uuid.Nil, binary.BigEndian.AppendUint64(nil, uint64(i))).String()
}

// Cases are those of every store; reads from all over the store, which must find
// what they read in indexes as large as it is; and appends to streams whose names
// come in order of time, which touch one place of an index and not all of it.
func (f *Filled) Cases() []Case {
	const length = 1000
	if f.streams == 0 {
		return Cases()
	}
	return append(Cases(),
		Case{Name: "append 8×1 new streams, names in order of time", Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
			return newStreamsNamed(ctx, store, 8, 1, d, uuid.NewV7)
		}},
		f.atRandom("read streams of 10 at random", func(ctx context.Context, store *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadStream(ctx, filledStream(rand.IntN(f.streams)), eventstore.ReadOptions{}) //nolint:gosec // chance, no secret
		}),
		f.atRandom(fmt.Sprintf("read all, %d events from a random place", length), func(ctx context.Context, store *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error] {
			place := f.places[rand.IntN(len(f.places))] //nolint:gosec // chance, no secret
			return store.ReadAll(ctx, eventstore.ReadAllOptions{After: place, Limit: length})
		}),
	)
}

func (f *Filled) atRandom(name string, read func(context.Context, *eventstore.Store) iter.Seq2[eventstore.RecordedEvent, error]) Case {
	return Case{Name: name, Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
		return reads(ctx, d, func() iter.Seq2[eventstore.RecordedEvent, error] { return read(ctx, store) })
	}}
}
