package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"modernc.org/sqlite"
)

// conn is one SQLite connection with its prepared statements, for one goroutine
// at a time. It talks to the driver itself: database/sql would add a tenth to
// the cost of a row, take the pool out of our hands, and pass contexts down
// to where a cancelled write leaves a connection broken. Statements have no
// context, then; each waits for a lock for a turn at most, and a done context is
// noticed between the turns.
type conn struct {
	driver.Conn
	files      *files
	attached   bool
	companions companions // while attached
	looked     time.Time  // when it last looked at its files
	statements map[string]driver.Stmt
	args       []driver.NamedValue // reused
}

// connMode tells the writer's connection from the readers'.
type connMode int

const (
	writing connMode = iota
	reading
)

// SQLite waits for a lock in short turns, so that we notice a done context in
// between; see retryBusy.
const busyTurn = 50 * time.Millisecond

// connect opens a connection and makes sure that its settings took. Where it
// finds the file busy it waits for a turn at most: the caller knows how long to
// go on. See retryBusy.
func connect(ctx context.Context, files *files, mode connMode) (*conn, error) {
	// Nothing is written behind a commit mark: on disks that keep a sector whole
	// SQLite would fill it up, and could find the disk full after the mark.
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: files.path, RawQuery: "psow=1"}
	if files.database != nil {
		dsn.RawQuery += "&mode=rw" // do not create the file
	} else {
		model, remove, err := privateModel(filepath.Dir(files.path))
		if err != nil {
			return nil, fmt.Errorf("make a file: %w", err)
		}
		defer remove()
		// In SQLite's URIs a '+' is no space.
		dsn.RawQuery += "&modeof=" + strings.ReplaceAll(url.QueryEscape(model), "+", "%20")
	}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	opened, err := connector.Connect(ctx)
	if err != nil {
		return nil, errors.Join(files.lookAtDatabase(), files.explain(err))
	}
	c := &conn{Conn: opened, files: files, statements: make(map[string]driver.Stmt)}
	if err := c.configure(mode); err != nil {
		return nil, errors.Join(files.explain(err), c.Close())
	}
	if c.companions, err = files.attach(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.attached = true
	return c, nil
}

func (c *conn) configure(mode connMode) error {
	if err := c.files.lookAtDatabase(); err != nil {
		return err
	}
	if err := c.script(fmt.Sprintf("PRAGMA busy_timeout = %d", busyTurn.Milliseconds())); err != nil {
		return err
	}
	// What follows is written to the file, so the file must be ours.
	found, err := inspect(c)
	if err != nil {
		return err
	}
	if store := c.files.store; store != uuid.Nil && found.id != store {
		return &goneError{fmt.Sprintf("%q now holds the store %s instead of %s", c.files.path, found.id, store)}
	}
	if mode == reading {
		return c.script("PRAGMA query_only = ON")
	}
	if err := c.mustWrite(); err != nil {
		return err
	}
	row, _, err := c.row("PRAGMA journal_mode = WAL", 1)
	if err != nil {
		return fmt.Errorf("set journal_mode=WAL: %w", err)
	}
	if journal, _ := row[0].(string); journal != "wal" {
		return fmt.Errorf("the file system does not allow journal_mode=WAL, it stays %q; keep the file on a local disk", journal)
	}
	// A statement of several rows keeps the pages it may have to restore in memory: in
	// a temporary file an import costs a tenth more.
	if err := c.script("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384"); err != nil {
		return err
	}
	synchronous, err := c.integer("PRAGMA synchronous")
	if err != nil {
		return err
	}
	if synchronous != 2 {
		return fmt.Errorf("synchronous=FULL did not take, it is %d; acknowledged events would not survive a loss of power", synchronous)
	}
	// A new file gets its log with the first transaction in the new mode.
	_, err = c.integer("PRAGMA schema_version")
	return err
}

// mustWrite makes sure that SQLite has the file open for writing. It opens one
// that it may not write for reading, without a word.
func (c *conn) mustWrite() error {
	asked, ok := c.Conn.(interface {
		IsReadOnly(schema string) (bool, error)
	})
	if !ok {
		return errors.New("the driver does not tell whether the file can be written")
	}
	readOnly, err := asked.IsReadOnly("main")
	if err != nil {
		return err
	}
	if readOnly {
		return &refusedError{fmt.Sprintf("%q cannot be written; with NoCreate (create=off) it can be read", c.files.path), fs.ErrPermission}
	}
	return nil
}

// look makes sure that the connection works on the files that its names lead to.
func (c *conn) look() error {
	c.looked = time.Now()
	return c.files.lookAtAll(c.companions)
}

// A read of one event takes 20 µs, and looking at three files a fifth of that.
// Whoever reads again and again looks once in this time; a write looks each time.
const lookAtLeastEvery = 10 * time.Millisecond

