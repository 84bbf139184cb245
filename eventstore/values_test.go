package eventstore_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestPositionsAreOrderedByTheirHighWordFirst(t *testing.T) {
	inOrder := []eventstore.Position{
		{}, eventstore.NewPosition(0, 1), eventstore.NewPosition(1, 0), eventstore.NewPosition(1, 1<<63), eventstore.NewPosition(1<<63, 0),
	}
	for i, p := range inOrder {
		for j, q := range inOrder {
			require.Equal(t, i < j, p.Before(q), "%s before %s", p, q)
			require.Equal(t, i == j, p.Compare(q) == 0)
		}
	}
	require.True(t, inOrder[0].IsZero())
	require.False(t, inOrder[1].IsZero())
}

func TestAPositionHasOneText(t *testing.T) {
	for text, p := range map[string]eventstore.Position{
		"0": {}, "42": eventstore.NewPosition(42, 0), "42/7": eventstore.NewPosition(42, 7), "0/1": eventstore.NewPosition(0, 1),
		"18446744073709551615/18446744073709551615": eventstore.NewPosition(1<<64-1, 1<<64-1),
	} {
		require.Equal(t, text, p.String())
		parsed, err := eventstore.ParsePosition(text)
		require.NoError(t, err)
		require.Equal(t, p, parsed)
	}
	for _, text := range []string{"", " 1", "+1", "-1", "01", "1/", "/1", "5/0", "1/2/3", "1/+2", "0x10", "18446744073709551616", "head"} {
		_, err := eventstore.ParsePosition(text)
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%q", text)
	}
}

func TestPositionsTravelInJSON(t *testing.T) {
	data, err := json.Marshal(eventstore.NewPosition(3, 4))
	require.NoError(t, err)
	require.JSONEq(t, `"3/4"`, string(data))
	var p eventstore.Position
	require.NoError(t, json.Unmarshal(data, &p))
	require.Equal(t, eventstore.NewPosition(3, 4), p)
	require.ErrorIs(t, json.Unmarshal([]byte(`"x"`), &p), eventstore.ErrInvalid)
}

func FuzzParsePosition(f *testing.F) {
	for _, text := range []string{"0", "42", "42/7", "5/0", "18446744073709551615/1", "-1", "1/2/3", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := eventstore.ParsePosition(text)
		if err != nil {
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			return
		}
		require.Equal(t, text, p.String())
	})
}

func TestExpectationsAllowWhatTheySay(t *testing.T) {
	for _, test := range []struct {
		text     string
		expected eventstore.ExpectedVersion
		absent   bool
		at3      bool
	}{
		{"any", eventstore.Any(), true, true},
		{"none", eventstore.NoStream(), true, false},
		{"none", eventstore.Exactly(0), true, false},
		{"exists", eventstore.StreamExists(), false, true},
		{"3", eventstore.Exactly(3), false, true},
		{"2", eventstore.Exactly(2), false, false},
		{"4", eventstore.Exactly(4), false, false},
		{"invalid", eventstore.ExpectedVersion{}, false, false},
	} {
		require.Equal(t, test.absent, test.expected.Allows(0), "%s on an absent stream", test.text)
		require.Equal(t, test.at3, test.expected.Allows(3), "%s at version 3", test.text)
		require.Equal(t, test.text, test.expected.String())
		if test.expected.Valid() {
			parsed, err := eventstore.ParseExpectedVersion(test.text)
			require.NoError(t, err)
			require.Equal(t, test.expected, parsed)
		}
	}
	for _, text := range []string{"", "ANY", "-1", "1.5", "9223372036854775808"} {
		_, err := eventstore.ParseExpectedVersion(text)
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%q", text)
	}
}

func TestACategoryEndsBeforeTheFirstDash(t *testing.T) {
	for stream, category := range map[string]string{
		"Order-42": "Order", "Order-42-line-1": "Order", "Order": "Order", "Order-": "Order", "-42": "", "überweisung-1": "überweisung",
	} {
		require.Equal(t, category, eventstore.Category(stream), "%q", stream)
	}
}

func TestAFilterSelectsWhatAllItsFieldsSelect(t *testing.T) {
	f := eventstore.Filter{Categories: []string{"Cart", "Order"}, StreamPrefixes: []string{"Order-7", "Order-4"}, Types: []string{"Placed", "Paid"}}
	require.True(t, f.Match("Order-42", "Paid"))
	require.False(t, f.Match("Order-42", "Shipped"))
	require.False(t, f.Match("Order-52", "Paid"))
	require.False(t, eventstore.Filter{Categories: []string{"Order"}}.Match("Orders-1", "Paid"))
	require.True(t, eventstore.Filter{}.Match("anything", "at all"))
}

func TestACausedEventContinuesTheConversation(t *testing.T) {
	first := eventstore.RecordedEvent{Event: eventstore.Event{ID: uuid.New(), Type: "OrderPlaced"}}
	second, err := eventstore.JSONEvent("OrderPaid", map[string]int{"amount": 3})
	require.NoError(t, err)
	second.Metadata = map[string]string{"tenant": "a"}
	caused := second.CausedBy(first).WithSchemaVersion(2)
	require.Equal(t, first.ID.String(), caused.CorrelationID())
	require.Equal(t, first.ID.String(), caused.CausationID())
	require.Equal(t, 2, caused.SchemaVersion())
	require.Equal(t, map[string]string{"tenant": "a"}, second.Metadata, "the original is not changed")
	require.Equal(t, 1, second.SchemaVersion(), "a schema version is there from day one")

	third := eventstore.Event{Type: "OrderShipped"}.CausedBy(eventstore.RecordedEvent{Event: caused})
	require.Equal(t, first.ID.String(), third.CorrelationID())
}

func TestAnEventThatCannotBeJSONIsAnError(t *testing.T) {
	_, err := eventstore.JSONEvent("Broken", func() {})
	require.ErrorContains(t, err, `encode event "Broken"`)
}
