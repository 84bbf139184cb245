package esdbtest

import (
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
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
	if err := r.srv.authorize(r.stream.Context(), name, rightRead); err != nil {
		return err
	}
	if err := r.srv.admit(r.stream.Context(), false); err != nil {
		return err
	}
	if err := r.checkOptions(); err != nil {
		return err
	}
	if err := r.srv.beforeRead(r.stream.Context(), r.call); err != nil {
		return err
	}
	backwards := r.options.GetReadDirection() == streams.ReadReq_Options_Backwards
	keep, err := r.srv.parseFilter(r.options)
	switch {
	case err != nil:
		return err
	case name == "":
		return handlerError()
	case subscribe && isStream:
		return r.subscribeStream(one.Stream)
	case subscribe:
		return r.subscribeAll(keep)
	case isStream && backwards:
		return r.streamBackwards(one.Stream)
	case isStream:
		return r.streamForwards(one.Stream)
	default:
		return r.all(keep, backwards)
	}
}

// checkOptions refuses what the server has no reader for, in its words. It is the
// case of a oneof that counts; the message inside may be missing.
func (r *reader) checkOptions() error {
	var stream, count, filter, direction string
	switch r.options.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		stream = "Stream"
	case *streams.ReadReq_Options_All:
		stream = "All"
	default:
		return notOneOf("ReadReq+Types+Options+StreamOption")
	}
	switch r.options.GetCountOption().(type) {
	case *streams.ReadReq_Options_Count:
		count = "Count"
	case *streams.ReadReq_Options_Subscription:
		count = "Subscription"
	default:
		count = "None"
	}
	switch r.options.GetFilterOption().(type) {
	case *streams.ReadReq_Options_Filter:
		filter = "Filter"
	case *streams.ReadReq_Options_NoFilter:
		filter = "NoFilter"
	default:
		filter = "None"
	}
	direction = r.options.GetReadDirection().String()
	if count == "None" || filter == "None" ||
		(stream == "Stream" && filter == "Filter") ||
		(count == "Subscription" && direction == streams.ReadReq_Options_Backwards.String()) {
		return invalidArgument(fmt.Sprintf("The combination of (%s, %s, %s, %s) is invalid.", stream, count, direction, filter))
	}
	if r.options.GetUuidOption().GetContent() == nil {
		return invalidArgument("")
	}
	return nil
}

// page runs what comes before each page: the hook, and a look at the right to
// read, which may be taken while a call is under way.
func (r *reader) page() error {
	if err := r.srv.authorize(r.stream.Context(), r.call.Stream, rightRead); err != nil {
		return err
	}
	return r.srv.beforePage(r.stream.Context(), r.call)
}

func (r *reader) send(rec *record) error {
	return r.stream.Send(r.encoder.event(r.srv.store.resolve(rec, r.options.GetResolveLinks())))
}

// wait returns when the channel is closed, or with the end of the call.
func (r *reader) wait(wake <-chan struct{}) error {
	select {
	case <-wake:
		return nil
	case <-r.stream.Context().Done():
		return status.FromContextError(r.stream.Context().Err()).Err()
	}
}

// pageLimit is how many of the remaining events one page takes.
func pageLimit(remaining uint64) int {
	return int(min(remaining, pageSize))
}

// toEnd is the end of a stream as a revision to read from: what the largest unsigned
// number is as a signed one, which means no stream where it is expected.
const toEnd = expectNoStream
