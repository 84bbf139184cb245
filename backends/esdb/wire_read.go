package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

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
	return c.read(ctx, options, order{stream: r.stream, backward: r.backward, first: r.from}, take)
}

// readAll gives up to count events of $all to take until that returns false. It
// begins at a position, which forward is included, or where that is zero at the
// beginning or end of all.
func (c *connection) readAll(ctx context.Context, from eventstore.Position, backward bool, filter serverFilter, count int, take func(*recorded) bool) error {
	if commit, prepare := from.Words(); commit < prepare || commit > math.MaxInt64 {
		return errNoPosition
	}
	options := readOptions(backward, filter)
	options.StreamOption = allFrom(from, backward)
	options.CountOption = &streams.ReadReq_Options_Count{Count: uint64(count)}
	return c.read(ctx, options, order{backward: backward, from: from, excludes: backward}, take)
}

func (c *connection) read(ctx context.Context, options *streams.ReadReq_Options, kept order, take func(*recorded) bool) error {
	f, err := c.start(ctx, reading, options, kept)
	if err != nil {
		return err
	}
	defer f.close()
	for {
		read, err := f.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !take(read):
			return nil
		}
	}
}

// follow begins a subscription to $all after a position.
func (c *connection) follow(ctx context.Context, after eventstore.Position, filter serverFilter) (*feed, error) {
	options := readOptions(false, filter)
	options.StreamOption = allFrom(after, false)
	options.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
	return c.start(ctx, subscribing, options, order{from: after, excludes: true})
}

// feed is a read or subscription under way.
type feed struct {
	conn    *connection
	channel *channel
	call    streams.Streams_ReadClient
	end     context.CancelFunc
	kept    order
}

func (c *connection) start(ctx context.Context, kind kind, options *streams.ReadReq_Options, kept order) (*feed, error) {
	l, err := c.use(ctx, kind)
	if err != nil {
		return nil, err
	}
	// A follower may not have what was acknowledged. Writes need no such word.
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "requires-leader", "true"))
	call, err := l.streams.Read(ctx, &streams.ReadReq{Options: options})
	if err != nil {
		err = c.failed(l.node, err, nil)
		cancel()
		c.release(l)
		return nil, err
	}
	return &feed{conn: c, channel: l, call: call, end: cancel, kept: kept}, nil
}

// confirmed waits until the server says that a subscription has begun.
func (f *feed) confirmed() error {
	answer, err := f.call.Recv()
	if err != nil {
		return f.failed(err)
	}
	if answer.GetConfirmation() == nil {
		return fmt.Errorf("%w: it began a subscription without confirming it", errContradiction)
	}
	return nil
}

// next returns the next record; io.EOF itself ends a read. The signals of a
// subscription are passed over: a checkpoint may name the end of the log for its
// beginning or the page before the last, and is no event's place.
func (f *feed) next() (*recorded, error) {
	for {
		answer, err := f.call.Recv()
		if err == io.EOF { //nolint:errorlint // gRPC's own: an error of the call may wrap one
			return nil, io.EOF
		}
		if err != nil {
			return nil, f.failed(err)
		}
		switch content := answer.GetContent().(type) {
		case *streams.ReadResp_Event:
			read, err := readEvent(content.Event)
			if err == nil {
				err = f.kept.check(read)
			}
			return read, err
		case *streams.ReadResp_StreamNotFound_:
			return nil, errNoStream
		}
	}
}

func (f *feed) failed(err error) error { return f.conn.failed(f.channel.node, err, f.call.Trailer()) }

// close ends the call; what the server has sent ahead is dropped.
func (f *feed) close() {
	f.end()
	f.conn.release(f.channel)
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
	if filter == (serverFilter{}) {
		return options
	}
	f := &streams.ReadReq_Options_FilterOptions{
		Window:                       &streams.ReadReq_Options_FilterOptions_Max{Max: searchWindow},
		CheckpointIntervalMultiplier: 1,
	}
	expression := &streams.ReadReq_Options_FilterOptions_Expression{Regex: filter.stream + filter.eventType} // one is empty
	if filter.eventType != "" {
		f.Filter = &streams.ReadReq_Options_FilterOptions_EventType{EventType: expression}
	} else {
		f.Filter = &streams.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: expression}
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
