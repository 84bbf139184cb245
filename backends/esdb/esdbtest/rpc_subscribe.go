package esdbtest

import (
	"errors"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/status"
)

// A subscription catches up page by page and then follows the log. Each page
// comes with the channel that tells of the next write, taken under the same
// lock, so that no event falls between the two; and a slow client delays only
// its own pages, never a writer.

func (r *reader) subscribeStream(options *streams.ReadReq_Options_StreamOptions) error {
	next := int64(0)
	switch o := options.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Start:
	case *streams.ReadReq_Options_StreamOptions_End:
		next = r.srv.store.lastRevision(r.call.Stream) + 1
	case *streams.ReadReq_Options_StreamOptions_Revision:
		if o.Revision >= math.MaxInt64 {
			return handlerError()
		}
		next = int64(o.Revision) + 1 // after the one named
	default:
		return handlerError()
	}
	if err := r.stream.Send(confirmation()); err != nil {
		return err
	}
	live := false
	for {
		if err := r.page(); err != nil {
			return err
		}
		p, err := r.srv.store.streamForward(r.call.Stream, next, pageSize, live)
		missing := errors.Is(err, errNoStream)
		if err != nil && !missing {
			return storeFault("Subscribe", err)
		}
		next = p.next
		for _, rec := range p.records {
			if err := r.send(rec); err != nil {
				return err
			}
		}
		if !p.end {
			live = false // more than a page behind: catch up, and say so again
			continue
		}
		if !live {
			live = true
			if err := r.sendCaughtUp(missing); err != nil {
				return err
			}
		}
		if err := r.wait(p.wake); err != nil {
			return err
		}
	}
}

func (r *reader) subscribeAll(keep filter) error {
	if keep.set && keep.interval == 0 {
		return handlerError()
	}
	commit, prepare, err := r.allPosition()
	if err != nil {
		return err
	}
	if err := r.stream.Send(confirmation()); err != nil {
		return err
	}
	index, position, err := r.srv.store.indexToFollow(commit, prepare)
	if err != nil {
		return err // after the confirmation, as on the real server
	}
	f := follower{reader: r, keep: keep, index: index, position: position}
	return f.run()
}

// follower is a subscription to $all.
type follower struct {
	*reader
	keep       filter
	index      int64  // of the next record
	position   uint64 // nothing at or before it is sent; moves with what was considered
	checkpoint uint64 // the last one sent
	considered int    // records since the last checkpoint
}

func (f *follower) run() error {
	for {
		behind, err := f.catchUp()
		if err != nil {
			return err
		}
		// A subscription that starts at the end has nothing to checkpoint.
		if behind && f.keep.set {
			if err := f.sendCheckpoint(); err != nil {
				return err
			}
		}
		if err := f.sendCaughtUp(false); err != nil {
			return err
		}
		if err := f.follow(); err != nil {
			return err
		}
		// More than a page behind: catch up again from a checkpoint.
		if f.keep.set {
			if err := f.sendCheckpoint(); err != nil {
				return err
			}
		}
	}
}

// catchUp reads pages until the end and reports whether there were records.
func (f *follower) catchUp() (behind bool, err error) {
	f.considered = 0
	for {
		if err := f.page(); err != nil {
			return false, err
		}
		p := f.srv.store.allForward(f.index, pageSize, f.keep.window, f.keep)
		f.index = p.next
		for _, rec := range p.records {
			if rec.position <= f.position {
				continue
			}
			behind = true
			f.position = rec.position
			if err := f.sendKept(rec); err != nil {
				return false, err
			}
		}
		if p.end {
			return behind, nil
		}
		if f.considered += len(p.records); f.keep.set && f.considered >= f.keep.interval {
			f.considered %= f.keep.interval
			if err := f.sendCheckpoint(); err != nil {
				return false, err
			}
		}
	}
}

// follow sends records as they are written, until it is a page behind.
func (f *follower) follow() error {
	f.considered = 0
	for {
		if err := f.page(); err != nil {
			return err
		}
		p := f.srv.store.allForward(f.index, pageSize, pageSize, filter{})
		f.index = p.next
		for _, rec := range p.records {
			if rec.position <= f.position {
				continue
			}
			f.position = rec.position
			if err := f.sendKept(rec); err != nil {
				return err
			}
			if f.considered++; f.keep.set && f.considered >= f.keep.interval {
				f.considered = 0
				if err := f.sendCheckpoint(); err != nil {
					return err
				}
			}
		}
		if !p.end {
			return nil
		}
		if err := f.wait(p.wake); err != nil {
			return err
		}
	}
}

func (f *follower) sendKept(rec *record) error {
	if !f.keep.matches(rec) {
		return nil
	}
	return f.send(rec)
}

// sendCheckpoint names the last record considered, unless that was done.
func (f *follower) sendCheckpoint() error {
	if f.position <= f.checkpoint {
		return nil
	}
	f.checkpoint = f.position
	return f.stream.Send(checkpoint(f.position))
}

func (r *reader) sendCaughtUp(missingStream bool) error {
	if !r.srv.opts.atLeast(23, 10) || (missingStream && !r.srv.opts.atLeast(24, 2)) {
		return nil
	}
	return r.stream.Send(caughtUp())
}

func (r *reader) wait(wake <-chan struct{}) error {
	select {
	case <-wake:
		return nil
	case <-r.stream.Context().Done():
		return status.FromContextError(r.stream.Context().Err()).Err()
	}
}

// indexToFollow is the index of the first record behind the position, and the
// position itself, with the end replaced by the last record's. The event at the
// position is behind one that names a smaller prepare position: a client which
// remembers half a position gets that event again.
func (s *store) indexToFollow(commit, prepare uint64) (index int64, position uint64, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if commit == math.MaxUint64 {
		last := len(s.records) - 1
		return int64(last + 1), s.records[last].position, nil
	}
	if !s.validPosition(commit) {
		return 0, 0, invalidArgument("the position is invalid")
	}
	if prepare < commit {
		commit--
	}
	return int64(s.indexAfter(commit)), commit, nil
}
