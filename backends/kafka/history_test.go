package kafka_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// coldFold is what a log comes to for somebody who reads it for the first time, with
// nothing of the adapter between.
type coldFold struct {
	state  *fold.State
	events map[uuid.UUID]storedEvent
	order  []eventstore.Position
	hashes map[int64]string // at the offsets that were asked for
	twice  []uuid.UUID
}

type storedEvent struct {
	stream   string
	version  uint64
	position eventstore.Position
}

func foldCold(t *testing.T, brokers []string, topic string, at []int64) *coldFold {
	t.Helper()
	c := connection.New(brokers, []string{topic}, nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	described, ok, err := c.Describe(ctx, topic)
	require.NoError(t, err)
	require.True(t, ok)
	end, err := c.HighWatermark(ctx, topic, connection.InSync(described))
	require.NoError(t, err)
	f := &coldFold{state: fold.New(), events: map[uuid.UUID]storedEvent{}, hashes: map[int64]string{}}
	wanted := map[int64]bool{}
	for _, offset := range at {
		wanted[offset] = true
	}
	for f.state.Next() < end {
		fetched, err := c.Fetch(ctx, topic, f.state.Next(), connection.FetchOptions{MaxBytes: 4 << 20, Wait: time.Second})
		require.NoError(t, err)
		for _, record := range fetched.Records {
			verdict, err := f.state.Fold(record.Offset, record.Value)
			require.NoError(t, err)
			f.take(t, verdict, record.Value)
			if hash := f.state.Hash(); wanted[f.state.Next()] {
				f.hashes[f.state.Next()] = hex.EncodeToString(hash[:])
			}
		}
	}
	return f
}

func (f *coldFold) take(t *testing.T, verdict fold.Verdict, value []byte) {
	t.Helper()
	if verdict.Outcome != fold.Accepted || verdict.Kind != fold.KindAppend {
		return
	}
	var record fold.Record
	require.NoError(t, record.Decode(value))
	index := 0
	for i, part := range record.Parts {
		for j, event := range part.Events {
			if verdict.Decisions[i].Write {
				if _, ok := f.events[event.ID]; ok {
					f.twice = append(f.twice, event.ID)
				}
				position := fold.Place{Offset: verdict.Offset, Index: index}.Position()
				f.events[event.ID] = storedEvent{string(part.Stream), verdict.Decisions[i].First + uint64(j), position}
				f.order = append(f.order, position)
			}
			index++
		}
	}
}

// What must not be found when journals are held against a log.
const (
	lost          = "lost"
	storedRefused = "stored although refused"
	twoWinners    = "two winners"
	storedTwice   = "stored twice"
	elsewhere     = "acknowledged elsewhere than it is"
	unexpected    = "stored where it was not expected"
	staleRead     = "stale reads"
	otherFold     = "another fold"
	badDelivery   = "wrong deliveries to a subscription"
	leftover      = "goroutines left after Close"
	otherFailure  = "other errors"
)

// tally is what was found when journals were held against a log.
type tally struct {
	stored, repeated, refused, unknown, attempts int
	folds                                        int // of processes, which were compared
	faults                                       map[string][]string
}

// fault notes one that was found.
type fault func(kind, what string)

// hold holds the writers' journals against the log: nothing that was acknowledged is
// lost, nothing that was refused is stored, no version has two winners, nothing is
// stored twice, and everybody came to the same fold.
func (f *fleet) hold(t *testing.T, brokers []string, topic string) tally {
	t.Helper()
	var at []int64
	for _, p := range f.all {
		for _, line := range p.lines {
			if line.Final != nil {
				at = append(at, line.Final.Next)
			}
		}
	}
	cold := foldCold(t, brokers, topic, at)
	found := tally{faults: map[string][]string{}}
	fault := func(kind, what string) { found.faults[kind] = append(found.faults[kind], what) }
	for _, id := range cold.twice {
		fault(storedTwice, id.String())
	}
	winners := map[string]map[uint64]uuid.UUID{}
	for _, p := range f.all {
		for _, line := range p.lines {
			switch {
			case line.Failed != "":
				fault(otherFailure, line.Failed)
			case line.Stale != "":
				fault(staleRead, line.Stale)
			case line.Part != nil:
				found.count(line.Part)
				holdPart(cold, line.Part, winners, fault)
			case line.Final != nil:
				found.folds++
				holdFinal(cold, line.Final, fault)
			}
		}
	}
	counts := cold.state.Counts()
	t.Logf("%d parts acknowledged (%d of them found stored already), %d refused, %d unknown; %d calls repeated; the log: %d records accepted, %d repeated, %d refused, %d events",
		found.stored, found.repeated, found.refused, found.unknown, found.attempts, counts.Accepted, counts.Repeated, counts.Refused, counts.Events)
	t.Log(found.verdict())
	return found
}

// verdict says how many faults of each kind there were.
func (f *tally) verdict() string {
	var counts []string
	for _, kind := range []string{lost, storedRefused, twoWinners, storedTwice, elsewhere, unexpected, staleRead, badDelivery, leftover, otherFailure} {
		counts = append(counts, fmt.Sprintf("%s %d", kind, len(f.faults[kind])))
	}
	return fmt.Sprintf("%s; folds of processes equal to that of the log: %d of %d", strings.Join(counts, ", "), f.folds-len(f.faults[otherFold]), f.folds)
}

func (f *tally) count(part *writtenPart) {
	switch part.Outcome {
	case "stored":
		f.stored++
		if part.Duplicate {
			f.repeated++
		}
	case "refused":
		f.refused++
	default:
		f.unknown++
	}
	f.attempts += max(0, part.Attempts-2)
}

func holdPart(cold *coldFold, part *writtenPart, winners map[string]map[uint64]uuid.UUID, fault fault) {
	switch part.Outcome {
	case "refused":
		for _, id := range part.IDs {
			if _, ok := cold.events[id]; ok {
				fault(storedRefused, id.String())
			}
		}
	case "stored":
		if part.Expected != nil && !part.Duplicate && part.First != *part.Expected+1 {
			fault(unexpected, part.IDs[0].String())
		}
		if winners[part.Stream] == nil {
			winners[part.Stream] = map[uint64]uuid.UUID{}
		}
		for i, id := range part.IDs {
			version := part.First + uint64(i)
			if other, ok := winners[part.Stream][version]; ok && other != id {
				fault(twoWinners, id.String()+" and "+other.String())
			}
			winners[part.Stream][version] = id
			stored, ok := cold.events[id]
			switch {
			case !ok:
				fault(lost, id.String())
			case stored != storedEvent{part.Stream, version, part.Positions[i]}:
				fault(elsewhere, id.String())
			}
		}
	}
}

func holdFinal(cold *coldFold, final *finalState, fault fault) {
	if cold.hashes[final.Next] != final.Hash {
		fault(otherFold, fmt.Sprintf("at offset %d", final.Next))
	}
	if final.Goroutines > 1 { // the signals' own
		fault(leftover, fmt.Sprint(final.Goroutines))
	}
	if n := len(final.Delivered); n > len(cold.order) {
		fault(badDelivery, fmt.Sprintf("%d events, and there are %d", n, len(cold.order)))
		return
	}
	for i, position := range final.Delivered {
		if position != cold.order[i] {
			fault(badDelivery, "another order at "+position.String())
			return
		}
	}
	if n := len(final.Delivered); n == 0 || n < len(cold.order) && cold.order[n].Compare(eventstore.NewPosition(uint64(final.Next), 0)) < 0 {
		fault(badDelivery, fmt.Sprintf("only the first %d events", n))
	}
}