// lookAfterRead makes sure, soon enough, that a reader's files are still there.
func (c *conn) lookAfterRead(err error) error {
	if err == nil && time.Since(c.looked) < lookAtLeastEvery {
		return c.files.knownGone()
	}
	return c.look()
}

// Close finalises the statements and closes the connection, which ends an open
// transaction without a trace.
func (c *conn) Close() error {
	if c.attached {
		c.attached = false
		c.files.detach()
	}
	var errs []error
	for _, statement := range c.statements {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}

// prepare returns the statement of a query; each is prepared once.
func (c *conn) prepare(query string) (driver.Stmt, error) {
	if statement, ok := c.statements[query]; ok {
		return statement, nil
	}
	statement, err := c.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = statement
	return statement, nil
}

// bind wraps arguments as the driver wants them, in memory that is used again.
func (c *conn) bind(args []driver.Value) []driver.NamedValue {
	c.args = c.args[:0]
	for i, arg := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: arg})
	}
	return c.args
}

// exec runs a prepared statement that returns no rows.
func (c *conn) exec(query string, args ...driver.Value) (driver.Result, error) {
	statement, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	//nolint:forcetypeassert // the driver is a dependency of ours, not the caller's choice
	return statement.(driver.StmtExecContext).ExecContext(context.Background(), c.bind(args))
}

// query runs a prepared statement that returns rows. Close them before the same
// query runs again.
func (c *conn) query(query string, args ...driver.Value) (driver.Rows, error) {
	statement, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	//nolint:forcetypeassert // as in exec
	return statement.(driver.StmtQueryContext).QueryContext(context.Background(), c.bind(args))
}

// row returns the columns of the first row, and whether there is one.
func (c *conn) row(query string, columns int, args ...driver.Value) (row []driver.Value, ok bool, err error) {
	rows, err := c.query(query, args...)
	if err != nil {
		return nil, false, err
	}
	row = make([]driver.Value, columns)
	err = rows.Next(row)
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if errors.Is(err, io.EOF) {
		return nil, false, nil
	}
	return row, err == nil, err
}

// each hands every row of a query to a function.
func (c *conn) each(query string, columns int, use func(row []driver.Value) error, args ...driver.Value) error {
	rows, err := c.query(query, args...)
	if err != nil {
		return err
	}
	for row := make([]driver.Value, columns); err == nil; {
		if err = rows.Next(row); err == nil {
			err = use(row)
		}
	}
	if closed := rows.Close(); errors.Is(err, io.EOF) {
		err = closed
	}
	return err
}

// integer returns the first column of the first row; 0 where that is NULL or missing.
func (c *conn) integer(query string, args ...driver.Value) (int64, error) {
	row, ok, err := c.row(query, 1, args...)
	if err != nil || !ok {
		return 0, err
	}
	n, _ := row[0].(int64)
	return n, nil
}

// script runs statements once, without keeping them.
func (c *conn) script(statements string) error {
	statement, err := c.Prepare(statements)
	if err != nil {
		return err
	}
	//nolint:forcetypeassert // as in exec
	_, err = statement.(driver.StmtExecContext).ExecContext(context.Background(), nil)
	return errors.Join(err, statement.Close())
}

// transaction runs change between BEGIN IMMEDIATE, which takes the file's only
// write lock before anything is read, and COMMIT. It waits for the lock for as
// long as patience and ctx allow; then ctx no longer counts. A commitError tells
// what came of COMMIT; after any other error nothing was written.
func (c *conn) transaction(ctx context.Context, patience time.Duration, change func() error) error {
	if _, err := retryBusy(ctx, patience, func() (driver.Result, error) { return c.exec("BEGIN IMMEDIATE") }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return c.rollback(err) // the caller may have left within the last turn
	}
	if err := change(); err != nil {
		return c.rollback(err)
	}
	if err := c.look(); err != nil {
		return c.rollback(err)
	}
	if _, err := c.exec("COMMIT"); err != nil {
		return c.rollback(&commitError{err})
	}
	// A file that went away meanwhile may or may not have taken the commit along.
	if err := c.look(); err != nil {
		return &commitError{err}
	}
	return nil
}

// snapshot runs reads that see the file as it is at one moment.
func (c *conn) snapshot(reads func() error) error {
	if _, err := c.exec("BEGIN"); err != nil {
		return err
	}
	if err := reads(); err != nil {
		return c.rollback(err)
	}
	_, err := c.exec("COMMIT")
	return err
}

// rollback ends the transaction after an error, which it returns. SQLite may have
// ended it by itself; then ROLLBACK's own error comes along.
func (c *conn) rollback(cause error) error {
	if _, err := c.exec("ROLLBACK"); err != nil {
		return errors.Join(cause, fmt.Errorf("rollback: %w", err))
	}
	return cause
}
