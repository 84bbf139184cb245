package marten_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestEveryModeIsWrittenBesideWhatMartenWrote(t *testing.T) {
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			pool := database(t)
			facts := readFacts(t, mode)
			makeTables(t, pool, "public", facts)
			load(t, pool, mode, facts)
			for _, tenant := range tenants(mode) {
				for _, appends := range []marten.AppendMode{marten.Quick, marten.Rich} {
					opts := &marten.Options{Tenant: tenant, Append: appends, AcceptUntagged: true}
					if appends == marten.Rich {
						opts.Grace = 50 * time.Millisecond
					}
					writeAndRead(t, openStore(t, pool, opts), mode)
				}
			}
			now, err := catalog.Read(t.Context(), pool, "public")
			require.NoError(t, err)
			require.Equal(t, normal(t, readFacts(t, mode)), normal(t, now))
			var wrong int
			require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from mt_events where is_archived is null or mt_dotnet_type is null or tenant_id is null
				or type <> 'tombstone' and abs(extract(epoch from timestamp - now())) > 86400 * 400`).Scan(&wrong))
			require.Zero(t, wrong)
		})
	}
}

// writeAndRead appends in every way, and reads all of it back.
func writeAndRead(t *testing.T, store *eventstore.Store, mode string) {
	t.Helper()
	uuids := strings.HasPrefix(mode, "guid")
	newStream := func() string {
		if uuids {
			return "order_view-" + uuid.NewString()
		}
		return "Bestellung-" + uuid.NewString() + "-ß"
	}
	existing, archived := "order-1", "order-archived"
	if uuids {
		existing, archived = "order_view-00000001-0000-0000-8000-000000000001", "order_view-00000003-0000-0000-8000-000000000003"
	}
	withMetadata := func(e eventstore.Event) eventstore.Event {
		if store.Capabilities().Metadata.Supported() {
			e.Metadata = map[string]string{"$correlationId": "c", "$causationId": "", "user-name": "zoë", "k": "v\t€"}
		}
		return e
	}
	before := readAll(t, store, eventstore.ReadAllOptions{})
	version, err := store.StreamVersion(t.Context(), existing)
	require.NoError(t, err)
	require.Positive(t, version)

	at := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour)
	fresh, second := newStream(), newStream()
	one, two := withMetadata(event("order_noted", `{"Text": "ü"}`)), withMetadata(event("order_noted", `{"Big": 9007199254740993}`))
	first, err := store.Append(t.Context(), fresh, eventstore.NoStream(), one, two)
	require.NoError(t, err)
	require.EqualValues(t, 2, first.Version)
	again, err := store.Append(t.Context(), fresh, eventstore.NoStream(), one, two)
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	require.Equal(t, first.Position, again.Position)
	require.Equal(t, first.Events[0].RecordedAt, again.Events[0].RecordedAt)
	changed := two
	changed.Data = []byte(`{"Big": 9007199254740992}`)
	_, err = store.Append(t.Context(), fresh, anyVersion, changed)
	require.ErrorIs(t, err, eventstore.ErrEventIDReused)

	results, err := store.AppendStreams(t.Context(),
		eventstore.StreamAppend{Stream: existing, Expected: eventstore.Exactly(version), Events: []eventstore.Event{event("order_noted", `{}`)}},
		eventstore.StreamAppend{Stream: second, Expected: eventstore.NoStream(), Events: []eventstore.Event{event("order_noted", `{}`)}, RecordedAt: &at},
		eventstore.StreamAppend{Stream: fresh, Expected: eventstore.Exactly(2)},
		eventstore.StreamAppend{Stream: newStream(), Expected: eventstore.NoStream()})
	require.NoError(t, err)
	require.Equal(t, version+1, results[0].Version)
	require.Equal(t, at, results[1].Events[0].RecordedAt)

	_, err = store.Append(t.Context(), archived, anyVersion, event("order_noted", `{}`))
	if strings.Contains(mode, "archivepart") { // it was started again
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, eventstore.ErrSealed)
		require.ErrorContains(t, err, archived)
	}
	_, err = store.Append(t.Context(), existing, eventstore.Exactly(1), event("order_noted", `{}`))
	require.ErrorIs(t, err, eventstore.ErrConflict)

	after := readAll(t, store, eventstore.ReadAllOptions{})
	want := len(before) + 4
	if strings.Contains(mode, "archivepart") {
		want++
	}
	require.Len(t, after, want)
	got := after[len(before) : len(before)+2]
	for i, e := range []eventstore.Event{one, two} {
		require.Equal(t, fresh, got[i].Stream)
		require.Equal(t, e.Metadata, got[i].Metadata)
		require.JSONEq(t, string(e.Data), string(got[i].Data))
		require.Equal(t, first.Events[i].RecordedAt, got[i].RecordedAt)
		require.Equal(t, first.Events[i].Position, got[i].Position)
	}
}

func TestAFunctionOf32BitsIsNotCalled(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	_, err := pool.Exec(t.Context(), `drop function mt_quick_append_events;
		create function mt_quick_append_events(stream varchar, stream_type varchar, tenantid varchar, event_ids uuid[], event_types varchar[], dotnet_types varchar[], bodies jsonb[], bdatas bytea[],
			causation_ids varchar[], correlation_ids varchar[], headers jsonb[], user_names varchar[], expected_version integer default null) returns integer[] language plpgsql as $$ begin raise 'called'; end $$;
		select setval('mt_events_sequence', 3000000000)`)
	require.NoError(t, err)
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	result, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	require.Equal(t, eventstore.NewPosition(3000000001, 0), result.Position)
}

// withArgument makes Marten's function again, with an argument that a later version may
// add to it.
func withArgument(otherwise string) string {
	return `do $$ declare d text; begin
		select pg_get_functiondef(oid) into d from pg_proc where proname = 'mt_quick_append_events';
		drop function mt_quick_append_events;
		execute regexp_replace(d, 'expected_version bigint[^)]*', 'expected_version bigint' || case '` + otherwise + `' when '' then ', newthings text[]' else ' default null, newthings text[]` + otherwise + `' end);
	end $$`
}

func TestWhatIsNotRecognisedIsRefusedOrOnlyRead(t *testing.T) {
	for name, test := range map[string]struct {
		change, refused, readOnly string
		opts                      marten.Options
	}{
		"no tables":                   {change: `drop table mt_events cascade; drop table mt_streams cascade`, refused: "no Marten event store in schema"},
		"a cached sequence":           {change: `alter sequence mt_events_sequence cache 10`, refused: "cache of 10"},
		"a tenant without need":       {opts: marten.Options{Tenant: "acme"}, refused: "one tenant only"},
		"no function":                 {change: `drop function mt_quick_append_events`, readOnly: "update Marten"},
		"an old table":                {change: `alter table mt_events drop column bdata`, readOnly: "bdata"},
		"a column that is needed":     {change: `alter table mt_events add column new_in_10 text not null default ''; alter table mt_events alter new_in_10 drop default`, readOnly: "update Switchyard"},
		"an argument of the function": {change: withArgument(""), readOnly: "newthings"},
		"one that may be left out":    {change: withArgument(" default null")},
		"tags":                        {change: `create table mt_event_tag_order (value uuid, seq_id bigint)`, readOnly: "untagged=accept"},
		"tags that are accepted":      {change: `create table mt_event_tag_order (value uuid, seq_id bigint)`, opts: marten.Options{AcceptUntagged: true}},
		"a nullable column":           {change: `alter table mt_events add column mine text`},
		"Marten's own schema":         {opts: marten.Options{Own: "public"}, refused: "choose another"},
		"an alias that is no text":    {opts: marten.Options{Types: []marten.EventType{{Name: "A", Alias: "a\xff"}}}, refused: "invalid UTF-8"},
		"a .NET type that is none":    {opts: marten.Options{Types: []marten.EventType{{Name: "A", DotNet: "a\x00"}}}, refused: "NUL"},
		"an alias that is too long":   {opts: marten.Options{Types: []marten.EventType{{Name: "A", Alias: strings.Repeat("a", 501)}}}, refused: "500 characters"},
		"an aggregate that is none":   {opts: marten.Options{StreamTypes: []marten.StreamType{{Category: "order", Alias: "a\x00"}}}, refused: "NUL"},
		"a tenant that is no text":    {opts: marten.Options{Tenant: "a\xff"}, refused: "invalid UTF-8"},
		"an alias twice":              {opts: marten.Options{Types: []marten.EventType{{Name: "A", Alias: "a"}, {Name: "B", Alias: "a"}}}, refused: `have the alias "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			pool := newTables(t, marten.Creation{})
			if test.change != "" {
				_, err := pool.Exec(t.Context(), test.change)
				require.NoError(t, err)
			}
			test.opts.Append = marten.Quick
			backend, err := marten.Open(t.Context(), pool, &test.opts)
			if test.refused != "" {
				require.ErrorContains(t, err, test.refused)
				return
			}
			require.NoError(t, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			defer store.Close()
			_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
			if test.readOnly == "" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, eventstore.ErrUnsupported)
				require.ErrorContains(t, err, test.readOnly)
			}
			require.LessOrEqual(t, len(readAll(t, store, eventstore.ReadAllOptions{})), 1, "it can be read")
		})
	}
}

