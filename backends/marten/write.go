package marten

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// partError is a failure of one part's write.
type partError struct {
	part   int    // of its append
	actual uint64 // the version of its stream
	err    error
}

func (e *partError) Error() string { return e.err.Error() }

func (e *partError) Unwrap() error { return e.err }

// doubtError is the failure of a commit, or of a statement that commits.
type doubtError struct{ err error }

func (e *doubtError) Error() string { return e.err.Error() }

func (e *doubtError) Unwrap() error { return e.err }

// isInDoubt tells whether a write may have been committed though it failed.
func isInDoubt(err error) bool {
	var doubt *doubtError
	return errors.As(err, &doubt) && errors.Is(commitError(doubt.err), eventstore.ErrUnknownOutcome)
}

// unreachableError says that no connection was had, so that nothing was sent.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }

func (e *unreachableError) Unwrap() error { return e.err }

func isUnreachable(err error) bool {
	var unreachable *unreachableError
	return errors.As(err, &unreachable)
}

// write judges a group of appends and writes those that may be written, in one
// transaction, and sets the verdict of each. An error is the transaction's: nothing of it
// was written, unless it isInDoubt.
func (b *Backend) write(ctx context.Context, calls []*adapter.GroupedAppend) error {
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return &unreachableError{err}
	}
	defer conn.Release() // which ends a transaction that is open, and its connection
	t := &transaction{b: b, conn: conn, calls: calls}
	if err := t.read(ctx); err != nil {
		return err
	}
	writes, err := t.judge(ctx)
	if err != nil {
		return err
	}
	if len(writes) == 0 {
		_, err := conn.Exec(ctx, "rollback")
		return err
	}
	if err := t.write(ctx, writes); err != nil {
		t.bury(ctx, err)
		return err
	}
	return nil
}

// transaction is one attempt at a group.
type transaction struct {
	b     *Backend
	conn  *pgxpool.Conn
	calls []*adapter.GroupedAppend

	keys    map[string]streamKey     // by stream
	streams map[string]*storedStream // by ID
	met     map[storedID]*metEvent
	at      time.Time // the record time of new events that are given none
	began   bool      // it has begun, and so
	last    int64     // the sequence's last number then is known
	started time.Time // and when the server was started
	saved   bool      // the savepoint was made
	called  bool      // Marten's function was called
	checked []string  // the IDs of streams that are held to what was read of them
	numbers []int64   // of the events in their order; 0 for one that was not written
	burned  []int64   // numbers that were taken, and will be lost if the write fails
}

// storedStream is a stream's row.
type storedStream struct {
	exists, archived bool
	foreign          bool // it is another tenant's; see statements.foreign
	kind             string
	version          uint64 // also with what this transaction is to write
	read             uint64
}

type storedID struct {
	stream string // its ID
	event  uuid.UUID
}

// metEvent is a stored event whose ID is in the request.
type metEvent struct {
	eventstore.Recorded
	seq  int64
	same bool
}

// read begins the transaction, waits for the lock and then reads the streams of all
// appends, and which of their events are stored.
func (t *transaction) read(ctx context.Context) error {
	q := t.b.sql()
	ids := t.index()
	batch := &pgx.Batch{}
	t.b.queueBegin(batch, t.b.lockOf(ids), t.calls)
	batch.Queue(q.readStreams(*t.b.shape()), ids)
	find, args := t.find()
	batch.Queue(find, args...)
	answers := t.conn.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	if err := t.begun(answers); err != nil {
		return err
	}
	if err := t.scanStreams(answers, ids); err != nil {
		return err
	}
	if err := t.scanMet(answers); err != nil {
		return err
	}
	return answers.Close()
}

