package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// category is an event's, as the index of categories has it.
const category = "split_part(stream_id, '-', 1)"

// query is a select of events for a page. Its rows are those that eachEvent takes.
type query struct {
	order      []string
	backward   bool
	conditions strings.Builder
	args       []any
	missing    string // tells whether the event that the page follows is not there
	// passed and beyond are the last event of a filter's window and the first position
	// after it.
	passed, beyond string
}

// param adds an argument and returns its name.
func (q *query) param(arg any) string {
	q.args = append(q.args, arg)
	return "$" + strconv.Itoa(len(q.args))
}

func (q *query) where(condition string, arg any) {
	if q.conditions.Len() == 0 {
		q.conditions.WriteString(" where ")
	} else {
		q.conditions.WriteString(" and ")
	}
	q.conditions.WriteString(condition)
	q.conditions.WriteString(q.param(arg))
}

// whereAny is where for a list of values; condition is an operator with its operand.
func (q *query) whereAny(condition string, values []string) {
	if len(values) == 1 {
		q.where(condition, values[0])
		return
	}
	q.where(condition+"any(", values)
	q.conditions.WriteString(")")
}

// filter narrows a page to what matches in a window of positions. planned says that the
// query wants a plan for its values.
func (q *query) filter(f eventstore.Filter, w window) (planned bool) {
	categories := f.Categories
	// Prefixes that reach beyond the category name it, and the category is indexed.
	if len(categories) == 0 {
		categories = categoriesOf(f.StreamPrefixes)
	}
	if len(categories) == 1 {
		q.ofCategory(categories[0], w)
	} else {
		planned = true
		q.where("global_position > ", w.low)
		q.where("global_position <= ", w.high)
		if len(categories) > 0 {
			q.whereAny(category+" = ", categories)
		}
	}
	if len(f.StreamPrefixes) > 0 {
		q.whereAny("stream_id ^@ ", f.StreamPrefixes)
	}
	if len(f.Types) > 0 {
		q.whereAny("event_type = ", f.Types)
	}
	return planned
}

// ofCategory narrows a page to one category. Conditions and order are those of the
// index of categories, so that the server reads there whatever it takes a category's
// share to be, and a plan for any values is as good as one for these
// (TestARareCategoryIsFoundByItsIndexHoweverOftenItIsRead).
func (q *query) ofCategory(name string, w window) {
	q.order = []string{category, "global_position"}
	of := q.param(name)
	q.where("("+category+", global_position) > ("+of+", ", w.low)
	q.conditions.WriteString(")")
	q.where("("+category+", global_position) <= ("+of+", ", w.high)
	q.conditions.WriteString(")")
}

// categoriesOf returns the categories of prefixes, where each of them names one.
func categoriesOf(prefixes []string) []string {
	var categories []string
	for _, prefix := range prefixes {
		if !strings.Contains(prefix, "-") {
			return nil
		}
		categories = append(categories, eventstore.Category(prefix))
	}
	return categories
}

// follow has the page say whether the event that it is to follow is in its place, as
// the same snapshot shows it.
func (q *query) follow(req eventstore.ReadAllRequest) {
	if !req.After.Named() || req.Backward {
		return
	}
	if _, low := req.After.Position.Words(); low != 0 {
		q.missing = "true" // no position of this store
		return
	}
	q.missing = "not exists (select from {events} where global_position = " + q.param(pgdriver.After(req.After.Position)) +
		" and stream_id = " + q.param(req.After.Stream) + " and version = " + q.param(pgdriver.Clamp(req.After.Version)) +
		" and id = " + q.param(req.After.ID) + ")"
}

// within has the page say what its window holds, match or not, and what is beyond it.
func (q *query) within(w window) {
	low, high := q.param(w.low), q.param(w.high)
	last := "desc"
	q.beyond = "(select min(global_position) from {events} where global_position > " + high + " and global_position <= "
	if q.backward {
		last = "asc"
		q.beyond = "(select max(global_position) from {events} where global_position <= " + low + " and global_position > "
		q.beyond += q.param(w.bottom) + ")"
	} else {
		q.beyond += q.param(w.top) + ")"
	}
	q.passed = `(select global_position, version, stream_id, id from {events} where global_position > ` + low +
		` and global_position <= ` + high + ` order by global_position ` + last + ` limit 1)`
}

// ofStream returns the query for a page of one stream.
func (q *query) ofStream(sql *statements, limit int) (string, []any) {
	return headed(sql.table, q.events(sql, limit)), q.args
}

// ofAll returns the query for a page of the global order.
func (q *query) ofAll(sql *statements, limit int) (string, []any) {
	text := q.head(sql) + " union all (" + q.events(sql, limit) + ")"
	return strings.NewReplacer("{events}", sql.events, "{store}", sql.store).Replace(text), q.args
}

// headed puts the first row, which has the OID of the table, before a select of events.
// The OID in each row would cost more: rows that are the table's own columns in their
// order are sent as they are stored. Both parts are run in their order, and the reader
// checks that of the events.
func headed(table, events string) string {
	return `select null::bigint, null::bigint, null::uuid, null::timestamptz, null::text, null::text, (` + table +
		`)::text, null::bytea, null::bytea union all (` + events + `)`
}

// head selects the first row of a page of the global order: the stamp and, of a
// filter's window, what it has last and what is beyond it.
func (q *query) head(sql *statements) string {
	stamp := fmt.Sprintf("(%s + case when s.seal_reason is null then 0 else %d end", sql.table, stampSealed)
	if q.missing != "" {
		stamp += fmt.Sprintf(" + case when %s then %d else 0 end", q.missing, stampMissing)
	}
	stamp += ")::text"
	if q.passed == "" {
		return `select null::bigint, null::bigint, null::uuid, null::timestamptz, null::text, null::text, ` + stamp +
			`, null::bytea, null::bytea from {store} s`
	}
	return `select passed.global_position, passed.version, passed.id, null::timestamptz, passed.stream_id, null::text, ` + stamp +
		` || coalesce(' ' || ` + q.beyond + `, ''), null::bytea, null::bytea from {store} s left join lateral ` + q.passed + ` passed on true`
}

// events selects the events.
func (q *query) events(sql *statements, limit int) string {
	direction := ""
	if q.backward {
		direction = " desc"
	}
	return "select " + eventColumns + " from " + sql.events + q.conditions.String() +
		" order by " + strings.Join(q.order, direction+", ") + direction + " limit " + q.param(limit)
}
