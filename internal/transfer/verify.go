package transfer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// Digest stands for the whole content of a stream or a store: SHA-256 over each
// event's version, ID, type, content type, data and metadata. Positions and
// record times are not in it, for not every store keeps them. Where a store keeps JSON
// and not its bytes, data is taken in the one form that equal JSON has.
type Digest [sha256.Size]byte

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Summary is what a store holds.
type Summary struct {
	Streams, Events int
	Digest          Digest
}

// Report is the outcome of [Verify].
type Report struct {
	A, B Summary
	// Differing counts the streams that are not the same in both stores.
	Differing int
	// First is the first difference, nil where there is none.
	First *Discrepancy
	// AsJSON is true where one of the stores keeps JSON and not its bytes (capability
	// ExactData): the data of JSON events is then compared by what it says.
	AsJSON bool
}

// Equal tells whether both stores hold the same streams with the same events, in the
// same order.
func (r Report) Equal() bool { return r.First == nil }

// Discrepancy is a place where two stores differ.
type Discrepancy struct {
	Stream  string
	Version uint64
	// Field is "event" where one store has no event there, otherwise id, type,
	// content type, data or metadata; "content" where one of them has no more of it
	// than its SHA-256; "order" where all streams are the same, and another event
	// comes next.
	Field string
	// A and B are what the stores hold there, shortened.
	A, B string
}

// Verify compares two stores stream by stream, and the order of all their events. It
// holds one digest for each stream in memory. First is the first difference of the first
// differing stream, in the streams' alphabetical order. Events that a transfer changed, parked or skipped
// on their way from one to the other are compared as they were.
func Verify(ctx context.Context, a, b *eventstore.Store, progress func(Progress)) (Report, error) {
	asJSON := !keepsBytes(a, b)
	var others [2]string
	for i, store := range []*eventstore.Store{b, a} {
		info, err := store.Info(ctx)
		if err != nil {
			return Report{}, err
		}
		others[i] = cloudevents.Source(info.ID)
	}
	var digests [2]*Digests
	group, groupCtx := errgroup.WithContext(ctx)
	ticks := make(chan int, 16) // reads of both scans, reported by one goroutine
	for i, store := range []*eventstore.Store{a, b} {
		group.Go(func() (err error) {
			digests[i], err = scan(groupCtx, store, NewDigests(asJSON, others[i]), ticks)
			return err
		})
	}
	go func() {
		_ = group.Wait()
		close(ticks)
	}()
	var seen Progress
	for n := range ticks {
		seen.Read += n
		if progress != nil {
			progress(seen)
		}
	}
	if err := group.Wait(); err != nil {
		return Report{}, err
	}
	report := Report{AsJSON: asJSON, A: digests[0].Summary(), B: digests[1].Summary()}
	report.Differing, _ = digests[0].Differing(digests[1])
	var err error
	switch {
	case report.Differing > 0:
		report.First, err = FirstDifference(ctx, a, b, digests[0], digests[1])
	case digests[0].Order != digests[1].Order:
		report.First, err = FirstInOrder(ctx, a, b, digests[0], digests[1], digests[0].Events)
		if report.First == nil && err == nil {
			err = errors.New("the order of the events differed while it was read as a whole, but not event by event: were the stores being written?")
		}
	}
	return report, err
}

func scan(ctx context.Context, store *eventstore.Store, digests *Digests, ticks chan<- int) (*Digests, error) {
	for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			return nil, err
		}
		digests.Add(event)
		if digests.Events%batchEvents == 0 {
			ticks <- batchEvents
		}
	}
	ticks <- digests.Events % batchEvents
	return digests, nil
}

// appendCanonical appends an event's content in the one form that its digest is
// taken of: each field with its length before it, metadata in the order of its keys.
func appendCanonical(b []byte, event eventstore.RecordedEvent, asJSON bool) []byte {
	field := func(text []byte) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(text)))
		b = append(b, text...)
	}
	b = binary.BigEndian.AppendUint64(b, event.Version)
	b = append(b, event.ID[:]...)
	field([]byte(event.Type))
	field([]byte(contentType(event)))
	field(contentOf(event, asJSON))
	for _, key := range slices.Sorted(maps.Keys(event.Metadata)) {
		field([]byte(key))
		field([]byte(event.Metadata[key]))
	}
	return b
}

