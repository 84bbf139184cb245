package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// foldedLog is a log whose stream s has so many events.
func foldedLog(t *testing.T, events int) *folded {
	t.Helper()
	l := newFolded()
	require.NoError(t, l.take([]connection.Record{{Value: fold.Genesis(uuid.New(), uuid.New())}}))
	for range events {
		takeNext(t, l, frameOf(t, l, uuid.New(), eventstore.Any(), uuid.New(), time.Now()))
	}
	return l
}

func takeNext(t *testing.T, l *folded, frame []byte) {
	t.Helper()
	require.NoError(t, l.take([]connection.Record{{Offset: l.next(), Value: frame}}))
}

// frameOf is what a writer sends that knows the log: one event for stream s.
func frameOf(t *testing.T, l *folded, request uuid.UUID, expected eventstore.ExpectedVersion, event uuid.UUID, at time.Time) []byte {
	t.Helper()
	asked, err := fold.NewRequest(request, []eventstore.StreamAppend{{
		Stream: "s", Expected: expected, Events: []eventstore.Event{{ID: event, Type: "T", ContentType: "text/plain"}},
	}})
	require.NoError(t, err)
	proposal, err := l.check(asked)
	require.NoError(t, err)
	require.Equal(t, fold.Send, proposal.Step)
	return proposal.Frame(at)
}

func TestAPageIsReadWithoutAViewWhereItCannotComeToTheEnd(t *testing.T) {
	l := foldedLog(t, 3)
	for name, c := range map[string]struct {
		req   eventstore.ReadStreamRequest
		holds bool
	}{
		"a page that ends before the last event":      {eventstore.ReadStreamRequest{PageSize: eventstore.PageSize{MaxEvents: 2}}, true},
		"a page that ends with the last event":        {eventstore.ReadStreamRequest{PageSize: eventstore.PageSize{MaxEvents: 3}}, false},
		"the rest":                                    {eventstore.ReadStreamRequest{After: 1, PageSize: eventstore.PageSize{MaxEvents: 2}}, false},
		"all but the last":                            {eventstore.ReadStreamRequest{After: 1, PageSize: eventstore.PageSize{MaxEvents: 1}}, true},
		"after the last":                              {eventstore.ReadStreamRequest{After: 3, PageSize: eventstore.PageSize{MaxEvents: 1}}, false},
		"backward from the end":                       {eventstore.ReadStreamRequest{Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1}}, false},
		"backward from an event that is there":        {eventstore.ReadStreamRequest{Backward: true, Before: 4, PageSize: eventstore.PageSize{MaxEvents: 9}}, true},
		"backward from an event that may come":        {eventstore.ReadStreamRequest{Backward: true, Before: 5, PageSize: eventstore.PageSize{MaxEvents: 9}}, false},
		"forward to an event that is there":           {eventstore.ReadStreamRequest{Before: 4, PageSize: eventstore.PageSize{MaxEvents: 9}}, true},
		"forward to the event that would be the next": {eventstore.ReadStreamRequest{Before: 5, PageSize: eventstore.PageSize{MaxEvents: 9}}, false},
	} {
		c.req.Stream = "s"
		require.Equal(t, c.holds, l.holds(c.req), name)
	}
}

func TestOwnRecordsAreNotFoldedIntoALogThatIsDoubted(t *testing.T) {
	l := foldedLog(t, 1)
	next := l.next()
	own := []connection.Record{{Value: frameOf(t, l, uuid.New(), eventstore.Exactly(1), uuid.New(), time.Now())}}
	l.doubt()
	require.NoError(t, l.takeOwn(next, own))
	require.Equal(t, next, l.next(), "the log that acknowledged them may be another one")
	doubts, _ := l.doubted()
	l.settle(doubts)
	require.NoError(t, l.takeOwn(next+1, own))
	require.Equal(t, next, l.next(), "what lies before them is not folded")
	require.NoError(t, l.takeOwn(next, own))
	require.Equal(t, next+1, l.next())
}

// A request is tried again with the same ID, and an earlier attempt's record lands
// late. What refuses that one says nothing of this one; what accepts it does.
func TestTheRefusalOfAnotherAttemptIsNoAnswer(t *testing.T) {
	request, event := uuid.New(), uuid.New()
	before, now := time.Unix(1, 0), time.Unix(2, 0)
	b := &Backend{log: foldedLog(t, 0)}
	earlier := frameOf(t, b.log, request, eventstore.NoStream(), event, before)
	awaited, forget := b.log.await([]uuid.UUID{request})
	defer forget()
	takeNext(t, b.log, frameOf(t, b.log, uuid.New(), eventstore.NoStream(), uuid.New(), before))
	takeNext(t, b.log, earlier)
	failed := errors.New("no acknowledgement")
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.Equal(t, outcome{err: failed}, b.lookFor(soon, proposal{id: request, at: now}, awaited[0], failed))

	own := b.lookFor(t.Context(), proposal{id: request, at: before}, awaited[0], failed)
	require.NoError(t, own.err)
	require.Equal(t, fold.Refused, own.verdict.Outcome)

	takeNext(t, b.log, frameOf(t, b.log, request, eventstore.Exactly(1), event, before))
	stored := b.lookFor(t.Context(), proposal{id: request, at: now}, awaited[0], failed)
	require.NoError(t, stored.err)
	require.Equal(t, fold.Accepted, stored.verdict.Outcome, "whoever's it is")
}
