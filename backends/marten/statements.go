package marten

import (
	"fmt"
	"strings"
)

// statements are pieces of SQL for one store and tenant. They are made once, so that the
// driver prepares each statement once for a connection.
type statements struct {
	streams, events, sequence string // quoted names
	id                        string // the type of stream IDs
	tenant                    string // a condition on mt_events e, with "and" before it, or empty
	streamTenant              string // the same on mt_streams s
	tenantValue               string // a literal
	// foreign is, of mt_streams s, that a stream is another tenant's though the store has none:
	// of a .NET session that was opened for it. Marten's function refuses to append to it.
	foreign string
	// numbered is what of the tenant's condition bounds the sequence's numbers: all of
	// them are one order, but for a partition's, which has its own.
	numbered string
	live     string // a condition on shown e: the event is delivered
	// there is the condition that it is the tenant's, delivered or not: what was delivered
	// may be archived or skipped later, and is where readers are all the same.
	there      string
	shown      string // mt_events e, with the columns that it may have; see makeShown
	from       string // shown, with what the event's name needs
	name       string // the name of the event's stream
	function   string // the statement that calls Marten's function
	unarchived string // the statement after its calls; see makeUnarchived
	// The same, where it starts a stream, and what comes before that.
	starting, startLock string
	judge               string // the statement that judges a group
	// What begins a transaction that writes: alone, or beside those that write elsewhere.
	alone, shared string
	// The steps of a transaction that writes; see makeSteps.
	create, identify, number, insert, update string
	columns                                  string // of an event
}

func newStatements(opts Options, s shape, suffix string) statements {
	q := statements{
		streams: ident(opts.Schema, "mt_streams"), events: ident(opts.Schema, "mt_events"),
		sequence: s.sequence(opts.Schema, suffix), id: "varchar", tenantValue: literal(defaultTenant),
	}
	if s.conjoined {
		q.tenantValue = literal(opts.Tenant)
		q.tenant, q.streamTenant = " and e.tenant_id = "+q.tenantValue, " and s.tenant_id = "+q.tenantValue
	}
	q.foreign = "coalesce(s.tenant_id <> " + q.tenantValue + ", false)"
	if s.tenantPartitioned {
		q.numbered = q.tenant
	}
	live := []string{"e.type <> '" + tombstoneType + "'"}
	if s.conjoined {
		live = append(live, "e.tenant_id = "+q.tenantValue)
	}
	q.there = "(" + strings.Join(live, " and ") + ")"
	live = append(live, "e.is_skipped is not true")
	if opts.HideArchived {
		live = append(live, "e.is_archived is not true")
	} else if s.archivePartitioned { // of an ID that was started again, the archived events are not delivered
		live = append(live, "not (e.is_archived and "+q.restarted()+")")
	}
	q.live = "(" + strings.Join(live, " and ") + ")"
	q.makeShown()
	q.from, q.name = q.shown, "e.stream_id"
	if s.uuidKeys {
		q.id = "uuid"
		join := "s.id = e.stream_id" + q.streamTenant
		if s.archivePartitioned {
			join += " and s.is_archived = e.is_archived"
		}
		q.from += " left join " + q.streams + " s on " + join
		q.name = "coalesce(nullif(s.type, '') || '-', '') || e.stream_id::text"
	}
	q.columns = fmt.Sprintf(`e.seq_id, e.version::bigint, e.id, e.timestamp, (%s)::text, e.type::text, e.data::text, e.bdata,
		nullif(e.headers, 'null')::text, e.correlation_id::text, e.causation_id::text, e.user_name::text`, q.name)
	if s.function {
		q.function, q.starting = q.functionCall(s, opts.Schema), q.startingCall(s, opts.Schema)
	}
	q.makeUnarchived()
	q.makeBegin()
	q.judge = q.judgement(s)
	q.makeSteps(s, opts.Schema)
	return q
}

// makeShown writes where events are read from. Columns that depend on Marten's options are
// those of the table, where it has them when the statement is run, and otherwise null: a name
// that the inner select does not find is looked for around it. So none that Marten adds under
// an open store goes unnoticed, and no question need be asked for that.
func (q *statements) makeShown() {
	q.shown = `(select null::jsonb as headers, null::varchar as correlation_id, null::varchar as causation_id, null::varchar as user_name,
			null::bytea as bdata, null::boolean as is_skipped) absent
		cross join lateral (select m.seq_id, m.id, m.stream_id, m.version, m.data, m.type, m.timestamp, m.tenant_id, m.is_archived,
			headers, correlation_id, causation_id, user_name, bdata, is_skipped from ` + q.events + ` m) e`
}

// restarted is a condition: the event's stream has a generation that is not archived.
func (q *statements) restarted() string {
	return "exists (select from " + q.streams + " a where a.id = e.stream_id and not a.is_archived" + strings.ReplaceAll(q.streamTenant, "s.", "a.") + ")"
}

// literal writes a text as SQL; standard_conforming_strings is on.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
