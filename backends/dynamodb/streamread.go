package dynamodb

import (
	"context"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// tornFor is how long a read that shows a part of a transaction is made again,
// before the part that is missing counts as lost. How long the service takes to
// make all items of a transaction visible is not documented.
const tornFor = 2 * time.Second

// untorn makes a read again until it is whole. what says what is missing.
func untorn[T any](ctx context.Context, read func() (result T, what string, err error)) (T, error) {
	var none T
	began := time.Now()
	for pause := firstPause; ; pause = min(2*pause, 160*time.Millisecond) {
		result, what, err := read()
		if err != nil {
			return none, err
		}
		if what == "" {
			return result, nil
		}
		if time.Since(began) >= tornFor {
			return none, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, damaged("%s, still after %s", what, tornFor))
		}
		if err := sleep.For(ctx, pause); err != nil {
			return none, err
		}
	}
}

// backwardChunks reads the chunks of a stream from a version down, until the events
// of so many versions are there or the stream begins, and returns them in
// ascending order. The read is whole: without a hole, and not short of what the
// log was seen to hold.
func (b *Backend) backwardChunks(ctx context.Context, stream string, from, depth uint64) ([]*chunk, error) {
	return untorn(ctx, func() ([]*chunk, string, error) {
		want := min(b.seen.version(stream), from)
		var chunks []*chunk // descending
		next := from        // the version that the next chunk must reach
		for limit := firstLimit; ; limit *= 4 {
			items, more, err := b.client.query(ctx, span{partition: b.keys.stream(stream), low: 1, high: next, backward: true, limit: int(min(uint64(limit), depth))})
			if err != nil {
				return nil, "", err
			}
			for _, it := range items {
				c, err := decodeChunk(b.keys, &b.deflater, it)
				if err != nil {
					return nil, "", err
				}
				if len(chunks) == 0 {
					if want = max(want, min(c.upTo, from)); c.last() < want {
						return nil, missing(stream, c.last()+1, want), nil
					}
				} else if c.last()+1 != chunks[len(chunks)-1].first {
					return nil, missing(stream, c.last()+1, chunks[len(chunks)-1].first-1), nil
				}
				chunks = append(chunks, c)
				if c.first == 1 || min(chunks[0].last(), from)-c.first+1 >= depth {
					return ascending(chunks), "", nil
				}
				next = c.first - 1
			}
			if more {
				continue
			}
			if len(chunks) == 0 && want == 0 {
				return nil, "", nil
			}
			if len(chunks) == 0 {
				return nil, missing(stream, 1, want), nil
			}
			return nil, missing(stream, 1, chunks[len(chunks)-1].first-1), nil
		}
	})
}

// firstLimit is how many items are read first where a stream's end is looked for:
// most streams have fewer, and what was read and is not needed was paid for.
const firstLimit = 32

func ascending(chunks []*chunk) []*chunk {
	for i, j := 0, len(chunks)-1; i < j; i, j = i+1, j-1 {
		chunks[i], chunks[j] = chunks[j], chunks[i]
	}
	return chunks
}

func missing(stream string, from, to uint64) string {
	return fmt.Sprintf("stream %q lacks its versions %d to %d", stream, from, to)
}

// loadTail reads what is known of a stream's end.
func (b *Backend) loadTail(ctx context.Context, stream string, depth uint64) (*tail, error) {
	chunks, err := b.backwardChunks(ctx, stream, mostSort, depth)
	if err != nil {
		return nil, err
	}
	if len(chunks) == 0 {
		return &tail{from: 1, depth: depth}, nil
	}
	t := tailOf(chunks)
	t.depth = depth
	return t, nil
}

func tailOf(chunks []*chunk) *tail {
	t := &tail{version: chunks[len(chunks)-1].last(), from: chunks[0].first}
	t.events = make([]tailEvent, 0, t.version-t.from+1)
	for _, c := range chunks {
		for _, event := range c.events {
			t.events = append(t.events, tailEvent{id: event.ID, position: eventstore.NewPosition(c.seq, event.index), at: event.at})
		}
	}
	return t
}

// chunkAt reads the chunk with one event of a stream.
func (b *Backend) chunkAt(ctx context.Context, stream string, version uint64) (*chunk, error) {
	chunks, err := b.backwardChunks(ctx, stream, version, 1)
	if err != nil {
		return nil, err
	}
	if len(chunks) == 0 || chunks[0].last() < version {
		return nil, damaged("stream %q has no version %d, and the log says so", stream, version)
	}
	return chunks[0], nil
}
