package marten

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// The errors that Marten's function raises.
const (
	raisedArchived = "MT001"
	raisedNoTenant = "MT002"
	raisedVersion  = "MT003"
)

var (
	errMoved = errors.New("is not the one any more that this handle opened: it was renamed, replaced or restored; open the store again")
	// errChanged is of tables that are not those which were read at open.
	errChanged = errors.New("the tables were migrated since the store was opened, to a shape that is not known; open it again, or update Switchyard")
)

// faster tells whether somebody else has written to a stream since it was read, so that
// nothing was written and what was read is to be read again.
func faster(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return errors.Is(err, errOvertaken)
	}
	switch server.Code {
	case raisedVersion, "40P01", "40001",
		"22012": // a stream's row was not what had been read: see makeSteps and makeUnarchived
		return true
	case "23505":
		return overtaken(server)
	}
	return false
}

// errOvertaken is of a stream's row that was not what had been read.
var errOvertaken = errors.New("somebody else wrote to the stream")

// overtaken tells whether a unique index says that somebody was faster: that of a
// stream's row, or that of stream and version, also of a partition.
func overtaken(e *pgconn.PgError) bool {
	return strings.HasPrefix(e.TableName, "mt_streams") && !strings.HasPrefix(e.TableName, "mt_streams_identity") || versionTaken(e)
}

// versionTaken tells whether it is the index of events, so that the last number that
// was taken was burned.
func versionTaken(e *pgconn.PgError) bool {
	return e.Code == "23505" && (e.ConstraintName == "pk_mt_events_stream_and_version" ||
		strings.HasPrefix(e.ConstraintName, "mt_events_") && strings.Contains(e.ConstraintName, "stream_id_version"))
}

// refusal is what an error of a write means to the part that it was for, where it is
// definite; nil where it says nothing of that.
func refusal(err error, part eventstore.StreamAppend, actual uint64) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return nil
	}
	switch {
	case server.Code == raisedArchived:
		return archivedError(part.Stream)
	case server.Code == raisedNoTenant, server.Code == "23514" && server.ConstraintName == "": // not a constraint of somebody's, but no partition
		return invalid("option Tenant", "%v (%s)", errNoPartition, server.Message)
	case server.Code == "P0001" && strings.Contains(server.Message, "tenantid does not match"):
		return foreignError(part.Stream)
	case server.Code == "23505" && server.ConstraintName == "idx_mt_events_event_id" || server.Code == "23505" && strings.Contains(server.ConstraintName, "_id_idx"):
		return &eventstore.EventIDReusedError{Stream: part.Stream, ID: part.Events[0].ID, Reason: "this or another ID of the append is used in another stream, and the store's index idx_mt_events_event_id allows one in all"}
	case server.Code == "23505" && strings.HasPrefix(server.TableName, "mt_streams_identity"):
		return &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: actual}
	case server.Code == "22P05", server.Code == "22P02":
		return invalid("event data", "PostgreSQL's jsonb cannot hold it (%s)", server.Message)
	}
	return nil
}

func foreignError(stream string) error {
	return invalid("stream", "%q belongs to another tenant of a store that has one tenant only; its .NET application wrote with tenants", stream)
}

const archivedReason = "it is archived, which in Marten ends a stream for good"

func archivedError(stream string) error {
	return &eventstore.SealedError{Stream: stream, Reason: archivedReason}
}

// migrated tells whether a statement met tables, columns or functions that are not there,
// or a column that it does not know and that must not be null.
func migrated(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	switch server.Code {
	case "42883", "42703", "42P01", "23502", "0A000": // the last: a cached plan must not change its result
		return true
	}
	return false
}

// readError maps the error of a call that cannot have committed anything.
func readError(ctx context.Context, err error) error {
	return pgdriver.ReadError(ctx, err, func(err error) error { return mapped(err, false) })
}

// commitError maps the error of a commit.
func commitError(err error) error {
	if err == nil {
		return nil
	}
	return mapped(err, true)
}

func mapped(err error, committing bool) error {
	if errors.Is(err, errMoved) || errors.Is(err, errChanged) {
		return fmt.Errorf("marten: %w", err)
	}
	return pgdriver.Mapped("marten", pgdriver.Classify(err, committing, nil), err)
}
