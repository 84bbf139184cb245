package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sqlstate"
)

// This package knows no driver. Those of PostgreSQL give an error's SQLSTATE by a method
// of this name, and those of SQLite its result code, or at least its text.
type (
	hasState interface{ SQLState() string }
	hasCode  interface{ Code() int }
)

func (d *database) Transient(err error) bool {
	var state hasState
	if errors.As(err, &state) && d.dialect == PostgreSQL {
		return sqlstate.Transient(state.SQLState()) || state.SQLState() == sqlstate.ReadOnly
	}
	return d.dialect == SQLite && passesInSQLite(err)
}

func (d *database) OverLimit(err error) bool {
	if d.dialect == SQLite {
		coded, ok := ofSQLite(err).(hasCode)
		return ok && (coded.Code()&0xff == 9 || coded.Code()&0xff == 7) // SQLITE_INTERRUPT, SQLITE_NOMEM
	}
	var state hasState
	return errors.As(err, &state) && sqlstate.OverLimit(state.SQLState())
}

// passesInSQLite tells whether waiting may help: the file is locked, the disk is full or
// fails, memory is short.
func passesInSQLite(err error) bool {
	err = ofSQLite(err)
	if err == nil {
		return false
	}
	coded, ok := err.(hasCode)
	if !ok {
		return strings.Contains(err.Error(), "database is locked") || strings.Contains(err.Error(), "database table is locked")
	}
	switch coded.Code() & 0xff {
	case 5, // SQLITE_BUSY
		6,  // SQLITE_LOCKED
		7,  // SQLITE_NOMEM
		9,  // SQLITE_INTERRUPT
		10, // SQLITE_IOERR
		13, // SQLITE_FULL
		14, // SQLITE_CANTOPEN
		15: // SQLITE_PROTOCOL
		return true
	}
	return false
}

// ofSQLite returns the error of a driver of SQLite that err is or wraps: one whose type
// is declared in a package with sqlite in its path, as it is of every driver that there
// is. An application's own error may have a method Code too.
func ofSQLite(err error) error {
	if err == nil {
		return nil
	}
	declared := reflect.TypeOf(err)
	if declared.Kind() == reflect.Pointer {
		declared = declared.Elem()
	}
	if strings.Contains(declared.PkgPath(), "sqlite") {
		return err
	}
	switch wrapper := err.(type) { //nolint:errorlint // this walks the tree itself
	case interface{ Unwrap() error }:
		return ofSQLite(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, wrapped := range wrapper.Unwrap() {
			if found := ofSQLite(wrapped); found != nil {
				return found
			}
		}
	}
	return nil
}

func (d *database) Mapped(err error) error {
	if d.Transient(err) || lost(err) || (d.dialect == PostgreSQL && !definite(err)) {
		return fmt.Errorf("%w: sqldb: %w", eventstore.ErrUnavailable, err)
	}
	return fmt.Errorf("sqldb: %w", err)
}

func lost(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// definite tells whether the server itself has answered, or nothing was sent to it. What
// else a driver of PostgreSQL says is that the connection is gone.
func definite(err error) bool {
	var state hasState
	return errors.As(err, &state) || errors.Is(err, sql.ErrTxDone) || strings.HasPrefix(err.Error(), "sql: ")
}

// failed maps an error before there is a target.
func failed(ctx context.Context, dialect Dialect, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return (&database{dialect: dialect}).Mapped(err)
}
