package dynamodbtest

import (
	"fmt"
	"maps"
	"slices"
)

// Limits of batches: items, and the bytes of an answer or a request.
const (
	maxBatchGet   = 100
	maxBatchWrite = 25
	maxBatchBytes = 16 << 20
)

type batchGetItem struct {
	RequestItems           map[string]batchKeys `json:"RequestItems"`
	ReturnConsumedCapacity string               `json:"ReturnConsumedCapacity,omitzero"`
}

type batchKeys struct {
	Keys                     []item            `json:"Keys"`
	ConsistentRead           bool              `json:"ConsistentRead,omitzero"`
	ProjectionExpression     *string           `json:"ProjectionExpression,omitzero"`
	ExpressionAttributeNames map[string]string `json:"ExpressionAttributeNames,omitzero"`
}

type batchGetAnswer struct {
	Responses        map[string][]item    `json:"Responses"`
	UnprocessedKeys  map[string]batchKeys `json:"UnprocessedKeys"`
	ConsumedCapacity []consumedCapacity   `json:"ConsumedCapacity,omitzero"`
}

func (b *batchGetItem) keys(s *store) []Key {
	var out []Key
	for _, name := range slices.Sorted(maps.Keys(b.RequestItems)) {
		for _, key := range b.RequestItems[name].Keys {
			out = append(out, s.keyFor(name, key))
		}
	}
	return out
}

