package dynamodbtest

import "slices"

// maxPage is how many bytes a Query or a Scan reads, before it filters.
const maxPage = 1 << 20

// readOptions are common to Query and Scan.
type readOptions struct {
	TableName                 string            `json:"TableName"`
	ConsistentRead            bool              `json:"ConsistentRead,omitzero"`
	ExclusiveStartKey         item              `json:"ExclusiveStartKey,omitzero"`
	ExpressionAttributeNames  map[string]string `json:"ExpressionAttributeNames,omitzero"`
	ExpressionAttributeValues item              `json:"ExpressionAttributeValues,omitzero"`
	FilterExpression          *string           `json:"FilterExpression,omitzero"`
	Limit                     *int              `json:"Limit,omitzero"`
	ProjectionExpression      *string           `json:"ProjectionExpression,omitzero"`
	ReturnConsumedCapacity    string            `json:"ReturnConsumedCapacity,omitzero"`
	Select                    string            `json:"Select,omitzero"`
}

type query struct {
	readOptions            `json:",inline"`
	KeyConditionExpression *string `json:"KeyConditionExpression,omitzero"`
	ScanIndexForward       *bool   `json:"ScanIndexForward,omitzero"`
}

type scan struct {
	readOptions   `json:",inline"`
	Segment       int `json:"Segment,omitzero"`
	TotalSegments int `json:"TotalSegments,omitzero"`
}

type pageAnswer struct {
	Items            []item            `json:"Items,omitzero"`
	Count            int               `json:"Count"`
	ScannedCount     int               `json:"ScannedCount"`
	LastEvaluatedKey item              `json:"LastEvaluatedKey,omitzero"`
	ConsumedCapacity *consumedCapacity `json:"ConsumedCapacity,omitzero"`
}

// page reads rows in order; after is where it goes on.
type page struct {
	readOptions
	table  *table
	filter condition
	keep   *projection
}

func (o readOptions) check() *Error {
	if o.Limit != nil && *o.Limit < 1 {
		return invalid("1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")
	}
	if o.ProjectionExpression != nil && o.Select != "" && o.Select != "SPECIFIC_ATTRIBUTES" {
		return invalid("Cannot specify the ProjectionExpression when choosing to get " + o.Select)
	}
	return firstError(
		checkCapacityMode(o.ReturnConsumedCapacity),
		oneOf("select", o.Select, "SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES"),
	)
}

// prepare reads the expressions for a table. Only a Scan filters by the key.
func (o readOptions) prepare(t *table, p *params, keyToo bool) (page, *Error) {
	pg := page{readOptions: o, table: t}
	var err *Error
	if o.FilterExpression != nil {
		clear(p.roots)
		if pg.filter, err = parseCondition("FilterExpression", *o.FilterExpression, p); err != nil {
			return pg, err
		}
		for _, a := range t.key.attributes() {
			if p.roots[a.name] && !keyToo {
				return pg, invalid("Filter Expression can only contain non-primary key attributes: Primary key attribute: " + a.name)
			}
		}
	}
	if o.ProjectionExpression != nil {
		if pg.keep, err = parseProjection(*o.ProjectionExpression, p); err != nil {
			return pg, err
		}
	}
	if o.ExclusiveStartKey != nil && t.key.checkKey(o.ExclusiveStartKey) != nil {
		return pg, invalid("The provided starting key is invalid: " + wrongKey)
	}
	return pg, p.allUsed()
}

// read takes the page from rows.
func (pg page) read(x *execution, rows []*row) pageAnswer {
	answer := pageAnswer{Items: []item{}}
	bytes := 0
	var last item
	for _, r := range rows {
		found := r.committed()
		if !pg.ConsistentRead {
			found = r.eventual()
		}
		if found == nil {
			continue
		}
		size := found.size()
		if answer.ScannedCount > 0 && bytes+size > maxPage {
			answer.LastEvaluatedKey = pg.table.key.keyOf(last)
			break
		}
		bytes += size
		last = found
		answer.ScannedCount++
		if pg.filter == nil || pg.filter(found) {
			answer.Items = append(answer.Items, pg.keep.of(found))
		}
		if pg.Limit != nil && answer.ScannedCount == *pg.Limit {
			answer.LastEvaluatedKey = pg.table.key.keyOf(last) // whether or not there is more
			break
		}
	}
	answer.Count = len(answer.Items)
	if pg.Select == "COUNT" {
		answer.Items = nil
	}
	x.bill.add(pg.table.name, units{read: readUnits(bytes, pg.ConsistentRead)})
	answer.ConsumedCapacity = x.bill.reportOne(pg.ReturnConsumedCapacity)
	return answer
}

func (q *query) keys(*store) []Key { return []Key{{Table: q.TableName}} }

func (q *query) run(x *execution) (any, *Error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if q.KeyConditionExpression == nil {
		return nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	t, err := x.store.active(q.TableName)
	if err != nil {
		return nil, err
	}
	p, err := newParams(q.ExpressionAttributeNames, q.ExpressionAttributeValues)
	if err != nil {
		return nil, err
	}
	selected, err := parseKeyCondition(*q.KeyConditionExpression, t.key, p)
	if err != nil {
		return nil, err
	}
	pg, err := q.prepare(t, p, false)
	if err != nil {
		return nil, err
	}
	var rows []*row
	if found := t.partitions[selected.partition.String()]; found != nil {
		rows = slices.Clone(found.between(selected.sort))
	}
	forward := q.ScanIndexForward == nil || *q.ScanIndexForward
	if !forward {
		slices.Reverse(rows)
	}
	if start := q.ExclusiveStartKey; start != nil {
		if !start[t.key.partition.name].equal(selected.partition) {
			return nil, invalid("The provided starting key is outside query boundaries based on provided conditions")
		}
		rows = slices.DeleteFunc(rows, func(r *row) bool {
			order := r.sort.compare(start[t.key.sort.name])
			return order == 0 || order < 0 == forward
		})
	}
	return pg.read(x, rows), nil
}

func (s *scan) keys(*store) []Key { return []Key{{Table: s.TableName}} }

func (s *scan) run(x *execution) (any, *Error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.TotalSegments < 0 || s.Segment < 0 || s.Segment > 0 && s.Segment >= s.TotalSegments {
		return nil, invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments")
	}
	t, err := x.store.active(s.TableName)
	if err != nil {
		return nil, err
	}
	p, err := newParams(s.ExpressionAttributeNames, s.ExpressionAttributeValues)
	if err != nil {
		return nil, err
	}
	pg, err := s.prepare(t, p, true)
	if err != nil {
		return nil, err
	}
	rows := t.scanOrder()
	if s.TotalSegments > 1 {
		rows = slices.DeleteFunc(rows, func(r *row) bool {
			return int(partitionHash(r.partition.key)%uint64(s.TotalSegments)) != s.Segment
		})
	}
	if start := s.ExclusiveStartKey; start != nil {
		from := t.key.place(start)
		rows = slices.DeleteFunc(rows, func(r *row) bool { return r.place().compare(from) <= 0 })
	}
	return pg.read(x, rows), nil
}
