package pgdriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/sqlstate"
)

// ErrLocal is of what this program cannot encode or read. It was not sent, or was only
// read, and does not pass by waiting.
var ErrLocal = errors.New("in this program")

// Classify is the one place that says what a failure means: ErrUnknownOutcome,
// ErrUnavailable, or nil where no sentinel fits. committing says that the failed
// call may have committed; own, where not nil, names further errors of the server
// that were rolled back for a reason that may pass.
//
// Only a server's ERROR says for certain that a commit did not happen. A FATAL
// can come after it, and so can the end of a connection. pgconn.SafeToRetry is
// not asked: it says true of a connection that was lost at COMMIT.
func Classify(err error, committing bool, own func(*pgconn.PgError) bool) error {
	var server *pgconn.PgError
	var connecting *pgconn.ConnectError
	committing = committing && !isUnsent(err)
	switch {
	case errors.Is(err, pgx.ErrTxClosed), errors.Is(err, pgx.ErrTxCommitRollback):
		return nil // a caller's transaction that was over, or that had failed: certain, and no use to try again
	case errors.Is(err, ErrLocal), isDrivers(err):
		return nil
	case errors.As(err, &connecting):
		if errors.As(err, &server) && isRefusal(server.Code) {
			return nil
		}
		return eventstore.ErrUnavailable
	case !errors.As(err, &server), server.SeverityUnlocalized != "ERROR":
		if committing {
			return eventstore.ErrUnknownOutcome
		}
		return eventstore.ErrUnavailable
	case committing && (server.Code == "08007" || server.Code == "40003"):
		return eventstore.ErrUnknownOutcome // the server itself does not know
	case IsTransient(server), own != nil && own(server):
		return eventstore.ErrUnavailable
	}
	return nil
}

// isUnsent tells whether a statement, or a batch of them, was still being prepared when it
// failed, so that nothing of it was sent.
func isUnsent(err error) bool {
	var batch pgx.ErrPreprocessingBatch
	var single *unsentError
	return errors.As(err, &batch) || errors.As(err, &single)
}

// unsentError is of a single statement.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// Query sends a statement that may commit. It is the driver's Query, whose own error, not
// that of the rows, is of what comes before the statement is sent: Classify knows it. In
// simple_protocol nothing comes before it.
func Query(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, sql string, args ...any,
) (pgx.Rows, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err == nil {
		return rows, nil
	}
	if c, ok := db.(interface{ Conn() *pgx.Conn }); ok && c.Conn().Config().DefaultQueryExecMode != pgx.QueryExecModeSimpleProtocol {
		err = &unsentError{err}
	}
	return rows, err
}

// isDrivers tells whether the driver refused to send something. These errors have no
// type, only a text.
func isDrivers(err error) bool {
	text := err.Error()
	return strings.Contains(text, "simple protocol queries must be run with") || strings.Contains(text, "failed to encode args[")
}

// isRefusal tells whether the server answered a connection with a no that trying
// again does not change: wrong credentials (28…), no such database (3D…), a setting of
// the URL that it does not know (42…, as a missing right to connect) or whose value it
// cannot take (22…).
func isRefusal(code string) bool {
	return slices.ContainsFunc([]string{"22", "28", "3D", "42"}, func(class string) bool { return strings.HasPrefix(code, class) })
}

// IsTransient tells whether a statement was rolled back for a reason that may pass.
func IsTransient(e *pgconn.PgError) bool { return sqlstate.Transient(e.Code) }

// Mapped gives an error of the driver's the meaning that Classify found, which may be
// nil, and a text without a credential. backend names the adapter.
func Mapped(backend string, sentinel, err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && (server.Code == "26000" || server.Code == "42P05") {
		// The driver's names of prepared statements met another session's.
		remedy := "default_query_exec_mode=exec"
		if backend == "postgres" { // which listens; the others have no such parameter
			remedy = "listen=off and " + remedy
		}
		err = fmt.Errorf("behind a transaction pooler use %s: %w", remedy, err)
	}
	var connecting *pgconn.ConnectError
	if errors.As(err, &connecting) {
		err = &connectError{text: connectText(connecting), err: err}
	} else if errors.As(err, &server) && server.Code == sqlstate.MissingRight {
		remedy := "grant the role of this connection that right"
		if backend == "postgres" || backend == "marten" {
			remedy = "grant the role of this connection the rights that the README of backends/" + backend + " lists"
		}
		err = fmt.Errorf("%w; %s", err, remedy)
	}
	if sentinel != nil {
		return fmt.Errorf("%w: %s: %w", sentinel, backend, err)
	}
	return fmt.Errorf("%s: %w", backend, err)
}

// ReadError maps the error of a call that cannot have committed anything, or whose
// repetition does no harm: with the context's error where that ended, as it is where it
// has its meaning, and otherwise as mapped says.
func ReadError(ctx context.Context, err error, mapped func(error) error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case adapter.IsContract(err):
		return err
	}
	return mapped(err)
}

// connectError is a driver's error without the user's name and the driver's line breaks.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }

func (e *connectError) Unwrap() error { return e.err }

func connectText(e *pgconn.ConnectError) string {
	host := net.JoinHostPort(e.Config.Host, strconv.Itoa(int(e.Config.Port)))
	database := url.URL{Scheme: "postgres", Host: host, Path: "/" + e.Config.Database}
	if strings.HasPrefix(e.Config.Host, "/") { // a socket
		database.Host, database.RawQuery = "", "host="+e.Config.Host
	}
	reason := "the server cannot be reached"
	var server *pgconn.PgError
	if errors.As(e, &server) {
		reason = fmt.Sprintf("%s (SQLSTATE %s)", server.Message, server.Code)
		switch {
		case strings.HasPrefix(server.Code, "28"): // the message names the user
			reason = fmt.Sprintf("the server refuses these credentials (SQLSTATE %s); correct the user or the password, "+
				"in the URL, in PGUSER and PGPASSWORD or in the passfile, or let the server's pg_hba.conf accept them from here", server.Code)
		case server.Code == sqlstate.MissingRight:
			reason += "; grant the role of this connection the right to connect to the database"
		}
	} else if inner := errors.Unwrap(e); inner != nil {
		attempts := strings.Split(inner.Error(), "\n") // one for each address, and each with and without TLS
		slices.Sort(attempts)
		reason = strings.Join(slices.Compact(attempts), "; ")
	}
	return fmt.Sprintf("connect to %s: %s", database.String(), reason)
}
