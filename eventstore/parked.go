package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// The types of the records in a park stream. Their data is JSON with the fields of
// [Parked]. A stream may hold the records of several subscriptions, and other events,
// which are left alone.
const (
	// ParkedType links to an event that a subscription's handler failed on for good.
	ParkedType = "EventParked"
	// ParkedRetryType asks the subscription's next Run to handle a parked event once more.
	ParkedRetryType = "ParkedEventRetryRequested"
	// ParkedDroppedType says that a parked event is not to be handled any more.
	ParkedDroppedType = "ParkedEventDropped"
	// ParkedHandledType is Run's answer to a retry: the event is handled.
	ParkedHandledType = "ParkedEventHandled"
	// ParkedFailedType is Run's answer to a retry that failed for good as well. It also
	// follows what closed an event that is delivered and fails again, as after a reset
	// of the checkpoint. The event is parked anew.
	ParkedFailedType = "ParkedEventFailed"
)

// Parked is the data of a record in a park stream, of the types above.
type Parked struct {
	Subscription string    `json:"subscription"`
	Stream       string    `json:"stream"`
	Version      uint64    `json:"version"`
	Position     Position  `json:"position"`
	EventID      uuid.UUID `json:"eventId"`
	// Error is the handler's, shortened; empty where nothing failed.
	Error string `json:"error"`
	// Answers is the ID of the record before it of the same parked event; a link has none.
	// Of several answers to one record the first one counts.
	Answers uuid.UUID `json:"answers,omitzero"`
}

// Link returns the event that parks the failed one: of [ParkedType], with the data
// of [Parked]. Its ID is made from the subscription, the stream, the version and the
// event's ID, so parking twice stores one link: appending it again with another error text is refused
// with ErrEventIDReused, and the link is there.
func (e *HandlerError) Link() (Event, error) {
	data := Parked{
		Subscription: e.Subscription, Stream: e.Stream, Version: e.Version,
		Position: e.Position, EventID: e.EventID, Error: clip(e.Err.Error()),
	}
	link, err := JSONEvent(ParkedType, data)
	link.ID = data.linkID()
	return link, err
}

// linkID is the same for every record of one parked event. The version is in it because
// a store that forgets IDs may hold two events of one ID in a stream. Links were stored
// with IDs without it: what a link is of is told by its data, and never by its ID.
func (p Parked) linkID() uuid.UUID {
	return uuid.NewSHA1(p.EventID, fmt.Append(nil, p.Subscription, "\x00", p.Stream, "\x00", p.Version))
}

// ParkedState says how far a parked event is.
type ParkedState string

// The states of a parked event. The first two are open.
const (
	ParkedWaiting        ParkedState = "parked"
	ParkedRetryRequested ParkedState = "retry requested"
	ParkedHandled        ParkedState = "handled"
	ParkedDropped        ParkedState = "dropped"
)

// Open tells whether the event has no result yet.
func (s ParkedState) Open() bool { return s == ParkedWaiting || s == ParkedRetryRequested }

// ParkedEvent is what the records of a park stream say about one event.
type ParkedEvent struct {
	// Parked says which event it is, and why it failed last. The position is that of
	// the store in which it was parked.
	Parked
	State ParkedState
	// Retries counts the retries that were asked for.
	Retries int
	// ParkedAt is when it failed for good last, and ChangedAt when its last record was
	// written.
	ParkedAt, ChangedAt time.Time

	last, request uuid.UUID // its last record, and the retry that has no result yet
	requested     uint64    // the version of that
	linkedAt      Position  // where its first record is, in this store
}

// record returns the event that answers p's last record. Its ID is made from that
// one's, so appending it again stores nothing.
func (p ParkedEvent) record(eventType, failure string) (Event, error) {
	data := p.Parked
	data.Error, data.Answers = failure, p.last
	record, err := JSONEvent(eventType, data)
	record.ID = uuid.NewSHA1(p.last, []byte(eventType))
	return record, err
}

// ParkedEvents returns what a park stream says about each event that was parked
// there, in the order in which they were. It reads the whole stream, and holds one
// value for each parked event. A stream without records has none.
func (s *Store) ParkedEvents(ctx context.Context, parkStream string) ([]ParkedEvent, error) {
	log := newParkLog("")
	if err := log.catchUp(ctx, s, parkStream); err != nil {
		return nil, err
	}
	events := make([]ParkedEvent, len(log.order))
	for i, event := range log.order {
		events[i] = *event
	}
	return events, nil
}

// RetryParked asks for parked events, as ParkedEvents returned them, to be handled
// once more. The next Run of each one's subscription does so when it has the lease,
// before what follows its checkpoint, and appends the result: handled, or parked
// anew. Asking again before that changes nothing. An event that is handled or dropped
// is refused with ErrInvalid, and then nothing is written.
//
// Where somebody else changed an event's state meanwhile, that record counts and this
// one does not: ParkedEvents tells. Errors are otherwise those of Append.
func (s *Store) RetryParked(ctx context.Context, parkStream string, events ...ParkedEvent) error {
	var waiting []ParkedEvent
	for _, event := range events {
		switch event.State {
		case ParkedWaiting:
			waiting = append(waiting, event)
		case ParkedRetryRequested:
		default:
			return opError("retry parked events of", parkStream, closedParked(event))
		}
	}
	return opError("retry parked events of", parkStream, s.answerParked(ctx, parkStream, ParkedRetryType, waiting))
}

