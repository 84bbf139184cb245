package esdb

import (
	"context"
	"errors"
	"io"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/metadata"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// streamRead asks for events of one stream.
type streamRead struct {
	stream   string
	backward bool
	from     uint64 // the first revision; backward, fromEnd is the stream's end
	count    uint64
	links    bool // show what links point to
}

const fromEnd = ^uint64(0)

// serverFilter selects events of $all by the beginnings of their streams' names,
// or of their types; without either by a regular expression on the name. The zero
// value selects all.
type serverFilter struct {
	streams, types []string
	regex          string
}

// readStream gives up to count events to take until that returns false. The error
// is errNoStream where there is none.
func (c *connection) readStream(ctx context.Context, r streamRead, take func(*recorded) bool) error {
	of := &streams.ReadReq_Options_StreamOptions{
		StreamIdentifier: streamIdentifier(r.stream),
		RevisionOption:   &streams.ReadReq_Options_StreamOptions_Revision{Revision: r.from},
	}
	if r.backward && r.from == fromEnd {
		of.RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
	}
	options := readOptions(r.backward, serverFilter{})
	options.StreamOption = &streams.ReadReq_Options_Stream{Stream: of}
	options.CountOption = &streams.ReadReq_Options_Count{Count: r.count}
	options.ResolveLinks = r.links
	return c.read(ctx, options, take)
}

// readAll gives up to count events of $all to take until that returns false. It
// begins at a position, which forward is included, or where that is zero at the
// beginning or end of all.
func (c *connection) readAll(ctx context.Context, from eventstore.Position, backward bool, filter serverFilter, count int, take func(*recorded) bool) error {
	options := readOptions(backward, filter)
	options.StreamOption = allFrom(from, backward)
	options.CountOption = &streams.ReadReq_Options_Count{Count: uint64(count)}
	return c.read(ctx, options, take)
}

func (c *connection) read(ctx context.Context, options *streams.ReadReq_Options, take func(*recorded) bool) error {
	f, err := c.start(ctx, options)
	if err != nil {
		return err
	}
	defer f.close()
	for {
		m, err := f.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.event != nil && !take(m.event):
			return nil
		}
	}
}

// follow begins a subscription to $all after a position.
func (c *connection) follow(ctx context.Context, after eventstore.Position, filter serverFilter) (*feed, error) {
	options := readOptions(false, filter)
	options.StreamOption = allFrom(after, false)
	options.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
	return c.start(ctx, options)
}

// feed is a read or subscription under way.
type feed struct {
	conn *connection
	node *node
	call streams.Streams_ReadClient
	end  context.CancelFunc
}

// message is what a feed brings: an event or a signal.
type message struct {
	event      *recorded
	checkpoint eventstore.Position // zero: none
	caughtUp   bool
}

func (c *connection) start(ctx context.Context, options *streams.ReadReq_Options) (*feed, error) {
	n, err := c.use(ctx)
	if err != nil {
		return nil, err
	}
	// A follower may not have what was acknowledged. Writes need no such word.
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "requires-leader", "true"))
	call, err := n.streams.Read(ctx, &streams.ReadReq{Options: options})
	if err != nil {
		err = c.failed(n, err, nil)
		cancel()
		c.release(n)
		return nil, err
	}
	return &feed{conn: c, node: n, call: call, end: cancel}, nil
}

// next returns the next message; io.EOF itself ends a read.
func (f *feed) next() (message, error) {
	for {
		answer, err := f.call.Recv()
		if err == io.EOF { //nolint:errorlint // gRPC's own: an error of the call may wrap one
			return message{}, io.EOF
		}
		if err != nil {
			return message{}, f.conn.failed(f.node, err, f.call.Trailer())
		}
		switch content := answer.GetContent().(type) {
		case *streams.ReadResp_Event:
			event, err := readEvent(content.Event)
			return message{event: event}, err
		case *streams.ReadResp_Checkpoint_:
			at := content.Checkpoint
			return message{checkpoint: eventstore.NewPosition(at.GetCommitPosition(), at.GetPreparePosition())}, nil
		case *streams.ReadResp_CaughtUp_:
			return message{caughtUp: true}, nil
		case *streams.ReadResp_StreamNotFound_:
			return message{}, errNoStream
		}
	}
}

// close ends the call; what the server has sent ahead is dropped.
func (f *feed) close() {
	f.end()
	f.conn.release(f.node)
}

func readOptions(backward bool, filter serverFilter) *streams.ReadReq_Options {
	options := &streams.ReadReq_Options{
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption: &streams.ReadReq_Options_UUIDOption{
			Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}},
		},
	}
	if backward {
		options.ReadDirection = streams.ReadReq_Options_Backwards
	}
	f := &streams.ReadReq_Options_FilterOptions{
		Window:                       &streams.ReadReq_Options_FilterOptions_Max{Max: searchWindow},
		CheckpointIntervalMultiplier: 1,
	}
	switch {
	case filter.types != nil:
		f.Filter = &streams.ReadReq_Options_FilterOptions_EventType{EventType: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: filter.types}}
	case filter.streams != nil || filter.regex != "":
		f.Filter = &streams.ReadReq_Options_FilterOptions_StreamIdentifier{
			StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: filter.streams, Regex: filter.regex},
		}
	default:
		return options
	}
	options.FilterOption = &streams.ReadReq_Options_Filter{Filter: f}
	return options
}

// searchWindow is how many events the server looks at before it looks whether
// the caller is still there, and between two checkpoints of a subscription.
const searchWindow = 512

func allFrom(from eventstore.Position, backward bool) *streams.ReadReq_Options_All {
	all := &streams.ReadReq_Options_AllOptions{}
	commit, prepare := from.Words()
	switch {
	case !from.IsZero():
		all.AllOption = &streams.ReadReq_Options_AllOptions_Position{Position: &streams.ReadReq_Options_Position{CommitPosition: commit, PreparePosition: prepare}}
	case backward:
		all.AllOption = &streams.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
	default:
		all.AllOption = &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}
	}
	return &streams.ReadReq_Options_All{All: all}
}
