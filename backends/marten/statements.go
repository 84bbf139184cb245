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
	// numbered is what of the tenant's condition bounds the sequence's numbers: all of
	// them are one order, but for a partition's, which has its own.
	numbered string
	live     string // a condition: the event is delivered
	from     string // mt_events e, with what its name needs
	name     string // the name of the event's stream
	function string // the statement that calls Marten's function
	// The same, where it starts a stream, and what comes before that.
	starting, startLock string
	judge               string // the statement that judges a group
	// What begins a transaction that writes: alone, or beside those that write elsewhere.
	alone, shared string
	// The steps of a transaction that writes; see makeSteps.
	create, identify, number, insert, update string
	columns                                  string // of an event; whether it is live comes after them
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
	if s.tenantPartitioned {
		q.numbered = q.tenant
	}
	live := []string{"e.type <> '" + tombstoneType + "'"}
	if s.conjoined {
		live = append(live, "e.tenant_id = "+q.tenantValue)
	}
	if s.skipped {
		live = append(live, "e.is_skipped is not true")
	}
	if opts.HideArchived {
		live = append(live, "e.is_archived is not true")
	} else if s.archivePartitioned { // of an ID that was started again, the archived events are not delivered
		live = append(live, "not (e.is_archived and "+q.restarted()+")")
	}
	q.live = "(" + strings.Join(live, " and ") + ")"
	q.from, q.name = q.events+" e", "e.stream_id"
	if s.uuidKeys {
		q.id = "uuid"
		join := "s.id = e.stream_id" + q.streamTenant
		if s.archivePartitioned {
			join += " and s.is_archived = e.is_archived"
		}
		q.from += " left join " + q.streams + " s on " + join
		q.name = "coalesce(nullif(s.type, '') || '-', '') || e.stream_id::text"
	}
	column := func(there bool, name string) string {
		if there {
			return "e." + name
		}
		return "null"
	}
	headers := "null::text"
	if s.headers {
		headers = "nullif(e.headers, 'null')::text"
	}
	data := "e.data::text, null::bytea"
	if s.binary {
		data = "case when e.bdata is null then e.data::text end, e.bdata"
	}
	q.columns = fmt.Sprintf(`e.seq_id, e.version::bigint, e.id, e.timestamp, (%s)::text, e.type::text, %s,
		%s, %s::text, %s::text, %s::text`, q.name, data, headers,
		column(s.correlation, "correlation_id"), column(s.causation, "causation_id"), column(s.userName, "user_name"))
	if s.function {
		q.function, q.starting = q.functionCall(s, opts.Schema), q.startingCall(s, opts.Schema)
	}
	q.makeBegin()
	q.judge = q.judgement(s)
	q.makeSteps(s, opts.Schema)
	return q
}

// restarted is a condition: the event's stream has a generation that is not archived.
func (q *statements) restarted() string {
	return "exists (select from " + q.streams + " a where a.id = e.stream_id and not a.is_archived" + strings.ReplaceAll(q.streamTenant, "s.", "a.") + ")"
}

// literal writes a text as SQL; standard_conforming_strings is on.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