func TestATenantIsNeededWhereTheStoreHasThem(t *testing.T) {
	pool := newTables(t, marten.Creation{Conjoined: true})
	_, err := marten.Open(t.Context(), pool, &marten.Options{})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "conjoined")
	one, other := openStore(t, pool, &marten.Options{Tenant: "it's", Append: marten.Quick}), openStore(t, pool, &marten.Options{Tenant: "*DEFAULT*", Append: marten.Quick})
	id := uuid.New()
	for _, store := range []*eventstore.Store{one, other} {
		e := event("happened", `{}`)
		e.ID = id
		result, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), e)
		require.NoError(t, err)
		require.False(t, result.Duplicate)
		require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
	}
	a, err := one.Info(t.Context())
	require.NoError(t, err)
	b, err := other.Info(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, a.ID, b.ID)
	require.NoError(t, sound(t.Context(), pool))
}

func TestAStreamHasOneName(t *testing.T) {
	pool := newTables(t, marten.Creation{UUIDKeys: true})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	id := uuid.NewString()
	_, err := store.Append(t.Context(), "order_view-"+id, anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	for _, other := range []string{id, "order-" + id} {
		_, err = store.Append(t.Context(), other, anyVersion, event("happened", `{}`))
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, "order_view-"+id)
		_, err = store.StreamVersion(t.Context(), other)
		require.ErrorContains(t, err, "order_view-"+id)
	}
	for _, name := range []string{"order-1", strings.ToUpper(id), "-" + id, id + "-"} {
		_, err = store.Append(t.Context(), name, anyVersion, event("happened", `{}`))
		require.ErrorIs(t, err, eventstore.ErrInvalid, name)
	}
}

