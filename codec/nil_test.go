package codec_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// order is a family of a struct, a pointer and a map.
type order interface{ order() }

type (
	orderPlaced  struct{ Item string }
	orderShipped struct{ Item string }
	orderLines   map[string]int
)

func (orderPlaced) order()   {}
func (*orderShipped) order() {}
func (orderLines) order()    {}

func stored(name, data string) eventstore.RecordedEvent {
	return eventstore.RecordedEvent{Event: eventstore.Event{ID: uuid.New(), Type: name, Data: []byte(data)}, Version: 1}
}

func TestWhatIsNilIsNoEvent(t *testing.T) {
	c := codec.Must(codec.New[order](nil, codec.Of[orderPlaced]("Placed"), codec.Of[*orderShipped]("Shipped"), codec.Of[orderLines]("Lines")))
	for _, v := range []order{nil, (*orderShipped)(nil), orderLines(nil)} {
		_, err := c.Encode(t.Context(), uuid.Nil, v)
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%T", v)
	}
	for _, name := range []string{"Placed", "Shipped", "Lines"} {
		for _, data := range []string{"null", " null\n"} {
			_, ok, err := c.Decode(t.Context(), stored(name, data))
			require.ErrorContains(t, err, "null, and no event", name)
			require.False(t, ok)
		}
	}
	event, err := c.Encode(t.Context(), uuid.Nil, orderLines{})
	require.NoError(t, err)
	_, ok, err := c.Decode(t.Context(), eventstore.RecordedEvent{Event: event})
	require.NoError(t, err)
	require.True(t, ok, "an empty one is an event")
}

// nullWriter is encoded as null though it is not nil.
type nullWriter struct{}

func (nullWriter) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func TestWhatIsEncodedAsNullIsRefusedBeforeItIsStored(t *testing.T) {
	_, err := codec.Must(codec.New[nullWriter](nil, codec.Of[nullWriter]("Null"))).Encode(t.Context(), uuid.Nil, nullWriter{})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

func TestAStepThatReturnsNilIsAnError(t *testing.T) {
	c := codec.Must(codec.New[order](nil, codec.Of[*orderShipped]("Shipped",
		codec.Up(func(orderPlaced) (*orderShipped, error) { return nil, nil }), //nolint:nilnil // as a mistake would
	)))
	_, ok, err := c.Decode(t.Context(), stored("Shipped", "{}"))
	require.ErrorContains(t, err, "step 1 of Up returned nil")
	require.False(t, ok)
}

func TestOptionsAndStepsThatAreNilAreRefused(t *testing.T) {
	for want, make := range map[string]func() codec.Type{
		"option 2 is nil":     func() codec.Type { return codec.Of[orderPlaced]("Placed", codec.Was("Old"), nil) },
		"step 1 of Up is nil": func() codec.Type { return codec.Of[orderPlaced]("Placed", codec.Up[string, orderPlaced](nil)) },
	} {
		_, err := codec.New[order](nil, make())
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}

// disguise is a filter that makes another event of one.
type disguise struct{ seal, open bool }

func (d disguise) Seal(_ context.Context, _ any, event *eventstore.Event) error {
	if d.seal {
		event.ID = uuid.New()
	}
	return nil
}

func (d disguise) Open(_ context.Context, event *eventstore.RecordedEvent) error {
	if d.open {
		event.Type = "Other"
	}
	return nil
}

func TestAFilterThatChangesAnEventsIDOrTypeIsRefused(t *testing.T) {
	for _, filter := range []disguise{{seal: true}, {open: true}, {}} {
		c := codec.Must(codec.New[order](nil, codec.Of[orderPlaced]("Placed", codec.Through(filter))))
		_, sealed := c.Encode(t.Context(), uuid.New(), orderPlaced{"book"})
		_, _, opened := c.Decode(t.Context(), stored("Placed", "{}"))
		require.Equal(t, filter.seal, errors.Is(sealed, eventstore.ErrInvalid))
		require.Equal(t, filter.open, opened != nil)
		for _, err := range []error{sealed, opened} {
			if err != nil {
				require.ErrorContains(t, err, "changes the event's ID or type")
			}
		}
	}
}

func TestTheErrorTellsAnEmptyVersionFromNone(t *testing.T) {
	c := codec.Must(codec.New[order](nil, codec.Of[orderPlaced]("Placed")))
	event := stored("Placed", "{}")
	event.Metadata = map[string]string{eventstore.MetaSchemaVersion: ""}
	_, _, err := c.Decode(t.Context(), event)
	require.ErrorContains(t, err, `schema version ""`)
	_, _, err = c.Decode(t.Context(), stored("Unknown", "{}"))
	require.ErrorContains(t, err, `schema version "1"`)
}

// shouting has a form for nil, which it would not read back.
type shouting struct{}

func (shouting) ContentType() string             { return "text/plain" }
func (shouting) Marshal(any) ([]byte, error)     { return []byte("NIL"), nil }
func (shouting) Unmarshal(_ []byte, _ any) error { return nil }

func TestWhatIsNilIsRefusedWhateverTheEncoding(t *testing.T) {
	c := codec.Must(codec.New[order](&codec.Options{Encodings: []codec.Encoding{shouting{}}}, codec.Of[*orderShipped]("Shipped")))
	_, err := c.Encode(t.Context(), uuid.Nil, (*orderShipped)(nil))
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}