func (b *batchGetItem) check(s *store) *Error {
	if err := checkCapacityMode(b.ReturnConsumedCapacity); err != nil {
		return err
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(b.RequestItems)) {
		wanted := b.RequestItems[name]
		total += len(wanted.Keys)
		if len(wanted.Keys) == 0 {
			return invalid("1 validation error detected: Value at 'requestItems." + name + ".member.keys' failed to satisfy constraint: Member must have length greater than or equal to 1")
		}
		t, err := s.active(name)
		if err != nil {
			return err
		}
		for i, key := range wanted.Keys {
			if err := t.key.checkKey(key); err != nil {
				return err
			}
			if slices.ContainsFunc(wanted.Keys[:i], key.equal) {
				return invalid("Provided list of item keys contains duplicates")
			}
		}
	}
	switch {
	case total == 0:
		return invalid("1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case total > maxBatchGet:
		return invalid("Too many items requested for the BatchGetItem call")
	}
	return nil
}

func (b *batchGetItem) run(x *execution) (any, *Error) {
	if err := b.check(x.store); err != nil {
		return nil, err
	}
	answer := batchGetAnswer{Responses: map[string][]item{}, UnprocessedKeys: map[string]batchKeys{}}
	left := x.processed()
	bytes := 0
	for _, name := range slices.Sorted(maps.Keys(b.RequestItems)) {
		wanted := b.RequestItems[name]
		keep, err := keptPart(wanted.ProjectionExpression, wanted.ExpressionAttributeNames)
		if err != nil {
			return nil, err
		}
		t := x.store.tables[name]
		answer.Responses[name] = []item{}
		rest := wanted
		rest.Keys = nil
		for _, key := range wanted.Keys {
			r := t.row(key)
			found := r.committed()
			if !wanted.ConsistentRead {
				found = r.eventual()
			}
			t.tidy(r)
			if left == 0 || bytes+found.size() > maxBatchBytes {
				rest.Keys = append(rest.Keys, key)
				continue
			}
			left--
			bytes += found.size()
			x.bill.add(name, units{read: readUnits(found.size(), wanted.ConsistentRead)})
			if found != nil {
				answer.Responses[name] = append(answer.Responses[name], keep.of(found))
			}
		}
		if rest.Keys != nil {
			answer.UnprocessedKeys[name] = rest
		}
	}
	answer.ConsumedCapacity = x.bill.report(b.ReturnConsumedCapacity, false)
	return answer, nil
}

// processed is how many items of a batch are to be processed.
func (x *execution) processed() int {
	all := len(x.call.Keys)
	if x.hooks.Unprocessed == nil {
		return all
	}
	return max(all-x.hooks.Unprocessed(x.call), 0)
}

type batchWriteItem struct {
	RequestItems                map[string][]batchWrite `json:"RequestItems"`
	ReturnConsumedCapacity      string                  `json:"ReturnConsumedCapacity,omitzero"`
	ReturnItemCollectionMetrics string                  `json:"ReturnItemCollectionMetrics,omitzero"`
}

type batchWrite struct {
	PutRequest *struct {
		Item item `json:"Item"`
	} `json:"PutRequest,omitzero"`
	DeleteRequest *struct {
		Key item `json:"Key"`
	} `json:"DeleteRequest,omitzero"`
}

type batchWriteAnswer struct {
	UnprocessedItems map[string][]batchWrite `json:"UnprocessedItems"`
	ConsumedCapacity []consumedCapacity      `json:"ConsumedCapacity,omitzero"`
}

func (b batchWrite) target() item {
	switch {
	case b.PutRequest != nil:
		return b.PutRequest.Item
	case b.DeleteRequest != nil:
		return b.DeleteRequest.Key
	}
	return nil
}

func (b batchWrite) write(t *table) (write, *Error) {
	switch {
	case b.PutRequest != nil && b.DeleteRequest != nil:
		return write{}, invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	case b.PutRequest != nil:
		return putWrite(t, b.PutRequest.Item, conditional{})
	case b.DeleteRequest != nil:
		return deleteWrite(t, b.DeleteRequest.Key, conditional{})
	}
	return write{}, invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
}

func (b *batchWriteItem) keys(s *store) []Key {
	var out []Key
	for _, name := range slices.Sorted(maps.Keys(b.RequestItems)) {
		for _, w := range b.RequestItems[name] {
			out = append(out, s.keyFor(name, w.target()))
		}
	}
	return out
}

// planned is a write of a batch with the part of the request that asked for it.
type planned struct {
	table string
	asked batchWrite
	write write
}

func (b *batchWriteItem) plan(s *store) ([]planned, *Error) {
	if err := firstError(checkCapacityMode(b.ReturnConsumedCapacity), oneOf("returnItemCollectionMetrics", b.ReturnItemCollectionMetrics, "SIZE", "NONE")); err != nil {
		return nil, err
	}
	var all []planned
	bytes := 0
	for _, name := range slices.Sorted(maps.Keys(b.RequestItems)) {
		t, err := s.active(name)
		if err != nil {
			return nil, err
		}
		first := len(all)
		for _, asked := range b.RequestItems[name] {
			w, err := asked.write(t)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(all[first:], func(p planned) bool { return p.write.key.equal(w.key) }) {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			bytes += w.asked
			all = append(all, planned{name, asked, w})
		}
	}
	const about = "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Member must have length "
	switch {
	case len(all) == 0:
		return nil, invalid(about + "greater than or equal to 1")
	case len(all) > maxBatchWrite:
		return nil, invalid(about + fmt.Sprintf("less than or equal to %d", maxBatchWrite))
	case bytes > maxBatchBytes:
		return nil, invalid("Collection size of items exceeded, the aggregate size of the items in the request exceeds the 16MB limit")
	}
	return all, nil
}

func (b *batchWriteItem) run(x *execution) (any, *Error) {
	all, err := b.plan(x.store)
	if err != nil {
		return nil, err
	}
	answer := batchWriteAnswer{UnprocessedItems: map[string][]batchWrite{}}
	left := x.processed()
	for _, p := range all {
		if left > 0 {
			left--
			_, err := x.one(p.write)
			if err == nil {
				continue
			}
			if err.Type != Conflict().Type {
				return nil, err
			}
		}
		answer.UnprocessedItems[p.table] = append(answer.UnprocessedItems[p.table], p.asked)
	}
	answer.ConsumedCapacity = x.bill.report(b.ReturnConsumedCapacity, false)
	return answer, nil
}
