package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Most checks are about something else than what an event may hold, and about
// something else than who keeps the checkpoints. So that none of them is left out
// on a backend that cannot hold binary data, metadata or exact bytes, or that keeps
// no checkpoints or snapshots, the suite supplies what is missing: it packs its
// events into JSON that survives being read and written again, and keeps the rest
// in memory. The checks of these capabilities themselves, and those that are
// marked plain, see the backend as it is.

// supplement adds what the first handle's backend declares absent to all handles
// of a fixture. It returns the fixture as it is where nothing is missing.
func supplement(f *Fixture, caps eventstore.Capabilities) *Fixture {
	packs := !caps.ExactData.Supported() || !caps.BinaryData.Supported() || !caps.Metadata.Supported()
	keeps := !caps.Checkpoints.Supported() || !caps.Snapshots.Supported()
	if !packs && !keeps {
		return f
	}
	kept := newRecords() // one for all handles
	wrap := func(b eventstore.Backend) eventstore.Backend {
		return &supplemented{Backend: b, packs: packs, kept: kept, closed: make(chan struct{})}
	}
	open := func(open func(context.Context) (eventstore.Backend, error)) func(context.Context) (eventstore.Backend, error) {
		if open == nil {
			return nil
		}
		return func(ctx context.Context) (eventstore.Backend, error) {
			b, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return wrap(b), nil
		}
	}
	whole := *f
	whole.Backend, whole.OpenAgain, whole.OpenPolling = wrap(f.Backend), open(f.OpenAgain), open(f.OpenPolling)
	if hold := f.HoldWriter; hold != nil && packs {
		whole.HoldWriter = func(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
			packed, err := packParts([]eventstore.StreamAppend{part})
			if err != nil {
				return nil, err
			}
			return hold(ctx, packed[0])
		}
	}
	return &whole
}

type supplemented struct {
	eventstore.Backend
	packs  bool
	kept   *records
	closed chan struct{}
	once   sync.Once
}

// Capabilities implements [eventstore.Backend], as the other methods do.
func (s *supplemented) Capabilities() eventstore.Capabilities {
	caps := s.Backend.Capabilities()
	caps.ExactData, caps.BinaryData, caps.Metadata = eventstore.Yes(), eventstore.Yes(), eventstore.Yes()
	caps.Checkpoints, caps.Snapshots = eventstore.Yes(), eventstore.Yes()
	return caps
}

func (s *supplemented) Records() eventstore.Records {
	records := s.Backend.Records()
	caps := s.Backend.Capabilities()
	if !caps.Checkpoints.Supported() {
		records.Checkpoints = checkpointRecords{s.kept, s.closed}
	}
	if !caps.Snapshots.Supported() {
		records.Snapshots = snapshotRecords{s.kept, s.closed}
	}
	return records
}

func (s *supplemented) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Backend.Close()
}

func (s *supplemented) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if s.packs {
		parts, err := packParts(req.Parts)
		if err != nil {
			return nil, err
		}
		req.Parts = parts
	}
	return s.Backend.Append(ctx, req)
}

func (s *supplemented) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	page, err := s.Backend.ReadStream(ctx, req)
	return s.unpackPage(page, err)
}

func (s *supplemented) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	page, err := s.Backend.ReadAll(ctx, req)
	return s.unpackPage(page, err)
}

func (s *supplemented) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		for message, err := range s.Backend.Subscribe(ctx, req) {
			if err == nil && message.Kind == eventstore.MessageEvent && s.packs {
				err = unpack(&message.Event.Event)
			}
			if !yield(message, err) || err != nil {
				return
			}
		}
	}
}

func (s *supplemented) unpackPage(page eventstore.Page, err error) (eventstore.Page, error) {
	for i := range page.Events {
		if s.packs && err == nil {
			err = unpack(&page.Events[i].Event)
		}
	}
	return page, err
}

// packed is an event's content as JSON that comes back equal from every backend:
// objects and strings, no numbers.
type packed struct {
	ContentType string            `json:"contentType"`
	Data        []byte            `json:"data"` // as base64
	Metadata    map[string]string `json:"metadata,omitempty"`
}

func packParts(parts []eventstore.StreamAppend) ([]eventstore.StreamAppend, error) {
	all := make([]eventstore.StreamAppend, len(parts))
	for i, part := range parts {
		events := make([]eventstore.Event, len(part.Events))
		for j, event := range part.Events {
			if event.Data == nil {
				event.Data = []byte{} // null and "" are the same data
			}
			data, err := json.Marshal(packed{event.ContentType, event.Data, event.Metadata})
			if err != nil {
				return nil, fmt.Errorf("pack an event as JSON: %w", err)
			}
			events[j] = eventstore.Event{ID: event.ID, Type: event.Type, ContentType: eventstore.JSONContentType, Data: data}
		}
		part.Events = events
		all[i] = part
	}
	return all, nil
}

func unpack(event *eventstore.Event) error {
	var content packed
	if err := json.Unmarshal(event.Data, &content); err != nil {
		return unexpected("data of event "+event.ID.String(), "the JSON that was appended", fmt.Sprintf("%.200q, error %v", event.Data, err))
	}
	event.ContentType, event.Data, event.Metadata = content.ContentType, content.Data, content.Metadata
	return nil
}
