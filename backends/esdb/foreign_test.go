package esdb_test

import (
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// otherClient is a program that writes to the server without Switchyard.
func otherClient(t *testing.T, srv *esdbtest.Server) *client.Client {
	config, err := client.ParseConnectionString(srv.URL())
	require.NoError(t, err)
	config.Logger = client.NoopLogging()
	c, err := client.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func write(t *testing.T, c *client.Client, stream string, events ...client.EventData) {
	for i := range events {
		if events[i].EventID == uuid.Nil {
			events[i].EventID = uuid.New()
		}
		if events[i].EventType == "" {
			events[i].EventType = "Happened"
		}
	}
	_, err := c.AppendToStream(t.Context(), stream, client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, events...)
	require.NoError(t, err)
}

func read(t *testing.T, store *eventstore.Store, stream string) (events []eventstore.RecordedEvent) {
	for event, err := range store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}) {
		require.NoError(t, err)
		events = append(events, event)
	}
	return events
}

func TestEventsOfOtherClientsAreReadable(t *testing.T) {
	srv := startServer(t)
	c, store := otherClient(t, srv), openStore(t, srv.URL(), nil)
	id := uuid.New()
	write(t, c, "cart-1",
		client.EventData{EventID: id, ContentType: client.ContentTypeJson, Data: []byte(`{ "a" : 1 }`), Metadata: []byte(`{"$correlationId":"c","n":7,"o":{"x":[1, 2]},"z":null}`)},
		client.EventData{Data: []byte{0, 1, 0xff}, Metadata: []byte{0xff, 0xfe}},
		client.EventData{})
	got := read(t, store, "cart-1")
	require.Len(t, got, 3)
	require.Equal(t, id, got[0].ID)
	require.Equal(t, "application/json", got[0].ContentType)
	require.JSONEq(t, `{"a":1}`, string(got[0].Data))
	require.Equal(t, map[string]string{"$correlationId": "c", "n": "7", "o": `{"x":[1, 2]}`, "z": "null"}, got[0].Metadata)
	require.Equal(t, "application/octet-stream", got[1].ContentType)
	require.Equal(t, []byte{0, 1, 0xff}, got[1].Data)
	require.Equal(t, map[string]string{"$esdb.metadata": "//4="}, got[1].Metadata)
	require.Equal(t, uint64(3), got[2].Version)
}

func TestLinksAreShownAsTheyAreOrResolved(t *testing.T) {
	srv := startServer(t)
	c := otherClient(t, srv)
	write(t, c, "cart-1", client.EventData{EventType: "Opened", Data: []byte("x")})
	write(t, c, "index", client.EventData{EventType: "$>", Data: []byte("0@cart-1")}, client.EventData{EventType: "$>", Data: []byte("7@gone")})
	raw := read(t, openStore(t, srv.URL(), nil), "index")
	require.Equal(t, []string{"$>", "$>"}, []string{raw[0].Type, raw[1].Type})
	resolved := read(t, openStore(t, srv.URL()+"&links=resolve", nil), "index")
	require.Equal(t, []string{"Opened", "$>"}, []string{resolved[0].Type, resolved[1].Type})
	require.Equal(t, []uint64{1, 2}, []uint64{resolved[0].Version, resolved[1].Version})
	require.Equal(t, raw[0].Position, resolved[0].Position)
}

