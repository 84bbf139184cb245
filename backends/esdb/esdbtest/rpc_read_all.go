package esdbtest

import (
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// logPosition is a position of $all as the server keeps it. Both numbers are the
// same for an event; a place between two events may have a smaller prepare number.
type logPosition struct{ commit, prepare int64 }

// beforeStart is where a reader of everything stands. Sent to a client it would be
// the largest number, which means the end.
func beforeStart() logPosition { return logPosition{-1, -1} }

// endOfLog is the end, wherever that is.
func endOfLog() logPosition { return logPosition{math.MaxInt64, math.MaxInt64} }

func (r *record) at() logPosition { return logPosition{r.position, r.position} }

func (p logPosition) before(other logPosition) bool {
	return p.commit < other.commit || (p.commit == other.commit && p.prepare < other.prepare)
}

// allFrom is where a read of $all begins. It begins nowhere when the request does
// not say: the answer is empty then.
func allFrom(options *streams.ReadReq_Options_AllOptions) (from logPosition, somewhere bool, err error) {
	switch o := options.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Start:
		return beforeStart(), true, nil
	case *streams.ReadReq_Options_AllOptions_End:
		return endOfLog(), true, nil
	case *streams.ReadReq_Options_AllOptions_Position:
		commit, prepare := o.Position.GetCommitPosition(), o.Position.GetPreparePosition()
		switch {
		case commit == math.MaxUint64 && prepare == math.MaxUint64:
			return endOfLog(), true, nil
		case commit < prepare, commit > math.MaxInt64:
			return logPosition{}, false, handlerError()
		}
		return logPosition{int64(commit), int64(prepare)}, true, nil
	}
	return logPosition{}, false, nil
}

// all reads $all in one direction.
func (r *reader) all(keep filter, backwards bool) error {
	from, somewhere, err := allFrom(r.options.GetAll())
	if err != nil || !somewhere {
		return err
	}
	if keep.window == 0 {
		return handlerError()
	}
	remaining := r.options.GetCount()
	if remaining == 0 {
		return r.wait(nil) // the server reads pages of no events, one after another
	}
	index, err := r.srv.store.indexToRead(from, backwards)
	if err != nil {
		return err
	}
	for {
		if err := r.page(); err != nil {
			return err
		}
		var p page
		if backwards {
			p = r.srv.store.allBackward(index, pageSize)
		} else {
			p = r.srv.store.allForward(index, pageLimit(remaining), keep.window, keep)
		}
		for _, rec := range p.records {
			if !keep.matches(rec) {
				continue
			}
			if err := r.send(rec); err != nil {
				return err
			}
			if remaining--; remaining == 0 {
				return nil
			}
		}
		index = p.next
		if p.end {
			return nil
		}
	}
}

// indexToRead is the index at which a read begins: forward that of the event at
// the position, or of the first behind it; backward the read takes what is before
// the index. Half a position is a place just before the event at it, and backward
// the server steps over one event more then.
func (s *store) indexToRead(from logPosition, backwards bool) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case from == beforeStart():
		return 0, nil
	case from == endOfLog():
		return int64(len(s.records)), nil
	case !s.validPosition(from.commit):
		return 0, unexpectedResult("ReadAll", "InvalidPosition")
	case backwards && from.commit > s.end: // forward there is nothing beyond the end
		return 0, unexpectedResult("ReadAll", "Error")
	}
	index := s.indexFrom(from.commit)
	if backwards && from.prepare < from.commit {
		index = max(index-1, 0)
	}
	return int64(index), nil
}
