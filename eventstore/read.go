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
	req := ReadStreamRequest{Stream: stream, After: opts.After, Before: opts.Before, Backward: opts.Backward}
	return s.pages(ctx, opts.Limit, opts.Backward, yield, func(ctx context.Context, size PageSize) (Page, error) {
		req.PageSize = size
		page, err := s.backend.ReadStream(ctx, req)
		if err != nil || len(page.Events) == 0 {
			page.End = true // a stream has no holes: an empty page is its end
			return page, err
		}
		last := page.Events[len(page.Events)-1].Version
		if req.Backward {
			req.Before = last
			page.End = page.End || last == 1
		} else {
			req.After = last
		}
		return page, nil
	})
}

// ReadAll yields the events of all streams in the global order. A forward read
// ends at the store's head when the reader gets there; [Store.Subscribe] goes on.
// A backend without GlobalOrder refuses it with ErrUnsupported.
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
	req := ReadAllRequest{After: opts.After, Before: opts.Before, Backward: opts.Backward, Filter: opts.Filter}
	return s.pages(ctx, opts.Limit, opts.Backward, yield, func(ctx context.Context, size PageSize) (Page, error) {
		if !req.Before.IsZero() && !req.After.Before(req.Before) {
			return Page{End: true}, nil // an earlier page has considered everything
		}
		req.PageSize = size
		page, err := s.backend.ReadAll(ctx, req)
		switch {
		case err != nil:
		case req.Backward:
			req.Before = page.Next
		default:
			req.After = page.Next
		}
		return page, err
	})
}

// pages yields the events of page after page, up to limit where that is not 0.
//
// From the second page on, when a read has shown to be a long one, the next page
// is fetched while the caller works on this one: backend and caller work at the
// same time, and two pages are in memory.
func (s *Store) pages(ctx context.Context, limit int, backward bool, yield func(RecordedEvent, error) bool, next func(context.Context, PageSize) (Page, error)) error {
	size := s.pageSize()
	if limit > 0 {
		size.MaxEvents = min(size.MaxEvents, limit)
	}
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
		size.MaxEvents = s.longPage
		if limit > 0 {
			left -= len(page.Events)
			size.MaxEvents = min(size.MaxEvents, left)
			full = left <= 0
		}
		if !first && !page.End && !full {
			ahead.start(ctx, func(ctx context.Context) (Page, error) { return next(ctx, size) })
		}
		for _, event := range page.Events {
			if !yield(event, nil) {
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
