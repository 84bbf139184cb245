package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Target keeps read models in a database.
type Target[Tx any] struct {
	db      Database[Tx]
	dialect Dialect
	sql     statements
	turn    chan struct{} // full while as many transactions work as may; nil where any number may

	mu    sync.Mutex
	lent  map[string]*lent         // by name, while an update of this process works
	moved map[string]chan struct{} // by name, closed at its next checkpoint
	asks  map[string]*asked        // by name, while one asks for all who wait
}

// Open makes the table of checkpoints where there is none. connections is how many the
// database is limited to, 0 where it is not.
func Open[Tx any](ctx context.Context, db Database[Tx], dialect Dialect, connections int) (*Target[Tx], error) {
	t := &Target[Tx]{
		db: db, dialect: dialect, sql: newStatements(dialect, ""),
		lent: make(map[string]*lent), moved: make(map[string]chan struct{}), asks: make(map[string]*asked),
	}
	switch {
	case dialect.OneWriter:
		t.turn = make(chan struct{}, 1)
	case connections > 0:
		t.turn = make(chan struct{}, connections-1)
	}
	if t.db.Exec(ctx, t.sql.probe) != nil { // or else also for a role that may not create tables
		if err := t.create(ctx); err != nil {
			return nil, fmt.Errorf("open read models: table %s: %w", table, t.failed(ctx, err))
		}
	}
	if err := t.check(ctx); err != nil {
		return nil, fmt.Errorf("open read models: table %s: %w", table, t.failed(ctx, err))
	}
	return t, nil
}

func (t *Target[Tx]) create(ctx context.Context) error {
	// Two processes that create it at once: PostgreSQL fails one of them.
	var err error
	for range 2 {
		if err = t.db.Exec(ctx, t.sql.create); err == nil {
			break
		}
	}
	if err == nil {
		err = t.db.Exec(ctx, t.sql.probe)
	}
	return err
}

// check refuses a table that is not as this package makes it, and finds its schema.
func (t *Target[Tx]) check(ctx context.Context) error {
	if err := t.db.Exec(ctx, t.sql.types); err != nil {
		return fmt.Errorf("a column has another type than this package gives it; rename the table, and it is made anew: %w", err)
	}
	if t.dialect.Schema == "" {
		if err := t.db.Exec(ctx, t.sql.key); err != nil {
			return fmt.Errorf("%s: %w", noKey, err)
		}
		return nil
	}
	var schema string
	var keyed bool
	err := t.db.Query(ctx, t.dialect.Schema, nil, func(scan func(...any) error) error { return scan(&schema, &keyed) })
	switch {
	case err != nil:
		return err
	case !keyed:
		return &eventstore.InvalidError{Field: "table " + table, Reason: noKey}
	}
	t.sql = newStatements(t.dialect, schema)
	return nil
}

const noKey = "name is no key of it; rename the table, and it is made anew"

// Update is [projection.Target]'s.
func (t *Target[Tx]) Update(ctx context.Context, to eventstore.Checkpoint, f func(ctx context.Context, tx Tx, after eventstore.Position) error) error {
	if err := checkName("name", to.Name); err != nil {
		return err
	}
	if f == nil {
		return &eventstore.InvalidError{Field: "f", Reason: "it is nil; give the function that writes the rows"}
	}
	var failure *failure
	err := t.update(ctx, to, f)
	switch {
	case err == nil:
		t.signal(to.Name)
	case errors.As(err, &failure):
		return t.judged(ctx, to, failure)
	}
	return err
}

