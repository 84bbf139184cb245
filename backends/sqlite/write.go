package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// writer is the handle's one writing connection. Two of them would only wait for
// each other, since SQLite has one write lock a file.
type writer struct {
	files       *files
	busyTimeout time.Duration
	refused     error  // why this process may not write, if so
	conn        *conn  // nil until it is needed, and after a failure
	known       *known // what appenders learned; nil where nothing is known
}

// initialise connects and makes sure of the schema.
func (w *writer) initialise(ctx context.Context) (id uuid.UUID, err error) {
	return retryBusy(ctx, w.busyTimeout, func() (uuid.UUID, error) {
		if err := w.connect(ctx); err != nil {
			return uuid.Nil, err
		}
		return initialise(ctx, w.conn)
	})
}

// readOnly finds the store in a file that this process may not write, and from
// then on answers every write with the reason.
func (w *writer) readOnly(ctx context.Context, refused error) (id uuid.UUID, err error) {
	w.files.readOnly, w.refused = true, refused
	c, err := retryBusy(ctx, w.busyTimeout, func() (*conn, error) { return connect(ctx, w.files, reading) })
	if err != nil {
		return uuid.Nil, err
	}
	found, err := inspect(c)
	switch {
	case err != nil:
	case found.schema == 0:
		err = errNoStore(w.files.path)
	case found.schema != schemaVersion:
		err = fmt.Errorf("%q has schema %d, and this program reads schema %d: open it once with the right to write, which brings it there: %w", w.files.path, found.schema, schemaVersion, refused)
	}
	return found.id, errors.Join(err, c.Close())
}

func (w *writer) connect(ctx context.Context) (err error) {
	if w.conn == nil {
		w.conn, err = connect(ctx, w.files, writing)
	}
	return err
}

// transaction runs a change as the transaction of one operation. A done ctx ends
// the wait for the write lock, and nothing later: the driver answers a cancelled
// statement with a broken connection.
func (w *writer) transaction(ctx context.Context, op string, change func(*conn) error) error {
	if w.refused != nil {
		return mapError(op, w.refused)
	}
	until := time.Now().Add(w.busyTimeout)
	if _, err := retryBusy(ctx, w.busyTimeout, func() (*conn, error) { return w.conn, w.connect(ctx) }); err != nil {
		return mapError(op, err)
	}
	err := w.conn.transaction(ctx, time.Until(until), func() error { return change(w.conn) })
	if err != nil {
		w.known = nil
		switch {
		case err == ctx.Err(): //nolint:errorlint // wrapped, it would mean that the rollback failed too
			return err
		case err == errMetAgain: //nolint:errorlint // wrapped, it would mean that the rollback failed too
			return err
		}
		// SQLite may have rolled back by itself, or ROLLBACK may have failed:
		// whatever state the connection is in, it ends here.
		err = errors.Join(err, w.conn.look(), w.close())
	}
	return mapError(op, err)
}

func (w *writer) close() error {
	if w.conn == nil {
		return nil
	}
	err := w.conn.Close()
	w.conn, w.known = nil, nil
	return err
}

// change makes a change other than an append, which may be repeated. So a caller
// whose context ends need not know what became of it: a transaction that has begun
// goes on without the caller.
func change[T any](ctx context.Context, b *Backend, op string, work func(*writer) (T, error)) (T, error) {
	var none T
	if err := b.ready(ctx); err != nil {
		return none, err
	}
	var w *writer
	select {
	case w = <-b.writer:
	case <-ctx.Done():
		return none, ctx.Err()
	case <-b.closed:
		return none, eventstore.ErrClosed
	}
	type answer struct {
		result T
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.err = w.transaction(ctx, op, func(*conn) (err error) {
			a.result, err = work(w)
			return err
		})
		b.writer <- w
		done <- a
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return none, a.err
		}
		return a.result, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// execute makes a change of one statement.
func (b *Backend) execute(ctx context.Context, op, statement string, args ...driver.Value) error {
	_, err := change(ctx, b, op, func(w *writer) (driver.Result, error) { return w.conn.exec(statement, args...) })
	return err
}
