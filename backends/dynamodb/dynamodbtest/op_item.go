package dynamodbtest

// answer of GetItem, PutItem, UpdateItem and DeleteItem.
type itemAnswer struct {
	Item             item              `json:"Item,omitzero"`
	Attributes       item              `json:"Attributes,omitzero"`
	ConsumedCapacity *consumedCapacity `json:"ConsumedCapacity,omitzero"`
}

// common members of requests that write one item.
type writeOptions struct {
	ReturnValues                string `json:"ReturnValues,omitzero"`
	ReturnConsumedCapacity      string `json:"ReturnConsumedCapacity,omitzero"`
	ReturnItemCollectionMetrics string `json:"ReturnItemCollectionMetrics,omitzero"` // there are no local indexes to measure
}

func (o writeOptions) check(allowed ...string) *Error {
	return firstError(
		oneOf("returnValues", o.ReturnValues, "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"),
		o.checkAllowed(allowed),
		checkCapacityMode(o.ReturnConsumedCapacity),
		oneOf("returnItemCollectionMetrics", o.ReturnItemCollectionMetrics, "SIZE", "NONE"),
	)
}

func (o writeOptions) checkAllowed(allowed []string) *Error {
	if allowed == nil {
		return nil
	}
	if oneOf("", o.ReturnValues, allowed...) != nil {
		return invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	return nil
}

type getItem struct {
	TableName                string            `json:"TableName"`
	Key                      item              `json:"Key"`
	ConsistentRead           bool              `json:"ConsistentRead,omitzero"`
	ProjectionExpression     *string           `json:"ProjectionExpression,omitzero"`
	ExpressionAttributeNames map[string]string `json:"ExpressionAttributeNames,omitzero"`
	ReturnConsumedCapacity   string            `json:"ReturnConsumedCapacity,omitzero"`
}

func (g *getItem) keys(s *store) []Key { return []Key{s.keyFor(g.TableName, g.Key)} }

func (g *getItem) run(x *execution) (any, *Error) {
	if err := checkCapacityMode(g.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	keep, err := keptPart(g.ProjectionExpression, g.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	t, err := x.store.active(g.TableName)
	if err != nil {
		return nil, err
	}
	if err := t.key.checkKey(g.Key); err != nil {
		return nil, err
	}
	r := t.row(g.Key)
	defer t.tidy(r)
	found := r.eventual()
	if g.ConsistentRead || !r.lagging {
		found = r.serial()
	}
	x.bill.add(t.name, units{read: readUnits(found.size(), g.ConsistentRead)})
	answer := itemAnswer{ConsumedCapacity: x.bill.reportOne(g.ReturnConsumedCapacity)}
	if found != nil {
		answer.Item = keep.of(found)
	}
	return answer, nil
}

// keptPart reads the projection of a request that has no other expression.
func keptPart(expression *string, names map[string]string) (*projection, *Error) {
	if expression == nil {
		if names != nil {
			return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
		}
		return nil, nil
	}
	p, err := newParams(names, nil)
	if err != nil {
		return nil, err
	}
	keep, err := parseProjection(*expression, p)
	if err != nil {
		return nil, err
	}
	return keep, p.allUsed()
}

type putItem struct {
	TableName    string `json:"TableName"`
	Item         item   `json:"Item"`
	conditional  `json:",inline"`
	writeOptions `json:",inline"`
}

func (p *putItem) keys(s *store) []Key { return []Key{s.keyFor(p.TableName, p.Item)} }

func (p *putItem) run(x *execution) (any, *Error) {
	if err := p.check("ALL_OLD", "NONE"); err != nil {
		return nil, err
	}
	t, err := x.store.active(p.TableName)
	if err != nil {
		return nil, err
	}
	w, err := putWrite(t, p.Item, p.conditional)
	if err != nil {
		return nil, err
	}
	return x.answerOld(w, p.writeOptions)
}

type deleteItem struct {
	TableName    string `json:"TableName"`
	Key          item   `json:"Key"`
	conditional  `json:",inline"`
	writeOptions `json:",inline"`
}

func (d *deleteItem) keys(s *store) []Key { return []Key{s.keyFor(d.TableName, d.Key)} }

func (d *deleteItem) run(x *execution) (any, *Error) {
	if err := d.check("ALL_OLD", "NONE"); err != nil {
		return nil, err
	}
	t, err := x.store.active(d.TableName)
	if err != nil {
		return nil, err
	}
	w, err := deleteWrite(t, d.Key, d.conditional)
	if err != nil {
		return nil, err
	}
	return x.answerOld(w, d.writeOptions)
}

// answerOld carries out a write that can return what it replaced.
func (x *execution) answerOld(w write, options writeOptions) (any, *Error) {
	o, err := x.one(w)
	if err != nil {
		return nil, err
	}
	answer := itemAnswer{ConsumedCapacity: x.bill.reportOne(options.ReturnConsumedCapacity)}
	if options.ReturnValues == "ALL_OLD" {
		answer.Attributes = o.before
	}
	return answer, nil
}

type updateItem struct {
	TableName        string  `json:"TableName"`
	Key              item    `json:"Key"`
	UpdateExpression *string `json:"UpdateExpression,omitzero"`
	conditional      `json:",inline"`
	writeOptions     `json:",inline"`
}

func (u *updateItem) keys(s *store) []Key { return []Key{s.keyFor(u.TableName, u.Key)} }

func (u *updateItem) run(x *execution) (any, *Error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	t, err := x.store.active(u.TableName)
	if err != nil {
		return nil, err
	}
	w, changes, err := updateWrite(t, u.Key, u.UpdateExpression, u.conditional)
	if err != nil {
		return nil, err
	}
	o, err := x.one(w)
	if err != nil {
		return nil, err
	}
	answer := itemAnswer{ConsumedCapacity: x.bill.reportOne(u.ReturnConsumedCapacity)}
	changed := func(it item) item {
		if changes == nil || it == nil {
			return nil
		}
		if part := projectionOf(changes.paths()).of(it); len(part) > 0 {
			return part
		}
		return nil
	}
	switch u.ReturnValues {
	case "ALL_OLD":
		answer.Attributes = o.before
	case "ALL_NEW":
		answer.Attributes = o.after
	case "UPDATED_OLD":
		answer.Attributes = changed(o.before)
	case "UPDATED_NEW":
		answer.Attributes = changed(o.after)
	}
	return answer, nil
}