// failure is an error of the application's function, with what was stored when it began.
type failure struct {
	began row
	err   error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// judged looks once more at what is stored, after the transaction's end: where another
// owner, or an attempt that was under way still, has moved the checkpoint meanwhile, its
// rows may be what the function met, such as a key that was there already. Then the
// failure is not the event's.
func (t *Target[Tx]) judged(ctx context.Context, to eventstore.Checkpoint, failure *failure) error {
	if ctx.Err() != nil || errors.Is(failure.err, eventstore.ErrUnavailable) || errors.Is(failure.err, eventstore.ErrLeaseLost) {
		return failure.err
	}
	now, err := t.load(ctx, t.db, t.sql.load, to.Name)
	switch {
	case err != nil:
		return fmt.Errorf("%w; whether the checkpoint has moved meanwhile is not known: %w", failure.err, t.failed(ctx, err))
	case to.Epoch < now.Lease.Epoch:
		return fmt.Errorf("%w: %w", &eventstore.LeaseLostError{Name: to.Name, Epoch: to.Epoch, Stored: now.Lease.Epoch}, failure.err)
	case now.Found != failure.began.Found || now.Checkpoint != failure.began.Checkpoint:
		return fmt.Errorf("%w: the checkpoint of %q was moved meanwhile: %w", eventstore.ErrUnavailable, to.Name, failure.err)
	}
	return failure.err
}

// update saves the checkpoint last. In PostgreSQL this locks its row only at the end:
// the lease is in it, and is renewed while f works.
func (t *Target[Tx]) update(ctx context.Context, to eventstore.Checkpoint, f func(ctx context.Context, tx Tx, after eventstore.Position) error) error {
	var lease *lent
	defer func() { t.settle(ctx, to.Name, lease) }() // after the transaction's end
	tx, end, err := t.transaction(ctx, false)
	if err != nil {
		return t.failed(ctx, err)
	}
	defer end()
	began, err := t.begin(ctx, tx, to.Name)
	if err != nil {
		return t.failed(ctx, err)
	}
	if done, err := began.before(to); done || err != nil {
		return err
	}
	if t.dialect.OneWriter {
		lease = t.lend(to.Name, began.Lease)
	}
	if err := t.call(ctx, tx, func(tx Tx) error { return f(ctx, tx, began.Checkpoint.Place.Position) }); err != nil {
		return &failure{began, err}
	}
	if err := t.save(ctx, tx, began, to, lease); err != nil {
		return t.failed(ctx, err)
	}
	return nil
}

// transaction begins one. Those of this target take turns where one at a time writes, so
// that the read models of a process get on alike. Elsewhere those that may last take turns
// on all connections but one, over which the leases are renewed beside them.
func (t *Target[Tx]) transaction(ctx context.Context, short bool) (tx Transaction[Tx], end func(), err error) {
	done := func() {}
	if t.turn != nil && (t.dialect.OneWriter || !short) {
		select {
		case t.turn <- struct{}{}:
			done = func() { <-t.turn }
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	if tx, err = t.db.Begin(ctx); err != nil {
		done()
		return nil, nil, err
	}
	return tx, func() {
		tx.End()
		done()
	}, nil
}

// begin reads where an update goes on. Where one transaction at a time writes, this one
// does from here on.
func (t *Target[Tx]) begin(ctx context.Context, tx Querier, name string) (row, error) {
	if t.dialect.OneWriter {
		return t.locked(ctx, tx, name)
	}
	return t.load(ctx, tx, t.sql.load, name)
}

// before tells, of what is stored, whether there is nothing to do on the way to a
// checkpoint, or why nothing may be done.
func (r *row) before(to eventstore.Checkpoint) (done bool, err error) {
	switch {
	case to.Epoch < r.Lease.Epoch:
		return false, &eventstore.LeaseLostError{Name: to.Name, Epoch: to.Epoch, Stored: r.Lease.Epoch}
	case r.Found && r.Checkpoint.Store != to.Store:
		return false, &eventstore.ForeignCheckpointError{Name: to.Name, Checkpoint: r.Checkpoint.Store, Store: to.Store, Place: r.Checkpoint.Place}
	case r.Found && !r.Checkpoint.Place.Position.Before(to.Place.Position):
		return true, nil
	case r.held:
		return false, fmt.Errorf("%w: read model %q is held still while readers go over to another one", eventstore.ErrUnavailable, to.Name)
	}
	return false, nil
}

// savepoint is there for as long as the transaction is.
const savepoint = `switchyard_update`

// call calls the application's function. A savepoint tells whether the transaction was
// ended meanwhile, by the function or, in SQLite, by an error that it passed over: what
// followed would be committed without the checkpoint, or the checkpoint without it.
func (t *Target[Tx]) call(ctx context.Context, tx Transaction[Tx], f func(Tx) error) error {
	if err := tx.Exec(ctx, `SAVEPOINT `+savepoint); err != nil {
		return t.failed(ctx, err)
	}
	failed := f(tx.Tx())
	if failed != nil && !t.dialect.OneWriter {
		return t.passing(ctx, tx, failed) // an error ends the savepoint as well, in PostgreSQL
	}
	err := tx.Exec(ctx, `RELEASE SAVEPOINT `+savepoint)
	switch {
	case failed != nil && err != nil && ctx.Err() == nil:
		return t.passing(ctx, tx, fmt.Errorf("%s: %w", transactionEnded, failed))
	case failed != nil:
		return t.passing(ctx, tx, failed)
	case err != nil:
		return t.passing(ctx, tx, fmt.Errorf("%s: %w", transactionEnded, err))
	}
	return nil
}

const transactionEnded = "the transaction was ended by the function that was given it, or by an error which that passed over, or is left with open rows; leave commit and rollback to the target, return errors, and close rows"

// save saves a checkpoint in step: where the stored one is as it was when the
// transaction began, for an earlier attempt may have been under way still.
func (t *Target[Tx]) save(ctx context.Context, tx Transaction[Tx], began row, to eventstore.Checkpoint, lease *lent) error {
	var now row
	var err error
	if t.dialect.OneWriter {
		now, err = t.load(ctx, tx, t.sql.load, to.Name) // locked since it began
		now.Lease = t.said(lease)
	} else {
		now, err = t.locked(ctx, tx, to.Name)
	}
	if err != nil {
		return err
	}
	if now.Found != began.Found || now.Checkpoint != began.Checkpoint {
		return fmt.Errorf("%w: the checkpoint of %q was moved meanwhile", eventstore.ErrUnavailable, to.Name)
	}
	if _, err := now.Save(eventstore.SaveCheckpointRequest{Checkpoint: to}); err != nil {
		return err
	}
	if err := t.write(ctx, tx, to.Name, now.Progress); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if lease != nil {
		lease.stored = now.Lease
	}
	return nil
}

// failed gives the error of a statement of this package its meaning.
func (t *Target[Tx]) failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case adapter.IsContract(err):
		return err
	}
	return t.db.Mapped(err)
}

// passing marks an error of the application's function as unavailable where it is not
// the event's failure: a lost connection, a lock, a deadlock, a full disk. What takes more
// time or memory than the function or a statement was given is the event's: it would be so
// each time. A driver that is cut off so may have closed the connection.
func (t *Target[Tx]) passing(ctx context.Context, tx Transaction[Tx], err error) error {
	switch {
	case ctx.Err() != nil, errors.Is(err, eventstore.ErrUnavailable):
		return err
	case t.db.OverLimit(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case t.db.Transient(err), tx.Lost(ctx):
		return fmt.Errorf("%w: in the transaction of a read model: %w", eventstore.ErrUnavailable, err)
	}
	return err
}

const maxNameBytes = 255

func checkName(field, name string) error {
	switch {
	case name == "" || len(name) > maxNameBytes:
		return &eventstore.InvalidError{Field: field, Reason: fmt.Sprintf("it has %d bytes; a read model's name has 1 to %d", len(name), maxNameBytes)}
	case !utf8.ValidString(name), strings.Contains(name, "\x00"):
		return &eventstore.InvalidError{Field: field, Reason: "it is not UTF-8 text without NUL; name the read model in text"}
	}
	return nil
}

// Moved is [projection.Notifier]'s.
func (t *Target[Tx]) Moved(name string) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	moved := t.moved[name]
	if moved == nil {
		moved = make(chan struct{})
		t.moved[name] = moved
	}
	return moved
}

// signal wakes those who wait for a name to move.
func (t *Target[Tx]) signal(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if moved := t.moved[name]; moved != nil {
		close(moved)
		delete(t.moved, name)
	}
}
