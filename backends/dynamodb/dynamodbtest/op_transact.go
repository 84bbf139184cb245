package dynamodbtest

import "slices"

// Limits of a transaction: items, and their bytes.
const (
	maxTransaction      = 100
	maxTransactionBytes = 4 << 20
)

type transactWriteItems struct {
	TransactItems               []transactWrite `json:"TransactItems"`
	ClientRequestToken          string          `json:"ClientRequestToken,omitzero"`
	ReturnConsumedCapacity      string          `json:"ReturnConsumedCapacity,omitzero"`
	ReturnItemCollectionMetrics string          `json:"ReturnItemCollectionMetrics,omitzero"`
}

// transactWrite is one action: exactly one of its members is there.
type transactWrite struct {
	Put            *transactPut `json:"Put,omitzero"`
	Update         *transactKey `json:"Update,omitzero"`
	Delete         *transactKey `json:"Delete,omitzero"`
	ConditionCheck *transactKey `json:"ConditionCheck,omitzero"`
}

type transactPut struct {
	TableName   string `json:"TableName"`
	Item        item   `json:"Item"`
	conditional `json:",inline"`
}

type transactKey struct {
	TableName        string  `json:"TableName"`
	Key              item    `json:"Key"`
	UpdateExpression *string `json:"UpdateExpression,omitzero"`
	conditional      `json:",inline"`
}

type transactAnswer struct {
	ConsumedCapacity []consumedCapacity `json:"ConsumedCapacity,omitzero"`
	Responses        []itemAnswer       `json:"Responses,omitzero"`
}

// transaction holds its rows from the time its conditions were met until its
// items are stored.
type transaction struct {
	decided bool // it will be stored: GetItem shows it from here on
	writes  []write
	rows    []*row
	results []outcome
}

func (t *transactWriteItems) keys(s *store) []Key {
	out := make([]Key, len(t.TransactItems))
	for i, a := range t.TransactItems {
		table, key := a.target()
		out[i] = s.keyFor(table, key)
	}
	return out
}

func (a transactWrite) target() (table string, key item) {
	switch {
	case a.Put != nil:
		return a.Put.TableName, a.Put.Item
	case a.Update != nil:
		return a.Update.TableName, a.Update.Key
	case a.Delete != nil:
		return a.Delete.TableName, a.Delete.Key
	case a.ConditionCheck != nil:
		return a.ConditionCheck.TableName, a.ConditionCheck.Key
	}
	return "", nil
}

func (a transactWrite) check() *Error {
	actions := 0
	for _, there := range []bool{a.Put != nil, a.Update != nil, a.Delete != nil, a.ConditionCheck != nil} {
		if there {
			actions++
		}
	}
	switch {
	case actions == 0:
		return invalid("Invalid Request: TransactWriteRequest should contain Delete or Put or Update request")
	case actions > 1:
		return invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	case a.Update != nil && a.Update.UpdateExpression == nil:
		return invalid("Invalid UpdateExpression: The expression can not be empty;")
	case a.Delete != nil && a.Delete.UpdateExpression != nil, a.ConditionCheck != nil && a.ConditionCheck.UpdateExpression != nil:
		return invalid("dynamodbtest: only an Update has an UpdateExpression")
	}
	return nil
}

func (a transactWrite) write(t *table) (w write, err *Error) {
	switch {
	case a.Put != nil:
		return putWrite(t, a.Put.Item, a.Put.conditional)
	case a.Update != nil:
		w, _, err = updateWrite(t, a.Update.Key, a.Update.UpdateExpression, a.Update.conditional)
		return w, err
	case a.Delete != nil:
		return deleteWrite(t, a.Delete.Key, a.Delete.conditional)
	}
	return checkWrite(t, a.ConditionCheck.Key, a.ConditionCheck.conditional)
}

// checkCount is the rule for the number of a transaction's items.
func checkCount(n int) *Error {
	const about = "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length "
	switch {
	case n == 0:
		return invalid(about + "greater than or equal to 1")
	case n > maxTransaction:
		return invalid(about + "less than or equal to 100")
	}
	return nil
}

