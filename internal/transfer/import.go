package transfer

import (
	"context"
	"io"
	"iter"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Progress is how far a transfer has come.
type Progress struct {
	Result
	// Bytes is how much of a file has been read, a little ahead of the events.
	Bytes int64
}

// ImportOptions configures [Import]. The zero value, like nil, means the defaults.
type ImportOptions struct {
	// Progress, where not nil, is called after each batch.
	Progress func(Progress)
}

// Import stores the events of NDJSON text in a store, in their order, with their
// IDs and, where the line names it, at their versions; record times are kept
// where the backend can. A batch of up to 1000 events is one atomic append where
// the backend can write to several streams at once; otherwise each run of events
// of one stream is.
//
// Importing the same text again, or what is left of it after a failure, stores
// what is missing and changes nothing else.
//
// Errors: a *LineError for a line that cannot be read or that the store refuses,
// with every line before it stored; the store's errors; the context's.
func Import(ctx context.Context, to *eventstore.Store, r io.Reader, opts *ImportOptions) (Result, error) {
	var read atomic.Int64
	var progress func(Progress)
	if opts != nil && opts.Progress != nil {
		progress = func(p Progress) {
			p.Bytes = read.Load()
			opts.Progress(p)
		}
	}
	return Load(ctx, to, lines(r, &read), progress)
}

// Load is [Import] for events that come from elsewhere. progress may be nil.
func Load(ctx context.Context, to *eventstore.Store, records iter.Seq2[Record, error], progress func(Progress)) (Result, error) {
	w := newWriter(to)
	err := pipe(ctx, records, w, func() error {
		if progress != nil {
			progress(Progress{Result: w.result})
		}
		return nil
	})
	return w.result, err
}