// DropParked records that parked events, as ParkedEvents returned them, are not to be
// handled any more. Dropping again changes nothing; one that is handled is refused
// with ErrInvalid. What is said of RetryParked holds otherwise.
func (s *Store) DropParked(ctx context.Context, parkStream string, events ...ParkedEvent) error {
	var open []ParkedEvent
	for _, event := range events {
		switch {
		case event.State.Open():
			open = append(open, event)
		case event.State != ParkedDropped:
			return opError("drop parked events of", parkStream, closedParked(event))
		}
	}
	return opError("drop parked events of", parkStream, s.answerParked(ctx, parkStream, ParkedDroppedType, open))
}

func closedParked(event ParkedEvent) error {
	if !event.State.Open() && event.State != "" {
		return invalid("parked event", "%s is %s for subscription %q, and waits for nothing", event.EventID, event.State, clip(event.Subscription))
	}
	return invalid("parked event", "%s is not one that ParkedEvents returned", event.EventID)
}

// answerParked appends a record of a type for each event, as many at once as an
// append may have.
func (s *Store) answerParked(ctx context.Context, parkStream, eventType string, events []ParkedEvent) error {
	for len(events) > 0 {
		n := min(len(events), s.limits.MaxAppendEvents, answeredAtOnce)
		records := make([]Event, n)
		for i := range records {
			var err error
			if records[i], err = events[i].record(eventType, ""); err != nil {
				return err
			}
		}
		if err := s.appendRecords(ctx, parkStream, records); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// answeredAtOnce keeps an append of records, each a few hundred bytes beside the names
// in it, far below the limits on its size.
const answeredAtOnce = 64

// appendRecords appends records whose IDs say what they are: those that are there
// already are stored.
func (s *Store) appendRecords(ctx context.Context, parkStream string, records []Event) error {
	_, err := s.Append(ctx, parkStream, Any(), records...)
	if !errors.Is(err, ErrEventIDReused) {
		return err
	}
	if len(records) == 1 {
		return nil
	}
	for _, record := range records {
		if err := s.appendRecords(ctx, parkStream, []Event{record}); err != nil {
			return err
		}
	}
	return nil
}

// parkLog is what the records of a park stream say, as far as it was read.
type parkLog struct {
	subscription string // whose records count; empty means all
	read         Place  // of the last event that was read
	asked        bool   // a record that asks for a retry was read, also one that does not count
	events       map[uuid.UUID]*ParkedEvent
	order        []*ParkedEvent
}

func newParkLog(subscription string) *parkLog {
	return &parkLog{subscription: subscription, events: make(map[uuid.UUID]*ParkedEvent)}
}

// catchUp reads what follows.
func (l *parkLog) catchUp(ctx context.Context, s *Store, parkStream string) error {
	for event, err := range s.ReadStream(ctx, parkStream, ReadOptions{After: l.read.Version}) {
		if err != nil {
			return err
		}
		l.read = event.Place()
		l.add(event)
	}
	return nil
}

// add takes up one event of the stream, which may be anybody's.
func (l *parkLog) add(event RecordedEvent) {
	switch event.Type {
	case ParkedType, ParkedRetryType, ParkedDroppedType, ParkedHandledType, ParkedFailedType:
	default:
		return
	}
	var data Parked
	if json.Unmarshal(event.Data, &data) != nil || data.EventID == uuid.Nil || (l.subscription != "" && data.Subscription != l.subscription) {
		return
	}
	l.asked = l.asked || event.Type == ParkedRetryType
	link := data.linkID()
	parked, known := l.events[link]
	if !known {
		// A record without its link: reading began after that, or the stream's owner has
		// cut it off. What the record answers is then taken as it says.
		parked = &ParkedEvent{Parked: data, State: ParkedWaiting, ParkedAt: event.RecordedAt, last: data.Answers, request: data.Answers, linkedAt: event.Position}
		parked.Answers = uuid.Nil
		l.events[link], l.order = parked, append(l.order, parked)
	}
	switch {
	case event.Type != ParkedType:
		parked.answer(event, data)
	case !known:
		parked.last, parked.ChangedAt = event.ID, event.RecordedAt
	case !parked.State.Open():
		// Parked anew, where the store knows the first link's ID no more. What answers
		// this one needs IDs of its own.
		parked.park(event, data)
		parked.last = uuid.NewSHA1(event.ID, fmt.Append(nil, event.Version))
	}
}

// park takes up that the event has failed for good, once more.
func (p *ParkedEvent) park(event RecordedEvent, data Parked) {
	p.State, p.request, p.Error = ParkedWaiting, uuid.Nil, data.Error
	p.ParkedAt, p.ChangedAt, p.last = event.RecordedAt, event.RecordedAt, event.ID
}

// answer changes the state by a record that is no link.
func (p *ParkedEvent) answer(event RecordedEvent, data Parked) {
	switch {
	case data.Answers == uuid.Nil:
		return
	case event.Type == ParkedHandledType && data.Answers == p.request:
		// Also where it was dropped meanwhile: that it was handled is a fact.
		p.State, p.request = ParkedHandled, uuid.Nil
	case data.Answers != p.last:
		return // another record answered first
	case event.Type == ParkedRetryType && p.State == ParkedWaiting:
		p.State, p.request, p.requested = ParkedRetryRequested, event.ID, event.Version
		p.Retries++
	case event.Type == ParkedDroppedType && p.State.Open():
		p.State = ParkedDropped
	case event.Type == ParkedFailedType:
		p.park(event, data)
	default:
		return
	}
	p.last, p.ChangedAt = event.ID, event.RecordedAt
}
