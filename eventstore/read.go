package eventstore

import (
	"context"
	"iter"
)

// ReadOptions says which part of a stream to read. The zero value is all of it.
type ReadOptions struct {
	// After and Before are exclusive bounds on the version; 0 is no bound.
	After, Before uint64
	// Backward yields the highest version first; the bounds stay as they are.
	Backward bool
	// Limit is the most events to yield; 0 is no limit.
	Limit int
}

// ReadAllOptions says which part of the global order to read. The zero value is
// all of it.
type ReadAllOptions struct {
	// After and Before are exclusive bounds; the zero Position is no bound.
	After, Before Position
	// Backward yields the highest position first; the bounds stay as they are.
	Backward bool
	// Limit is the most events to yield; 0 is no limit.
	Limit  int
	Filter Filter
}

// ReadStream yields a stream's events in the order of their versions. An absent
// stream yields nothing. A forward read ends where the stream ends when the
// reader gets there.
func (s *Store) ReadStream(ctx context.Context, stream string, opts ReadOptions) iter.Seq2[RecordedEvent, error] {
	return single(func(yield func(RecordedEvent, error) bool) {
		if err := s.readStream(ctx, stream, opts, yield); err != nil {
			yield(RecordedEvent{}, opError("read stream", stream, err))
		}
	})
}

func (s *Store) readStream(ctx context.Context, stream string, opts ReadOptions, yield func(RecordedEvent, error) bool) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.checkRead(stream, opts); err != nil {
		return err
	}
	r := &streamReader{backend: s.backend, req: ReadStreamRequest{Stream: stream, After: opts.After, Before: opts.Before, Backward: opts.Backward}}
	return s.read(ctx, stream, r.next, opts.Limit, opts.Backward, yield)
}

// streamReader reads a stream page by page.
type streamReader struct {
	backend Backend
	req     ReadStreamRequest
}

func (r *streamReader) next(ctx context.Context, size PageSize) (Page, error) {
	r.req.PageSize = size
	page, err := r.backend.ReadStream(ctx, r.req)
	if err != nil || len(page.Events) == 0 {
		page.End = true // a stream has no holes: an empty page is its end
		return page, err
	}
	last := page.Events[len(page.Events)-1].Version
	if r.req.Backward {
		r.req.Before = last
		page.End = page.End || last == 1
	} else {
		r.req.After = last
	}
	return page, nil
}

// ReadAll yields the events of all streams in the global order. A forward read
// ends at the store's head when the reader gets there; [Store.Subscribe] goes on.
// A backend without GlobalOrder refuses it with ErrUnsupported. A long read whose
// store is restored from a backup meanwhile ends with ErrForeignCheckpoint or
// ErrCheckpointAhead.
func (s *Store) ReadAll(ctx context.Context, opts ReadAllOptions) iter.Seq2[RecordedEvent, error] {
	return single(func(yield func(RecordedEvent, error) bool) {
		if err := s.readAll(ctx, opts, yield); err != nil {
			yield(RecordedEvent{}, opError("read all", "", err))
		}
	})
}

func (s *Store) readAll(ctx context.Context, opts ReadAllOptions, yield func(RecordedEvent, error) bool) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.checkReadAll(opts); err != nil {
		return err
	}
	r := &allReader{backend: s.backend, req: ReadAllRequest{
		After: Place{Position: opts.After}, Before: opts.Before, Backward: opts.Backward, Filter: opts.Filter.clone(),
	}}
	return s.read(ctx, "", r.next, opts.Limit, opts.Backward, yield)
}

// allReader reads the global order page by page.
type allReader struct {
	backend Backend
	req     ReadAllRequest
}

func (r *allReader) next(ctx context.Context, size PageSize) (Page, error) {
	if !r.req.Before.IsZero() && !r.req.After.Position.Before(r.req.Before) {
		return Page{End: true}, nil // an earlier page has considered everything
	}
	r.req.PageSize = size
	page, err := r.backend.ReadAll(ctx, r.req)
	switch {
	case err != nil:
	case r.req.Backward:
		r.req.Before = page.Next.Position
	case r.req.After.Position.Before(page.Next.Position):
		r.req.After = page.Next
	}
	return page, err
}

// read yields the pages of a reader and tells the tracer.
func (s *Store) read(ctx context.Context, stream string, next pager, limit int, backward bool, yield func(RecordedEvent, error) bool) error {
	ctx = s.traceStart(ctx, TraceStart{Operation: OperationRead, Stream: stream})
	count := 0
	var err error
	defer func() { s.traceEnd(ctx, TraceEnd{Operation: OperationRead, Events: count, Err: err}) }()
	err = s.pages(ctx, limit, backward, next, func(event RecordedEvent) bool {
		count++
		return yield(event, nil)
	})
	return err
}

// pager returns a reader's next page.
type pager func(context.Context, PageSize) (Page, error)

// pages yields the events of page after page, up to limit where that is not 0.
//
// From the second page on, when a read has shown to be a long one, the next page
// is fetched while the caller works on this one: backend and caller work at the
// same time, and two pages are in memory. A reader is used by one goroutine at a
// time: readAhead.take waits for the one that fetches.
func (s *Store) pages(ctx context.Context, limit int, backward bool, next pager, yield func(RecordedEvent) bool) error {
	size := s.pageSize()
	if limit > 0 {
		size.MaxEvents = min(size.MaxEvents, limit)
	}
	most := s.options.PageSize
	var ahead readAhead
	defer ahead.stop()
	for first, left := true, limit; ; first = false {
		page, early := ahead.take()
		if err := s.ready(ctx); err != nil {
			return err
		}
		if !early {
			var err error
			page, err = again(ctx, s, func() (Page, error) { return next(ctx, size) })
			if err != nil {
				return err
			}
		}
		full := false
		if most < s.longPage {
			most = min(pageGrowth*most, s.longPage)
		}
		size.MaxEvents = most
		if limit > 0 {
			left -= len(page.Events)
			size.MaxEvents = min(size.MaxEvents, left)
			full = left <= 0
		}
		if !first && !page.End && !full {
			ahead.start(ctx, func(ctx context.Context) (Page, error) { return next(ctx, size) })
		}
		for _, event := range page.Events {
			if !yield(event) {
				return nil
			}
		}
		// A page that was read ahead knows where the end was before the caller got
		// there; a forward read goes on with what has come since.
		if full || (page.End && (backward || !early)) {
			return nil
		}
	}
}

// StreamVersion returns the version of a stream's last event; 0 where it has none.
func (s *Store) StreamVersion(ctx context.Context, stream string) (uint64, error) {
	for event, err := range s.ReadStream(ctx, stream, ReadOptions{Backward: true, Limit: 1}) {
		return event.Version, err
	}
	return 0, nil
}

// readOne asks once for the event of a stream at a version. The page is empty where
// there is none.
func (s *Store) readOne(ctx context.Context, stream string, version uint64) (Page, error) {
	return s.backend.ReadStream(ctx, ReadStreamRequest{
		Stream: stream, After: version - 1, Before: version + 1, PageSize: PageSize{MaxEvents: 1, MaxBytes: 1},
	})
}
