package esdbtest

import (
	"errors"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// subscribeStream is a subscription to one stream; see subscribeAll for how it
// goes on.
func (r *reader) subscribeStream(options *streams.ReadReq_Options_StreamOptions) error {
	from, somewhere, err := streamFrom(options)
	if err != nil {
		return err
	}
	if !somewhere {
		return handlerError()
	}
	last, err := r.srv.store.lastToFollow(r.call.Stream)
	if err != nil {
		return storeFault("Subscribe", err)
	}
	f := streamFollower{reader: r, sent: from}
	switch _, start := options.GetRevisionOption().(*streams.ReadReq_Options_StreamOptions_Start); {
	case start:
		f.sent = -1
	case from == toEnd:
		f.sent = last
	}
	if err := r.stream.Send(confirmation()); err != nil {
		return err
	}
	return f.run()
}

// streamFollower is a subscription to one stream.
type streamFollower struct {
	*reader
	sent int64 // the revision after which it goes on; -1 for all
}

func (f *streamFollower) run() error {
	for {
		missing, err := f.catchUp()
		if err != nil {
			return err
		}
		if err := f.sendCaughtUp(missing, func() []byte {
			return caughtUpAtRevision(f.srv.opts.Now(), f.sent)
		}); err != nil {
			return err
		}
		if err := f.follow(); err != nil {
			return err
		}
	}
}

// catchUp reads pages until the stream's end. A stream that is missing has none.
func (f *streamFollower) catchUp() (missing bool, err error) {
	for next := f.sent + 1; ; {
		if err := f.page(); err != nil {
			return false, err
		}
		p, err := f.srv.store.streamForward(f.call.Stream, next, pageSize)
		missing := errors.Is(err, errNoStream)
		if err != nil && !missing {
			return false, storeFault("Subscribe", err)
		}
		for _, rec := range p.records {
			if err := f.send(rec); err != nil {
				return false, err
			}
		}
		next = p.next
		f.sent = next - 1 // also past what the metadata hide
		if p.end {
			return missing, nil
		}
	}
}

// follow sends events as they are written, whatever the metadata say of them,
// until too much waits. A tombstone is the last of them.
func (f *streamFollower) follow() error {
	for {
		if err := f.page(); err != nil {
			return err
		}
		l, tombstone := f.srv.store.liveOf(f.call.Stream, f.sent+1)
		if l.overflows {
			return nil
		}
		for _, rec := range l.records {
			if err := f.send(rec); err != nil {
				return err
			}
			f.sent = rec.revision
		}
		switch {
		case tombstone != nil:
			if err := f.send(tombstone); err != nil {
				return err
			}
			return deletedFault(f.call.Stream)
		case len(l.records) > 0:
			continue
		}
		if err := f.wait(l.wake); err != nil {
			return err
		}
	}
}

// lastToFollow is the stream's last revision, and an error where it is tombstoned.
func (s *store) lastToFollow(stream string) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.last(stream) == deletedRevision {
		return 0, &streamDeletedError{stream}
	}
	return s.last(stream), nil
}

// lastRevision is the stream's last revision, -1 without events.
func (s *store) lastRevision(stream string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(len(s.streams[stream])) - 1
}

// liveOf takes the stream's events from the revision on, and its tombstone.
func (s *store) liveOf(stream string, from int64) (l liveRecords, tombstone *record) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l.wake = s.wake
	if events := s.streams[stream]; from < int64(len(events)) {
		l.records = events[from:]
	}
	l.overflows = overflows(l.records, func(int, *record) int { return 1 })
	return l, s.gone[stream]
}
