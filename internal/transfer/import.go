package transfer

import (
	"context"
	"io"
	"slices"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Progress is how far a transfer has come.
type Progress struct {
	Result
	// Bytes is how much of a file has been read, a little ahead of the events.
	Bytes int64
	// Of a copy or export: everything of the source up to Copied is in the target, and
	// everything of the target up to Checked is the source's. Head was the source's last
	// event when it began.
	Copied, Checked, Head eventstore.Place
}

// ImportOptions configures [Import]. The zero value, like nil, means the defaults.
type ImportOptions struct {
	// Progress, where not nil, is called after each batch.
	Progress func(Progress)
	// OnRefused is what is done with a line that is no event, and with an event that
	// the store refuses: the first of these that helps. With none it ends the import.
	OnRefused []Remedy
}

// Import stores the events of NDJSON text in a store, in their order, with their
// IDs and, where the line names it, at their versions; record times are kept
// where the backend can. A batch of up to 1000 events is one atomic append where
// the backend can write to several streams at once; otherwise each run of events
// of one stream is.
//
// Importing the same text again, or what is left of it after a failure, stores
// what is missing and changes nothing else. Where the store forgets IDs, the streams
// of lines without a version are read first, and their IDs held in memory: about 50
// bytes for each event of these streams. Events that the store refuses are passed over
// where it holds them already by any remedy.
//
// Errors: a *LineError for a line that cannot be read or that the store refuses,
// with every line before it stored; the store's errors; the context's.
func Import(ctx context.Context, to *eventstore.Store, r io.Reader, opts *ImportOptions) (Result, error) {
	if opts == nil {
		opts = &ImportOptions{}
	}
	var read atomic.Int64
	parser := lineParser{Parser: NewParser(), most: longestLine(to.Limits())}
	parser.anyID = slices.Contains(opts.OnRefused, Rename)
	parser.anyLine = slices.Contains(opts.OnRefused, Park) || slices.Contains(opts.OnRefused, Skip)
	w := newWriter(to, opts.OnRefused)
	err := pipe(ctx, parser.lines(r, &read), w, func() error {
		if opts.Progress != nil {
			opts.Progress(Progress{Result: w.result, Bytes: read.Load()})
		}
		return nil
	})
	return w.result, err
}