func TestTypesAreMappedBothWays(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{
		Append:      marten.Quick,
		Types:       []marten.EventType{{Name: "OrderPlaced", DotNet: "Shop.OrderPlaced, Shop"}, {Name: "Shipped", Alias: "order_shipped"}},
		StreamTypes: []marten.StreamType{{Category: "order", Alias: "order_view"}},
	})
	_, err := store.Append(t.Context(), "order-1", anyVersion, event("OrderPlaced", `{}`), event("Shipped", `{}`), event("other", `{}`))
	require.NoError(t, err)
	var stored string
	require.NoError(t, pool.QueryRow(t.Context(), `select string_agg(type || '/' || mt_dotnet_type, ' ' order by version) || ' ' || (select type from mt_streams) from mt_events`).Scan(&stored))
	require.Equal(t, "order_placed/Shop.OrderPlaced, Shop order_shipped/ other/ order_view", stored)
	var read []string
	for _, e := range readAll(t, store, eventstore.ReadAllOptions{Filter: eventstore.Filter{Types: []string{"OrderPlaced", "other", "order_shipped"}}}) {
		read = append(read, e.Type)
	}
	require.Equal(t, []string{"OrderPlaced", "other"}, read)
	// From before it was mapped.
	_, err = pool.Exec(t.Context(), `update mt_events set type = 'OrderPlaced' where version = 1`)
	require.NoError(t, err)
	for _, filter := range []eventstore.Filter{{}, {Types: []string{"OrderPlaced"}}} {
		require.Equal(t, "OrderPlaced", readAll(t, store, eventstore.ReadAllOptions{Filter: filter, Limit: 1})[0].Type)
	}
	_, err = store.Append(t.Context(), "order-1", anyVersion, event("order_placed", `{}`))
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "OrderPlaced")
}