func (t *transactWriteItems) run(x *execution) (any, *Error) {
	if err := firstError(checkCount(len(t.TransactItems)), checkCapacityMode(t.ReturnConsumedCapacity),
		oneOf("returnItemCollectionMetrics", t.ReturnItemCollectionMetrics, "SIZE", "NONE")); err != nil {
		return nil, err
	}
	tx, refused, err := t.prepareWrites(x.store)
	if err != nil {
		return nil, err
	}
	token := t.ClientRequestToken
	if token != "" {
		replay, err := x.store.claim(token, t.TransactItems)
		if err != nil {
			return nil, err
		}
		if replay != nil {
			x.bill = *replay
			return transactAnswer{ConsumedCapacity: x.bill.report(t.ReturnConsumedCapacity, true)}, nil
		}
	}
	err = tx.carryOut(x, refused)
	if err != nil {
		x.store.forget(token)
		return nil, err
	}
	x.store.settle(token, tx.replayBill())
	return transactAnswer{ConsumedCapacity: x.bill.report(t.ReturnConsumedCapacity, true)}, nil
}

// prepareWrites checks the request. What is wrong with one item alone becomes
// its reason.
func (t *transactWriteItems) prepareWrites(s *store) (tx *transaction, refused []*Error, err *Error) {
	for _, a := range t.TransactItems {
		if err := a.check(); err != nil {
			return nil, nil, err
		}
	}
	tx = &transaction{}
	refused = make([]*Error, len(t.TransactItems))
	bytes := 0
	for i, a := range t.TransactItems {
		name, _ := a.target()
		table, err := s.active(name)
		if err != nil {
			return nil, nil, err
		}
		w, err := a.write(table)
		if err != nil && !err.ofItem {
			return nil, nil, err
		}
		refused[i] = err
		bytes += w.asked
		for j, other := range tx.writes {
			if err == nil && refused[j] == nil && other.table == w.table && other.key.equal(w.key) {
				return nil, nil, invalid("Transaction request cannot include multiple operations on one item")
			}
		}
		tx.writes = append(tx.writes, w)
	}
	if bytes > maxTransactionBytes {
		return nil, nil, invalid("Collection size of items exceeded, which can also be caused by the aggregate size of the items in the transaction exceeding the 4MB limit")
	}
	return tx, refused, nil
}

// carryOut prepares the items, decides, and stores them one by one.
func (tx *transaction) carryOut(x *execution, refused []*Error) *Error {
	if err := tx.prepare(x, refused); err != nil {
		return err
	}
	err := x.unlocked(func() error {
		if err := x.hold(); err != nil {
			return err
		}
		return x.hooks.prepared(x.ctx, x.call)
	})
	if err != nil {
		tx.release()
		return err
	}
	tx.decided = true
	for step, i := range x.hooks.order(x.call, len(tx.writes)) {
		if x.hooks.BetweenItems != nil && step > 0 {
			_ = x.unlocked(func() error {
				x.hooks.BetweenItems(x.ctx, x.call, i)
				return nil
			})
		}
		tx.store(x.store, i)
	}
	for i, w := range tx.writes {
		x.bill.add(w.table.name, units{write: transactional * tx.results[i].units})
	}
	return nil
}

// prepare judges every item and takes hold of all of them, or cancels.
func (tx *transaction) prepare(x *execution, refused []*Error) *Error {
	reasons := make([]Reason, len(tx.writes))
	cancelled, wouldCost := false, 0.0
	for i, w := range tx.writes {
		reasons[i] = Reason{Code: CodeNone}
		if refused[i] != nil {
			reasons[i] = Reason{Code: CodeValidation, Message: refused[i].Message}
			cancelled = true
			tx.results = append(tx.results, outcome{})
			tx.rows = append(tx.rows, nil)
			continue
		}
		r := w.table.row(w.key)
		tx.rows = append(tx.rows, r)
		o, err := w.judge(r.current)
		tx.results = append(tx.results, o)
		wouldCost += transactional * o.units
		switch {
		case r.holder != nil:
			reasons[i] = Reason{Code: CodeTransactionConflict, Message: conflictMessage}
		case err != nil:
			reasons[i] = Reason{Code: CodeValidation, Message: err.Message}
		case o.refused:
			reasons[i] = Reason{Code: CodeConditionalCheckFailed, Message: conditionFailed}
			if w.returnOld {
				reasons[i].item = o.before
			}
		default:
			continue
		}
		cancelled = true
	}
	for i, r := range tx.rows {
		switch {
		case r == nil:
		case cancelled:
			tx.writes[i].table.tidy(r)
		default:
			r.holder, r.next = tx, tx.results[i].after
		}
	}
	if cancelled {
		x.store.usage.CanceledTransactions++
		x.store.usage.CanceledUnits += wouldCost
		return canceled(reasons)
	}
	return nil
}