// index gives each stream of the appends its key, and returns their IDs.
func (t *transaction) index() []string {
	t.keys, t.streams = make(map[string]streamKey), make(map[string]*storedStream)
	var ids []string
	for _, call := range t.calls {
		for _, part := range call.Parts {
			key, err := t.b.names.stream(part.Stream)
			if _, seen := t.keys[part.Stream]; seen || err != nil { // Append has refused it
				continue
			}
			t.keys[part.Stream] = key
			if t.streams[key.id] == nil {
				t.streams[key.id] = &storedStream{}
				ids = append(ids, key.id)
			}
		}
	}
	return ids
}

// readStreams selects the rows of streams, with the numbers of their places in $1. Of an
// archived stream whose ID was started again it is the active one.
func (q *statements) readStreams(s shape) string {
	row := `left join ` + q.streams + ` s on s.id = w.id::` + q.id + q.streamTenant
	if s.archivePartitioned {
		row = `left join lateral (select * from ` + q.streams + ` s where s.id = w.id::` + q.id + q.streamTenant + ` order by s.is_archived limit 1) s on true`
	}
	return `select w.n::int, s.id is not null, coalesce(s.version, 0)::bigint, coalesce(s.is_archived, false), ` + q.foreign + `, coalesce(s.type, '')::text, clock_timestamp()
		from unnest($1::text[]) with ordinality w(id, n) ` + row
}

func (t *transaction) scanStreams(answers pgx.BatchResults, ids []string) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	var n int
	var s storedStream
	var version int64
	_, err = pgx.ForEachRow(rows, []any{&n, &s.exists, &version, &s.archived, &s.foreign, &s.kind, &t.at}, func() error {
		s.version, s.read = uint64(version), uint64(version)
		*t.streams[ids[n-1]] = s
		return nil
	})
	t.at = t.at.UTC()
	return err
}

// find returns the statement that looks for the events of the appends: in the last events
// of their streams, or in the store where an index of IDs is there.
func (t *transaction) find() (string, []any) {
	var streams []string
	var low, high []int32
	var events []pgtype.UUID
	for _, call := range t.calls {
		for _, part := range call.Parts {
			if len(part.Events) == 0 {
				continue
			}
			streams, low = append(streams, t.keys[part.Stream].id), append(low, int32(len(events)+1))
			for _, event := range part.Events {
				events = append(events, pgtype.UUID{Bytes: event.ID, Valid: true})
			}
			high = append(high, int32(len(events)))
		}
	}
	q := t.b.sql()
	const columns = `select e.stream_id::text, e.id, e.version::bigint, e.seq_id, case when isfinite(e.timestamp) then e.timestamp end`
	if t.b.shape().uniqueIDs {
		columns := columns
		if t.b.shape().conjoined { // another tenant's stream is another stream, whatever its ID
			columns = strings.Replace(columns, "e.stream_id::text", "case when e.tenant_id = "+q.tenantValue+" then e.stream_id::text else E'\\x01' || e.tenant_id end", 1)
		}
		return columns + ` from ` + q.events + ` e where e.id = any($1::uuid[])`, []any{events}
	}
	generation := ""
	if t.b.shape().archivePartitioned {
		generation = ` and e.is_archived = s.is_archived`
	}
	return columns + ` from unnest($1::text[], $2::int[], $3::int[]) w(id, low, high) join ` + q.streams + ` s on s.id = w.id::` + q.id + q.streamTenant + ` and s.version > 0,
		lateral (select * from ` + q.events + ` e where e.stream_id = s.id` + q.tenant + generation + ` and e.version > s.version - ` + lookBack() + `
			and e.id = any(($4::uuid[])[w.low:w.high]) and e.type <> '` + tombstoneType + `') e`, []any{streams, low, high, events}
}

func (t *transaction) scanMet(answers pgx.BatchResults) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	t.met = make(map[storedID]*metEvent)
	var stream string
	var id uuid.UUID
	var version, seq int64
	var at pgtype.Timestamptz
	_, err = pgx.ForEachRow(rows, []any{&stream, &id, &version, &seq, &at}, func() error {
		t.met[storedID{stream, id}] = &metEvent{
			Recorded: eventstore.Recorded{Version: uint64(version), Position: pgdriver.Position(seq), RecordedAt: at.Time.UTC()}, seq: seq,
		}
		return nil
	})
	return err
}

