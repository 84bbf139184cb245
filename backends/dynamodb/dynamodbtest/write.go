package dynamodbtest

// maxItem is the size of an item in bytes.
const maxItem = 400 << 10

// write is a change, or a check, of one item: what PutItem, UpdateItem and
// DeleteItem and the actions of a transaction have in common.
type write struct {
	table     *table
	key       item
	condition condition // nil: none
	asked     int       // what the request counts in a transaction, in bytes
	// after makes the item to be stored, nil for its absence.
	after func(before item) (item, *Error)
	// returnOld asks for the item where the condition refuses it.
	returnOld bool
	check     bool // of a condition only
}

// conditional is what a request says about the condition of a write.
type conditional struct {
	ConditionExpression                 *string           `json:"ConditionExpression,omitzero"`
	ExpressionAttributeNames            map[string]string `json:"ExpressionAttributeNames,omitzero"`
	ExpressionAttributeValues           item              `json:"ExpressionAttributeValues,omitzero"`
	ReturnValuesOnConditionCheckFailure string            `json:"ReturnValuesOnConditionCheckFailure,omitzero"`
}

func (c conditional) hasPlaceholders() bool {
	return c.ExpressionAttributeNames != nil || c.ExpressionAttributeValues != nil
}

// parse reads the condition, and the update of an UpdateItem if there is one.
func (c conditional) parse(key schema, updateExpression *string) (cond condition, u *update, err *Error) {
	if err := oneOf("returnValuesOnConditionCheckFailure", c.ReturnValuesOnConditionCheckFailure, "ALL_OLD", "NONE"); err != nil {
		return nil, nil, err
	}
	if c.hasPlaceholders() && c.ConditionExpression == nil && updateExpression == nil {
		return nil, nil, invalid("ExpressionAttributeNames and ExpressionAttributeValues can only be specified when using expressions")
	}
	p, err := newParams(c.ExpressionAttributeNames, c.ExpressionAttributeValues)
	if err != nil {
		return nil, nil, err
	}
	if updateExpression != nil {
		if u, err = parseUpdate(*updateExpression, key, p); err != nil {
			return nil, nil, err
		}
	}
	if c.ConditionExpression != nil {
		if cond, err = parseCondition("ConditionExpression", *c.ConditionExpression, p); err != nil {
			return nil, nil, err
		}
	}
	return cond, u, p.allUsed()
}

// prepared completes a write whose request has been checked.
func (c conditional) prepared(w write) write {
	w.returnOld = c.ReturnValuesOnConditionCheckFailure == "ALL_OLD"
	return w
}

// putWrite, updateWrite, deleteWrite and checkWrite check the request for a
// table and make the write of it.
func putWrite(t *table, it item, c conditional) (write, *Error) {
	if it.size() > maxItem {
		return write{}, invalid("Item size has exceeded the maximum allowed size")
	}
	cond, _, err := c.parse(t.key, nil)
	return c.prepared(write{
		table: t, key: t.key.keyOf(it), condition: cond, asked: it.size(),
		after: func(item) (item, *Error) { return it, nil },
	}), firstError(err, t.key.checkItem(it))
}

func updateWrite(t *table, key item, expression *string, c conditional) (write, *update, *Error) {
	cond, u, err := c.parse(t.key, expression)
	return c.prepared(write{
		table: t, key: key, condition: cond, asked: key.size() + c.ExpressionAttributeValues.valueSize(),
		after: func(before item) (item, *Error) {
			if before == nil {
				before = key
			}
			if u == nil {
				return before, nil
			}
			after, err := u.apply(before)
			if err == nil && after.size() > maxItem {
				err = invalid("Item size to update has exceeded the maximum allowed size")
			}
			return after, err
		},
	}), u, firstError(err, t.key.checkKey(key))
}

func deleteWrite(t *table, key item, c conditional) (write, *Error) {
	cond, _, err := c.parse(t.key, nil)
	return c.prepared(write{
		table: t, key: key, condition: cond, asked: key.size(),
		after: func(item) (item, *Error) { return nil, nil },
	}), firstError(err, t.key.checkKey(key))
}

func checkWrite(t *table, key item, c conditional) (write, *Error) {
	w, err := deleteWrite(t, key, c)
	w.check = true
	w.after = func(before item) (item, *Error) { return before, nil }
	if c.ConditionExpression == nil {
		err = invalid("Invalid ConditionExpression: The expression can not be empty;")
	}
	return w, err
}

// outcome is what a write would do to the item as it is.
type outcome struct {
	before, after item
	refused       bool // by the condition
	units         float64
}

// judge looks at the item as the writer must see it. A refused write is billed
// by the item that is there.
func (w write) judge(before item) (outcome, *Error) {
	o := outcome{before: before, after: before, units: writeUnits(before, nil)}
	if w.condition != nil && !w.condition(before) {
		o.refused = true
		return o, nil
	}
	after, err := w.after(before)
	if err != nil {
		return o, err
	}
	o.after, o.units = after, writeUnits(before, after)
	return o, nil
}

// one carries out a write of a single item.
func (x *execution) one(w write) (outcome, *Error) {
	r := w.table.row(w.key)
	defer w.table.tidy(r)
	if r.holder != nil {
		return outcome{}, Conflict()
	}
	o, err := w.judge(r.current)
	x.bill.add(w.table.name, units{write: o.units})
	switch {
	case err != nil:
		return o, err
	case o.refused:
		refusal := badRequest("ConditionalCheckFailedException", conditionFailed)
		if w.returnOld {
			refusal.item = o.before
		}
		return o, refusal
	}
	x.store.set(w.table, r, o.after)
	return o, nil
}