// What other clients do to a stream leaves its versions as the server counts them.
func TestDeletedAndTruncatedStreamsGoOnAsTheServerCounts(t *testing.T) {
	happened := eventstore.Event{Type: "Happened", Data: []byte("{}")}
	three := make([]client.EventData, 3)
	tests := map[string]struct {
		before   func(*testing.T, *client.Client)
		expected eventstore.ExpectedVersion
		version  uint64 // 0: a conflict at actual
		actual   uint64
	}{
		"a soft-deleted stream is absent, and its numbers go on": {softDelete, eventstore.NoStream(), 4, 0},
		"a soft-deleted stream takes Any":                        {softDelete, eventstore.Any(), 4, 0},
		"a soft-deleted stream does not exist":                   {softDelete, eventstore.StreamExists(), 0, 0},
		"a soft-deleted stream is at version 0":                  {softDelete, eventstore.Exactly(3), 0, 0},
		"a truncated stream keeps its version":                   {truncate(2), eventstore.Exactly(3), 4, 0},
		"a wholly truncated stream keeps its version":            {truncate(3), eventstore.Exactly(3), 4, 0},
		"a wholly truncated stream takes Any":                    {truncate(3), eventstore.Any(), 4, 0},
		"a wholly truncated stream exists":                       {truncate(3), eventstore.StreamExists(), 4, 0},
		"a wholly truncated stream is not absent":                {truncate(3), eventstore.NoStream(), 0, 3},
		"a wholly truncated stream conflicts at its version":     {truncate(3), eventstore.Exactly(2), 0, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			srv := startServer(t)
			c := otherClient(t, srv)
			write(t, c, "s", append([]client.EventData(nil), three...)...)
			test.before(t, c)
			result, err := openStore(t, srv.URL(), nil).Append(t.Context(), "s", test.expected, happened)
			if test.version > 0 {
				require.NoError(t, err)
				require.Equal(t, test.version, result.Events[0].Version)
				return
			}
			var conflict *eventstore.ConflictError
			require.ErrorAs(t, err, &conflict)
			require.Equal(t, test.actual, conflict.Actual)
		})
	}
}

func softDelete(t *testing.T, c *client.Client) {
	_, err := c.DeleteStream(t.Context(), "s", client.DeleteStreamOptions{ExpectedRevision: client.Any{}})
	require.NoError(t, err)
}

func truncate(before uint64) func(*testing.T, *client.Client) {
	return func(t *testing.T, c *client.Client) {
		var meta client.StreamMetadata
		meta.SetTruncateBefore(before)
		_, err := c.SetStreamMetadata(t.Context(), "s", client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, meta)
		require.NoError(t, err)
	}
}

func TestATombstonedStreamRefusesEventsForGood(t *testing.T) {
	srv := startServer(t)
	c, store := otherClient(t, srv), openStore(t, srv.URL(), nil)
	write(t, c, "s", client.EventData{})
	_, err := c.TombstoneStream(t.Context(), "s", client.TombstoneStreamOptions{ExpectedRevision: client.Any{}})
	require.NoError(t, err)
	require.Empty(t, read(t, store, "s"))
	_, err = store.Append(t.Context(), "s", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("{}")})
	var sealed *eventstore.SealedError
	require.ErrorAs(t, err, &sealed)
	require.Equal(t, "s", sealed.Stream)
	require.ErrorContains(t, err, "tombstoned")
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
}

// An application that has a client opens the store with the client's configuration.
func TestAClientsConfigurationOpensTheStoreBesideIt(t *testing.T) {
	srv := startServer(t)
	config, err := client.ParseConnectionString(srv.URL())
	require.NoError(t, err)
	config.Logger = client.NoopLogging()
	c, err := client.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	backend, err := esdb.Open(t.Context(), config, nil)
	require.NoError(t, err)
	write(t, c, "s", client.EventData{})
	page, err := backend.ReadStream(t.Context(), eventstore.ReadStreamRequest{Stream: "s", PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	require.NoError(t, err)
	require.Len(t, page.Events, 1)
	require.NoError(t, backend.Close())
	write(t, c, "s", client.EventData{})
}

// A reader of the global order passes over that type, so an event of it would be
// stored and never seen.
func TestAnEventOfTheTypeThatEndsAStreamIsRefused(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL(), &eventstore.Options{AllowReserved: true})
	hidden := happened()
	hidden.Type = "$streamDeleted"
	_, err := store.Append(t.Context(), "cart-1", eventstore.Any(), happened(), hidden)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, `"$streamDeleted"`)
	require.Empty(t, read(t, store, "cart-1"), "nothing of the append is written")
}