// FirstDifference walks the first stream of which two stores' digests differ in both at
// once, and returns where it does first. Events are compared as they were in their source.
func FirstDifference(ctx context.Context, a, b *eventstore.Store, ofA, ofB *Digests) (*Discrepancy, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, stream := ofA.Differing(ofB)
	left, right := pullFrom(originals(ctx, a, stream, ofA)), pullFrom(originals(ctx, b, stream, ofB))
	defer left.stop()
	defer right.stop()
	for {
		x, inA, errA := left.next()
		y, inB, errB := right.next()
		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}
		if !inA && !inB {
			return nil, fmt.Errorf("stream %q differed while it was read as a whole, but not event by event: was it being written?", clip(stream))
		}
		if inA && inB && x.Version != y.Version { // the one below is in one store alone
			inA, inB = x.Version < y.Version, y.Version < x.Version
		}
		found := &Discrepancy{Stream: stream, Version: y.Version, Field: "event", A: "none", B: "none"}
		switch {
		case inA && inB:
			field := x.differs(y, ofA.AsJSON)
			if field == "" {
				continue
			}
			found.Field, found.A, found.B = field, x.show(field, ofA.AsJSON), y.show(field, ofA.AsJSON)
		case inA:
			found.Version, found.A = x.Version, "event "+x.ID.String()
		default:
			found.B = "event " + y.ID.String()
		}
		return found, nil
	}
}

// FirstInOrder walks the first n events of two stores in their order, and returns where they
// differ first; nil where they do not. Events are compared as they were in their source.
func FirstInOrder(ctx context.Context, a, b *eventstore.Store, ofA, ofB *Digests, n int) (*Discrepancy, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left, right := pullAll(ctx, a, eventstore.Position{}), pullAll(ctx, b, eventstore.Position{})
	defer left.stop()
	defer right.stop()
	for range n {
		x, inA, errA := left.next()
		y, inB, errB := right.next()
		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}
		if !inA || !inB {
			return nil, fmt.Errorf("a store had %s, and holds fewer now", Count(n, "event"))
		}
		one, two := Restore(x, ofA.Source), Restore(y, ofB.Source)
		if one.Stream != two.Stream || one.Version != two.Version {
			next := func(o Original) string {
				return fmt.Sprintf("version %d of stream %q comes next", o.Version, clip(o.Stream))
			}
			return &Discrepancy{Stream: one.Stream, Version: one.Version, Field: "order", A: next(one), B: next(two)}, nil
		}
		if field := one.differs(two, ofA.AsJSON); field != "" {
			return &Discrepancy{Stream: one.Stream, Version: one.Version, Field: field, A: one.show(field, ofA.AsJSON), B: two.show(field, ofA.AsJSON)}, nil
		}
	}
	return nil, nil
}

// originals yields a stream's events as they were in the source of the store's digests.
// Where some were changed, they are picked from the whole store.
func originals(ctx context.Context, store *eventstore.Store, stream string, of *Digests) iter.Seq2[Original, error] {
	events := streamOf(ctx, store, stream, eventstore.ReadOptions{})
	if !of.Refused.None() {
		events = store.ReadAll(ctx, eventstore.ReadAllOptions{})
	}
	return func(yield func(Original, error) bool) {
		for event, err := range events {
			original := Restore(event, of.Source)
			if (err != nil || original.Stream == stream) && !yield(original, err) {
				return
			}
		}
	}
}

// streamOf yields a stream's events. One whose name may not be written, and that is
// there all the same, is picked from the whole store; a limit does not hold there.
func streamOf(ctx context.Context, store *eventstore.Store, stream string, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		refused := false
		for event, err := range store.ReadStream(ctx, stream, opts) {
			if refused = errors.Is(err, eventstore.ErrInvalid); refused {
				break
			}
			if !yield(event, err) {
				return
			}
		}
		if !refused {
			return
		}
		for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
			if (err != nil || event.Stream == stream && event.Version > opts.After) && !yield(event, err) {
				return
			}
		}
	}
}

// Difference names the first field in which two events differ: version, id,
// type, content type, data or metadata; "" where they agree. asJSON compares the data of
// JSON events by what it says.
func Difference(a, b eventstore.RecordedEvent, asJSON bool) string {
	switch {
	case a.Version != b.Version:
		return "version"
	case a.ID != b.ID:
		return "id"
	case a.Type != b.Type:
		return "type"
	case contentType(a) != contentType(b):
		return "content type"
	case !bytes.Equal(contentOf(a, asJSON), contentOf(b, asJSON)):
		return "data"
	case !maps.Equal(a.Metadata, b.Metadata):
		return "metadata"
	}
	return ""
}

// contentType returns what an event's content type means: none is JSON, which a store that
// takes the event says.
func contentType(event eventstore.RecordedEvent) string {
	return cmp.Or(event.ContentType, eventstore.JSONContentType)
}

// show returns a field's value for people.
func show(event eventstore.RecordedEvent, field string) string {
	switch field {
	case "version":
		return fmt.Sprint(event.Version)
	case "id":
		return event.ID.String()
	case "type":
		return fmt.Sprintf("%q", clip(event.Type))
	case "content type":
		return fmt.Sprintf("%q", clip(event.ContentType))
	case "metadata":
		return clip(string(cloudevents.AppendMetadata(nil, event.Metadata)))
	}
	return fmt.Sprintf("%q (%d bytes, SHA-256 %x)", clip(string(event.Data)), len(event.Data), sha256.Sum256(event.Data))
}
