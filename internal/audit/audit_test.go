package audit_test

import (
	"errors"
	"iter"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/audit"
)

// at is an event of stream "s" whose position is its place in the store.
func at(id byte, version, position uint64) eventstore.RecordedEvent {
	return eventstore.RecordedEvent{
		Event: eventstore.Event{ID: uuid.UUID{id}}, Stream: "s",
		Version: version, Position: eventstore.NewPosition(position, 0),
	}
}

func holding(events ...eventstore.RecordedEvent) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		for _, event := range events {
			if !yield(event, nil) {
				return
			}
		}
	}
}

// The book: 1 and 2 acknowledged as versions 1 and 2, 3 refused, 4 unknown.
func book() *audit.Book {
	b := &audit.Book{}
	for id := byte(1); id <= 2; id++ {
		b.Outcome("s", []eventstore.Event{{ID: uuid.UUID{id}}}, eventstore.AppendResult{
			Events: []eventstore.RecordedEvent{at(id, uint64(id), uint64(id))},
		}, nil)
	}
	b.Outcome("s", []eventstore.Event{{ID: uuid.UUID{3}}}, eventstore.AppendResult{}, eventstore.ErrUnavailable)
	b.Outcome("s", []eventstore.Event{{ID: uuid.UUID{4}}}, eventstore.AppendResult{}, errors.Join(eventstore.ErrUnknownOutcome))
	return b
}

func TestEachFaultIsFoundAndNamed(t *testing.T) {
	for _, test := range []struct {
		name   string
		stored iter.Seq2[eventstore.RecordedEvent, error]
		given  []eventstore.RecordedEvent
		want   audit.Findings
	}{
		{"all is well without the unknown one", holding(at(1, 1, 1), at(2, 2, 2)), []eventstore.RecordedEvent{at(1, 1, 1), at(2, 2, 2)}, audit.Findings{}},
		{"all is well with the unknown one", holding(at(1, 1, 1), at(2, 2, 2), at(4, 3, 3)), []eventstore.RecordedEvent{at(1, 1, 1)}, audit.Findings{}},
		{"an acknowledged event is lost", holding(at(1, 1, 1)), nil, audit.Findings{Lost: 1}},
		{"an acknowledged event is elsewhere", holding(at(2, 1, 1), at(1, 2, 2)), nil, audit.Findings{Lost: 2}},
		{"an event is stored twice", holding(at(1, 1, 1), at(2, 2, 2), at(4, 3, 3), at(4, 4, 4)), nil, audit.Findings{Duplicated: 1}},
		{"a refused event is stored", holding(at(1, 1, 1), at(2, 2, 2), at(3, 3, 3)), nil, audit.Findings{Resurrected: 1}},
		{"a stranger is stored", holding(at(1, 1, 1), at(2, 2, 2), at(9, 3, 3)), nil, audit.Findings{Foreign: 1}},
		{"a version is missing", holding(at(1, 1, 1), at(2, 2, 2), at(4, 4, 3)), nil, audit.Findings{Torn: 1}},
		{"a subscriber was passed by", holding(at(1, 1, 1), at(2, 2, 2)), []eventstore.RecordedEvent{at(2, 2, 2)}, audit.Findings{Skipped: 1}},
		{"a subscriber was given an event again", holding(at(1, 1, 1), at(2, 2, 2)), []eventstore.RecordedEvent{at(1, 1, 1), at(1, 1, 1)}, audit.Findings{Repeated: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := book()
			for _, event := range test.given {
				b.Delivered("reader", event)
			}
			found, err := b.Audit(test.stored)
			require.NoError(t, err)
			examples := found.Examples
			found.Examples = nil
			require.Equal(t, test.want, found)
			require.Equal(t, test.want.Clean(), len(examples) == 0)
		})
	}
}

func TestTotalsAddUp(t *testing.T) {
	b := book()
	b.Delivered("reader", at(1, 1, 1))
	require.Equal(t, audit.Totals{Acknowledged: 2, Refused: 1, Unknown: 1, Delivered: 1}, b.Totals())
}