// partWrite is a part that is to be written.
type partWrite struct {
	call, part int
	key        streamKey
	first      uint64 // the version of its first event
	events     []storedEvent
	at         *time.Time // its record time, where it has one
	creates    bool       // the stream's row is not there
	recorded   []eventstore.Recorded
}

// judge judges the appends in their order, sets the verdicts of those that need not be
// written, and returns what is to be written of the others.
func (t *transaction) judge(ctx context.Context) ([]*partWrite, error) {
	if len(t.met) > 0 {
		if err := t.compare(ctx); err != nil {
			return nil, err
		}
	}
	var writes []*partWrite
	for i, call := range t.calls {
		call.Results, call.Err = nil, nil
		encoded, err := t.b.preparedOf(call)
		if err != nil {
			call.Err = err
			continue
		}
		decisions, err := t.verdict(call.Parts)
		if err != nil {
			call.Err = err
			continue
		}
		call.Results = make([]eventstore.PartResult, len(call.Parts))
		for j, decision := range decisions {
			part := call.Parts[j]
			call.Results[j] = eventstore.PartResult{Recorded: decision.Recorded, Duplicate: decision.Recorded != nil}
			if !decision.Write {
				continue
			}
			w := &partWrite{call: i, part: j, key: t.keys[part.Stream], first: decision.First, at: part.RecordedAt, events: encoded.parts[j].events}
			s := t.streams[w.key.id]
			w.creates = !s.exists
			s.exists, s.kind = true, w.key.storedKind(s, t.b.shape().uuidKeys)
			s.version += uint64(len(part.Events))
			writes = append(writes, w)
		}
		t.hold(call.Parts, decisions)
	}
	return writes, nil
}

// hold notes the streams that an append which writes only checks: their rows are held to
// the end of the transaction, for Marten takes none of our locks.
func (t *transaction) hold(parts []eventstore.StreamAppend, decisions []adapter.Decision) {
	if !slices.ContainsFunc(decisions, func(d adapter.Decision) bool { return d.Write }) {
		return
	}
	for _, part := range parts {
		if id := t.keys[part.Stream].id; len(part.Events) == 0 && !slices.Contains(t.checked, id) {
			t.checked = append(t.checked, id)
		}
	}
}

// storedKind is the type that a stream's row has when the transaction has written it.
func (k streamKey) storedKind(s *storedStream, uuidKeys bool) string {
	if s.exists && uuidKeys {
		return s.kind
	}
	return k.kind
}

// verdict judges one append.
func (t *transaction) verdict(parts []eventstore.StreamAppend) ([]adapter.Decision, error) {
	var sealed *eventstore.SealedError
	for _, part := range parts {
		key := t.keys[part.Stream]
		s := t.streams[key.id]
		if s.exists && t.b.shape().uuidKeys && s.kind != key.kind {
			return nil, otherName(part.Stream, t.b.names.streamName(key.id, s.kind))
		}
		if s.foreign && len(part.Events) > 0 && !t.isStored(key, part.Events) {
			return nil, foreignError(part.Stream)
		}
		if s.archived && len(part.Events) > 0 && !t.isStored(key, part.Events) {
			sealed = &eventstore.SealedError{Stream: part.Stream, Reason: archivedReason}
		}
		if err := t.elsewhere(key, part); err != nil {
			return nil, err
		}
	}
	return adapter.Judge(parts, adapter.Streams{
		Version: func(stream string) (uint64, error) { return t.streams[t.keys[stream].id].version, nil },
		Find: func(stream string, event eventstore.Event) (adapter.Met, error) {
			met, ok := t.met[storedID{t.keys[stream].id, event.ID}]
			if !ok {
				return adapter.Met{}, nil
			}
			return adapter.Met{Found: true, Recorded: met.Recorded, Same: met.same}, nil
		},
		Sealed: sealed,
	})
}

