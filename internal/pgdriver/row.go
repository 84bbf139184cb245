package pgdriver

import (
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// AllBinary tells whether the server sends the columns in binary, as it does in all
// of the driver's modes but those that write arguments as text. Text is the same in
// both.
func AllBinary(rows pgx.Rows) bool {
	return !slices.ContainsFunc(rows.FieldDescriptions(), func(field pgconn.FieldDescription) bool {
		return field.Format != pgx.BinaryFormatCode && field.DataTypeOID != pgtype.TextOID
	})
}

// PostgreSQL counts microseconds from the year 2000.
const epochSeconds = 946_684_800

// Timestamp is the time that PostgreSQL sends in binary, as UTC.
func Timestamp(microseconds int64) time.Time {
	const perSecond = 1_000_000
	return time.Unix(epochSeconds+microseconds/perSecond, microseconds%perSecond*1000).UTC()
}

// Position is that of the event with a number.
func Position(n int64) eventstore.Position { return eventstore.NewPosition(uint64(n), 0) }

// After returns the number of the last position that is not wanted.
func After(p eventstore.Position) int64 {
	high, _ := p.Words()
	return Clamp(high)
}

// Before returns the number of the first position that is not wanted.
func Before(p eventstore.Position) int64 {
	high, low := p.Words()
	if low > 0 { // no position of ours, but it has a place among them
		high = min(high, math.MaxUint64-1) + 1
	}
	return Clamp(high)
}

// Clamp is a number as a bigint, or the largest one.
func Clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