// store makes one item visible to everybody and lets go of it.
func (tx *transaction) store(s *store, i int) {
	r := tx.rows[i]
	next := r.next
	r.holder, r.next = nil, nil
	if tx.writes[i].check {
		tx.writes[i].table.tidy(r)
		return
	}
	s.set(tx.writes[i].table, r, next)
}

// release gives up what was prepared.
func (tx *transaction) release() {
	for i, r := range tx.rows {
		r.holder, r.next = nil, nil
		tx.writes[i].table.tidy(r)
	}
}

// replayBill is what a repetition with the same token costs: reading the items.
func (tx *transaction) replayBill() bill {
	var b bill
	for i, w := range tx.writes {
		size := max(tx.results[i].before.size(), tx.results[i].after.size())
		b.add(w.table.name, units{read: transactional * readUnits(size, true)})
	}
	return b
}

type transactGetItems struct {
	TransactItems          []transactGet `json:"TransactItems"`
	ReturnConsumedCapacity string        `json:"ReturnConsumedCapacity,omitzero"`
}

type transactGet struct {
	Get struct {
		TableName                string            `json:"TableName"`
		Key                      item              `json:"Key"`
		ProjectionExpression     *string           `json:"ProjectionExpression,omitzero"`
		ExpressionAttributeNames map[string]string `json:"ExpressionAttributeNames,omitzero"`
	} `json:"Get"`
}

func (t *transactGetItems) keys(s *store) []Key {
	out := make([]Key, len(t.TransactItems))
	for i, g := range t.TransactItems {
		out[i] = s.keyFor(g.Get.TableName, g.Get.Key)
	}
	return out
}

func (t *transactGetItems) run(x *execution) (any, *Error) {
	if err := firstError(checkCount(len(t.TransactItems)), checkCapacityMode(t.ReturnConsumedCapacity)); err != nil {
		return nil, err
	}
	answer := transactAnswer{Responses: make([]itemAnswer, len(t.TransactItems))}
	reasons := make([]Reason, len(t.TransactItems))
	bytes := 0
	for i, g := range t.TransactItems {
		keep, err := keptPart(g.Get.ProjectionExpression, g.Get.ExpressionAttributeNames)
		if err != nil {
			return nil, err
		}
		table, err := x.store.active(g.Get.TableName)
		if err != nil {
			return nil, err
		}
		reasons[i] = Reason{Code: CodeNone}
		if err := table.key.checkKey(g.Get.Key); err != nil {
			reasons[i] = Reason{Code: CodeValidation, Message: err.Message}
			continue
		}
		r := table.row(g.Get.Key)
		found := r.serial()
		if r.holder != nil {
			reasons[i] = Reason{Code: CodeTransactionConflict, Message: conflictMessage}
		}
		table.tidy(r)
		bytes += found.size()
		x.bill.add(table.name, units{read: transactional * readUnits(found.size(), true)})
		if found != nil {
			answer.Responses[i].Item = keep.of(found)
		}
	}
	if slices.ContainsFunc(reasons, func(r Reason) bool { return r.Code != CodeNone }) {
		return nil, canceled(reasons)
	}
	if bytes > maxTransactionBytes {
		return nil, invalid("Collection size of items exceeded, which can also be caused by the aggregate size of the items in the transaction exceeding the 4MB limit")
	}
	answer.ConsumedCapacity = x.bill.report(t.ReturnConsumedCapacity, true)
	return answer, nil
}
