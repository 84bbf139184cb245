package esdbtest

import (
	"errors"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// streamFrom is where a read of a stream begins. It begins nowhere when the
// request does not say: the answer is empty then.
func streamFrom(options *streams.ReadReq_Options_StreamOptions) (from int64, somewhere bool, err error) {
	switch o := options.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Start:
		return 0, true, nil
	case *streams.ReadReq_Options_StreamOptions_End:
		return toEnd, true, nil
	case *streams.ReadReq_Options_StreamOptions_Revision:
		from, err := signedRevision(o.Revision)
		return from, true, err
	}
	return 0, false, nil
}

func (r *reader) streamForwards(options *streams.ReadReq_Options_StreamOptions) error {
	from, somewhere, err := streamFrom(options)
	if err != nil || !somewhere {
		return err
	}
	remaining := r.options.GetCount()
	if remaining == 0 || from == toEnd {
		return unexpectedResult("ReadStream", "Error")
	}
	for first := true; ; first = false {
		if err := r.page(); err != nil {
			return err
		}
		p, err := r.srv.store.streamForward(r.call.Stream, from, pageLimit(remaining))
		if err != nil {
			return r.streamError(err)
		}
		if first && len(p.records) == 0 && p.end && r.compatible() {
			if err := r.stream.Send(firstPosition(r.srv.store.lastRevision(r.call.Stream) + 1)); err != nil {
				return err
			}
		}
		for _, rec := range p.records {
			if err := r.send(rec); err != nil {
				return err
			}
		}
		remaining -= uint64(len(p.records))
		from = p.next
		if p.end || remaining == 0 {
			return r.lastPosition()
		}
	}
}

func (r *reader) streamBackwards(options *streams.ReadReq_Options_StreamOptions) error {
	from, somewhere, err := streamFrom(options)
	if err != nil || !somewhere {
		return err
	}
	if from == toEnd {
		from = deletedRevision
	}
	remaining := r.options.GetCount()
	if remaining == 0 {
		return unexpectedResult("ReadStream", "Error")
	}
	for {
		if err := r.page(); err != nil {
			return err
		}
		p, err := r.srv.store.streamBackward(r.call.Stream, from, pageLimit(remaining))
		if err != nil {
			return r.streamError(err)
		}
		for _, rec := range p.records {
			if err := r.send(rec); err != nil {
				return err
			}
		}
		remaining -= uint64(len(p.records))
		from = p.next
		if p.end || remaining == 0 {
			return r.lastPosition()
		}
	}
}

// streamError answers a stream that cannot be read: one that is not found is
// told with a message, one that is tombstoned with an error.
func (r *reader) streamError(err error) error {
	if errors.Is(err, errNoStream) {
		return r.stream.Send(streamNotFound(r.call.Stream))
	}
	return storeFault("Read", err)
}

// compatible reports whether the client understands stream positions. The Go
// client does not ask for them and would panic at one.
func (r *reader) compatible() bool {
	return r.options.GetControlOption().GetCompatibility() >= 1
}

func (r *reader) lastPosition() error {
	if !r.compatible() {
		return nil
	}
	return r.stream.Send(&streams.ReadResp{Content: &streams.ReadResp_LastStreamPosition{
		LastStreamPosition: wireRevision(r.srv.store.lastRevision(r.call.Stream)),
	}})
}

func firstPosition(revision int64) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_FirstStreamPosition{FirstStreamPosition: wireRevision(revision)}}
}