func TestArchivingEndsAStream(t *testing.T) {
	for _, creation := range []marten.Creation{{}, {UUIDKeys: true, Conjoined: true}} {
		pool := newTables(t, creation)
		opts := marten.Options{Append: marten.Quick}
		stream := "order-1"
		if creation.UUIDKeys {
			opts.Tenant, stream = "acme", "order-"+uuid.NewString()
		}
		backend, err := marten.Open(t.Context(), pool, &opts)
		require.NoError(t, err)
		store, err := eventstore.New(backend, nil)
		require.NoError(t, err)
		defer store.Close()
		e := event("happened", `{}`)
		_, err = store.Append(t.Context(), stream, anyVersion, e)
		require.NoError(t, err)
		require.NoError(t, backend.ArchiveStream(t.Context(), stream))
		_, err = store.Append(t.Context(), stream, eventstore.Exactly(7), event("happened", `{}`))
		var sealed *eventstore.SealedError
		require.ErrorAs(t, err, &sealed)
		require.Equal(t, stream, sealed.Stream)
		again, err := store.Append(t.Context(), stream, anyVersion, e)
		require.NoError(t, err)
		require.True(t, again.Duplicate, "a repetition is answered as such")
		require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
		opts.HideArchived = true
		require.Empty(t, readAll(t, openStore(t, pool, &opts), eventstore.ReadAllOptions{}))
	}
}

// What a row of .NET's may hold beyond JSON with its time: bytes are read as such, and a row
// that nobody can make an event of ends the read with its place, however often it is tried.
func TestRowsThatAreNoPlainEventsAreReadOrTold(t *testing.T) {
	for _, mode := range []string{"cache_statement", "exec"} {
		for name, test := range map[string]struct{ change, told string }{
			"bytes":                   {change: `update mt_events set data = '{}', bdata = '\x00ff' where version = 2`},
			"a time without bound":    {`update mt_events set timestamp = 'infinity' where version = 2`, "at position 2 of stream \"order-1\" has a timestamp without bound"},
			"a time before any":       {`update mt_events set timestamp = '-infinity' where version = 2`, "without bound"},
			"headers that are a text": {`update mt_events set headers = '"text"' where version = 2`, "at position 2 of stream \"order-1\": in this program: headers are no JSON object"},
			"no stream":               {`update mt_events set stream_id = null where version = 2`, "at position 2 has no stream"},
		} {
			t.Run(name+", "+mode, func(t *testing.T) {
				url := server.Database(t)
				pool := connect(t, url+"&default_query_exec_mode="+mode)
				require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
				store := openStore(t, pool, &marten.Options{Append: marten.Quick})
				_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`), event("happened", `{}`), event("happened", `{}`))
				require.NoError(t, err)
				_, err = pool.Exec(t.Context(), test.change)
				require.NoError(t, err)
				if test.told == "" {
					got := readAll(t, store, eventstore.ReadAllOptions{})
					require.Len(t, got, 3)
					require.Equal(t, []byte{0, 0xff}, got[1].Data)
					require.Equal(t, "application/octet-stream", got[1].ContentType)
					return
				}
				var seen []uint64
				for e, failed := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
					if err = failed; err == nil {
						seen = append(seen, e.Version)
					}
				}
				require.ErrorContains(t, err, test.told)
				require.NotErrorIs(t, err, eventstore.ErrUnavailable)
				require.LessOrEqual(t, len(seen), 1, "nothing after it")
			})
		}
	}
}

// With strict stream identity an ID is used once, also where its stream is gone.
func TestAnIDThatWasUsedIsNotUsedAgain(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		t.Run(string(mode), func(t *testing.T) {
			pool := database(t)
			makeTables(t, pool, "public", readFacts(t, "string-single-quick-uniqueid-typeindex-strict-skipping"))
			store := openStore(t, pool, &marten.Options{Append: mode})
			streams := []string{"order-1", "order-2", "order-3"}
			_, err := store.Append(t.Context(), streams[0], anyVersion, event("happened", `{}`))
			require.NoError(t, err)
			_, err = store.AppendStreams(t.Context(), eventstore.StreamAppend{Stream: streams[1], Expected: anyVersion, Events: []eventstore.Event{event("happened", `{}`)}},
				eventstore.StreamAppend{Stream: streams[2], Expected: eventstore.NoStream(), Events: []eventstore.Event{event("happened", `{}`)}})
			require.NoError(t, err)
			var noted []string
			require.NoError(t, pool.QueryRow(t.Context(), `select array_agg(id::text order by id) from mt_streams_identity`).Scan(&noted))
			require.Equal(t, streams, noted)
			_, err = pool.Exec(t.Context(), `delete from mt_events; delete from mt_streams`)
			require.NoError(t, err)
			for _, stream := range streams {
				_, err = store.Append(t.Context(), stream, eventstore.NoStream(), event("happened", `{}`))
				require.ErrorIs(t, err, eventstore.ErrConflict)
			}
			var last int
			require.NoError(t, pool.QueryRow(t.Context(), `select last_value from mt_events_sequence`).Scan(&last))
			require.Equal(t, len(streams), last, "no number is taken for those")
		})
	}
}
