package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
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

// Equal tells whether both stores hold the same streams with the same events.
func (r Report) Equal() bool { return r.Differing == 0 }

// Discrepancy is a place where two stores differ.
type Discrepancy struct {
	Stream  string
	Version uint64
	// Field is "event" where one store has no event there, otherwise id, type,
	// content type, data or metadata.
	Field string
	// A and B are what the stores hold there, shortened.
	A, B string
}

// Verify compares two stores stream by stream. It holds one digest for each
// stream in memory. First is the first difference of the first differing stream,
// in the streams' alphabetical order.
func Verify(ctx context.Context, a, b *eventstore.Store, progress func(Progress)) (Report, error) {
	asJSON := !keepsBytes(a, b)
	var digests [2]map[string]*streamDigest
	var counts [2]int
	group, groupCtx := errgroup.WithContext(ctx)
	ticks := make(chan int, 16) // reads of both scans, reported by one goroutine
	for i, store := range []*eventstore.Store{a, b} {
		group.Go(func() (err error) {
			digests[i], counts[i], err = scan(groupCtx, store, asJSON, ticks)
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
	report := Report{AsJSON: asJSON, A: summarize(digests[0], counts[0]), B: summarize(digests[1], counts[1])}
	var first string
	for _, name := range slices.Sorted(maps.Keys(union(digests[0], digests[1]))) {
		if same(digests[0][name], digests[1][name]) {
			continue
		}
		if report.Differing == 0 {
			first = name
		}
		report.Differing++
	}
	if report.Differing == 0 {
		return report, nil
	}
	found, err := firstDifference(ctx, a, b, first, asJSON)
	report.First = found
	return report, err
}

// streamDigest is a chain: the digest of the digest so far and the next event.
type streamDigest struct {
	sum    Digest
	events uint64
}

func same(a, b *streamDigest) bool { return a != nil && b != nil && *a == *b }

func union[V any](a, b map[string]V) map[string]struct{} {
	names := make(map[string]struct{}, max(len(a), len(b)))
	for _, m := range []map[string]V{a, b} {
		for name := range m {
			names[name] = struct{}{}
		}
	}
	return names
}

func scan(ctx context.Context, store *eventstore.Store, asJSON bool, ticks chan<- int) (map[string]*streamDigest, int, error) {
	streams := make(map[string]*streamDigest)
	count := 0
	var canonical []byte
	for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			return nil, 0, err
		}
		s := streams[event.Stream]
		if s == nil {
			s = &streamDigest{}
			streams[event.Stream] = s
		}
		canonical = appendCanonical(append(canonical[:0], s.sum[:]...), event, asJSON)
		s.sum = sha256.Sum256(canonical)
		s.events++
		if count++; count%batchEvents == 0 {
			ticks <- batchEvents
		}
	}
	ticks <- count % batchEvents
	return streams, count, nil
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
	field([]byte(event.ContentType))
	field(contentOf(event, asJSON))
	for _, key := range slices.Sorted(maps.Keys(event.Metadata)) {
		field([]byte(key))
		field([]byte(event.Metadata[key]))
	}
	return b
}

func summarize(streams map[string]*streamDigest, events int) Summary {
	whole := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		s := streams[name]
		var line []byte
		line = binary.BigEndian.AppendUint64(line, uint64(len(name)))
		line = append(line, name...)
		line = binary.BigEndian.AppendUint64(line, s.events)
		_, _ = whole.Write(append(line, s.sum[:]...)) // a hash takes everything
	}
	return Summary{Streams: len(streams), Events: events, Digest: Digest(whole.Sum(nil))}
}

// firstDifference walks one stream in both stores at once.
func firstDifference(ctx context.Context, a, b *eventstore.Store, stream string, asJSON bool) (*Discrepancy, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left, right := pull(ctx, a, stream), pull(ctx, b, stream)
	defer left.stop()
	defer right.stop()
	for version := uint64(1); ; version++ {
		x, inA, errA := left.next()
		y, inB, errB := right.next()
		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}
		found := &Discrepancy{Stream: stream, Version: version, Field: "event", A: "none", B: "none"}
		switch {
		case !inA && !inB:
			return nil, fmt.Errorf("stream %q differed while it was read as a whole, but not event by event: was it being written?", clip(stream))
		case inA && inB:
			field := Difference(x, y, asJSON)
			if field == "" {
				continue
			}
			found.Field, found.A, found.B = field, show(x, field), show(y, field)
		case inA:
			found.A = "event " + x.ID.String()
		case inB:
			found.B = "event " + y.ID.String()
		}
		return found, nil
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
	case a.ContentType != b.ContentType:
		return "content type"
	case !bytes.Equal(contentOf(a, asJSON), contentOf(b, asJSON)):
		return "data"
	case !maps.Equal(a.Metadata, b.Metadata):
		return "metadata"
	}
	return ""
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