func (t *transaction) isStored(key streamKey, events []eventstore.Event) bool {
	return slices.ContainsFunc(events, func(event eventstore.Event) bool { return t.met[storedID{key.id, event.ID}] != nil })
}

// elsewhere refuses an ID that the store has in another stream, where its index lets it
// have one in all.
func (t *transaction) elsewhere(key streamKey, part eventstore.StreamAppend) error {
	if !t.b.shape().uniqueIDs {
		return nil
	}
	for met := range t.met {
		if met.stream != key.id && slices.ContainsFunc(part.Events, func(event eventstore.Event) bool { return event.ID == met.event }) {
			return &eventstore.EventIDReusedError{Stream: part.Stream, ID: met.event, Reason: fmt.Sprintf("it is used in stream %.80q, and this store takes an ID once", met.stream)}
		}
	}
	return nil
}

// compare has the server say which of the events that were met have the same content as
// those of the appends: no payload is read.
func (t *transaction) compare(ctx context.Context) error {
	var seqs []int64
	var met []*metEvent
	var wanted []storedEvent
	for _, call := range t.calls {
		for _, part := range call.Parts {
			for _, event := range part.Events {
				found := t.met[storedID{t.keys[part.Stream].id, event.ID}]
				if found == nil {
					continue
				}
				stored, err := t.b.encode(event)
				if err != nil {
					return err
				}
				seqs, met, wanted = append(seqs, found.seq), append(met, found), append(wanted, stored)
			}
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	c := columnsOf(wanted)
	rows, err := t.conn.Query(ctx, t.b.sql().compare(*t.b.shape()), seqs, c.types, c.data, c.headers, c.correlations, c.causations, c.userNames)
	if err != nil {
		return err
	}
	var n int
	var same bool
	_, err = pgx.ForEachRow(rows, []any{&n, &same}, func() error {
		met[n-1].same = same
		return nil
	})
	return err
}

// compare selects whether stored events have the content of others.
func (q *statements) compare(s shape) string {
	headers, extra := "w.headers is null", ""
	if s.headers {
		headers = `coalesce(nullif(e.headers, 'null'), '{}') = coalesce(w.headers::jsonb, '{}')`
	}
	for _, column := range []struct {
		there     bool
		name, arg string
	}{{s.correlation, "correlation_id", "correlation"}, {s.causation, "causation_id", "causation"}, {s.userName, "user_name", "user_name"}} {
		if column.there {
			extra += " and e." + column.name + " is not distinct from w." + column.arg
		}
	}
	return `select w.n::int, e.type = w.type and e.bdata is null and e.data = w.data::jsonb and ` + headers + extra + `
		from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
			with ordinality w(seq, type, data, headers, correlation, causation, user_name, n) join ` + q.events + ` e on e.seq_id = w.seq` + q.numbered
}

// eventArrays are the columns of events, as a statement's arguments.
type eventArrays struct {
	ids                                          []pgtype.UUID
	types, dotnets, data                         []string
	headers, correlations, causations, userNames []pgtype.Text
}

func columnsOf(events []storedEvent) eventArrays {
	n := len(events)
	texts, nullable := make([]string, 3*n), make([]pgtype.Text, 4*n)
	c := eventArrays{
		ids: make([]pgtype.UUID, n), types: texts[:n:n], dotnets: texts[n : 2*n : 2*n], data: texts[2*n:],
		headers: nullable[:n:n], correlations: nullable[n : 2*n : 2*n], causations: nullable[2*n : 3*n : 3*n], userNames: nullable[3*n:],
	}
	for i, e := range events {
		c.ids[i], c.types[i], c.dotnets[i], c.data[i] = e.id, e.kind, e.dotnet, e.data
		c.headers[i], c.correlations[i], c.causations[i], c.userNames[i] = e.headers, e.correlation, e.causation, e.userName
	}
	return c
}
