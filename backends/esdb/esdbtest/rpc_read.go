package esdbtest

import (
	"errors"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reader answers one Read call, which is a read or a subscription.
type reader struct {
	srv     *Server
	stream  streams.Streams_ReadServer
	options *streams.ReadReq_Options
	encoder encoder
	call    Call
}

// Read implements Streams.
func (s *streamsService) Read(req *streams.ReadReq, stream streams.Streams_ReadServer) error {
	options := req.GetOptions()
	r := &reader{srv: s.srv, stream: stream, options: options, encoder: newEncoder(options)}
	return sendTrailers(stream.SetTrailer, r.serve())
}

func (r *reader) serve() error {
	name := streamAll
	one, isStream := r.options.GetStreamOption().(*streams.ReadReq_Options_Stream)
	if isStream {
		name = string(one.Stream.GetStreamIdentifier().GetStreamName())
	}
	r.call = Call{Method: MethodRead, Stream: name}
	_, subscribe := r.options.GetCountOption().(*streams.ReadReq_Options_Subscription)
	if subscribe {
		r.call.Method = MethodSubscribe
	}
	if name == "" {
		return handlerError()
	}
	if err := r.srv.authorize(r.stream.Context(), name, rightRead); err != nil {
		return err
	}
	if err := r.srv.admit(r.stream.Context(), false); err != nil {
		return err
	}
	backwards := r.options.GetReadDirection() == streams.ReadReq_Options_Backwards
	keep, err := parseFilter(r.options)
	switch {
	case err != nil:
		return err
	case isStream && keep.set, subscribe && backwards:
		return invalidArgument("this combination of read options is invalid")
	case subscribe && isStream:
		return r.subscribeStream(one.Stream)
	case subscribe:
		return r.subscribeAll(keep)
	case r.options.GetCount() == 0:
		return handlerError()
	case isStream && backwards:
		return r.streamBackwards(one.Stream)
	case isStream:
		return r.streamForwards(one.Stream)
	default:
		return r.all(keep, backwards)
	}
}

// page runs the hook that comes before each page.
func (r *reader) page() error {
	return r.srv.beforePage(r.stream.Context(), r.call)
}

func (r *reader) send(rec *record) error {
	return r.stream.Send(r.encoder.event(r.srv.store.resolve(rec, r.options.GetResolveLinks())))
}

// pageLimit is how many of the remaining events one page takes.
func pageLimit(remaining uint64) int {
	return int(min(remaining, pageSize))
}

func (r *reader) streamForwards(options *streams.ReadReq_Options_StreamOptions) error {
	var from int64
	switch o := options.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Start:
	case *streams.ReadReq_Options_StreamOptions_Revision:
		from = readRevision(o.Revision)
	default: // from the end there is nothing forward, and the server does not foresee it
		return handlerError()
	}
	if from == math.MaxInt64 {
		return handlerError()
	}
	remaining := r.options.GetCount()
	for first := true; ; first = false {
		if err := r.page(); err != nil {
			return err
		}
		p, err := r.srv.store.streamForward(r.call.Stream, from, pageLimit(remaining), false)
		if err != nil {
			return r.streamError(err)
		}
		if first && len(p.records) == 0 && p.next != from && r.compatible() {
			if err := r.stream.Send(firstPosition(p.next)); err != nil {
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
	var from int64
	switch o := options.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Start:
	case *streams.ReadReq_Options_StreamOptions_End:
		from = math.MaxInt64
	case *streams.ReadReq_Options_StreamOptions_Revision:
		from = readRevision(o.Revision)
	default:
		return handlerError()
	}
	remaining := r.options.GetCount()
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

// all reads $all in one direction.
func (r *reader) all(keep filter, backwards bool) error {
	from, _, err := r.allPosition()
	if err != nil {
		return err
	}
	index, err := r.srv.store.indexAt(from, backwards)
	if err != nil {
		return err
	}
	for remaining := r.options.GetCount(); ; {
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

// allPosition is where a read of $all starts; the end is the largest number.
func (r *reader) allPosition() (commit, prepare uint64, err error) {
	switch o := r.options.GetAll().GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Start:
		return 0, 0, nil
	case *streams.ReadReq_Options_AllOptions_End:
		return math.MaxUint64, math.MaxUint64, nil
	case *streams.ReadReq_Options_AllOptions_Position:
		commit, prepare = o.Position.GetCommitPosition(), o.Position.GetPreparePosition()
		if commit < prepare {
			return 0, 0, handlerError()
		}
		return commit, prepare, nil
	}
	return 0, 0, handlerError()
}

// indexAt is the index of the event at the position, or of the first behind it.
// A forward read begins with that event, a backward one before it.
func (s *store) indexAt(position uint64, backwards bool) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if position == math.MaxUint64 {
		return int64(len(s.records)), nil
	}
	// Forward there is nothing beyond the end; backward it is an error.
	if !s.validPosition(position) || (backwards && position > s.end) {
		return 0, unreadablePosition()
	}
	index := s.indexAfter(position)
	if index > 0 && s.records[index-1].position == position {
		index--
	}
	return int64(index), nil
}

func unreadablePosition() error {
	return status.Error(codes.Unknown, "Unexpected ReadAllResult: Error")
}

// readRevision is a revision to read from, cut to what the server can count.
func readRevision(revision uint64) int64 {
	return int64(min(revision, math.MaxInt64))
}
