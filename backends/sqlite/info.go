package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	selectInfo = `SELECT store.id, store.seal, ` + placeColumns + ` FROM store LEFT JOIN events e ON e.position = (SELECT max(position) FROM events)`
	setSeal    = `UPDATE store SET seal = ? WHERE seal IS NULL`
	liftSeal   = `UPDATE store SET seal = NULL WHERE seal IS NOT NULL`

	placeColumns = `e.position, e.stream, e.version, e.id`
)

// Info implements [eventstore.Backend].
func (b *Backend) Info(ctx context.Context) (eventstore.Info, error) {
	return withReader(ctx, b, "read info", readInfo)
}

// Seal implements [eventstore.Backend]. The seal stands in the file, and every append
// looks at it under the file's only write lock: one that commits before the seal is
// before it, and any other finds it, whatever process it is of.
func (b *Backend) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	info, err := change(ctx, b, "seal", func(w *writer) (info eventstore.Info, err error) {
		w.known = nil // appends of this handle look again
		if req.Lift {
			_, err = w.conn.exec(liftSeal)
		} else {
			_, err = w.conn.exec(setSeal, req.Reason)
		}
		if err != nil {
			return info, err
		}
		return readInfo(w.conn)
	})
	if err == nil {
		b.hint.Notify()
	}
	return info, err
}

func readInfo(c *conn) (info eventstore.Info, err error) {
	row, ok, err := c.row(selectInfo, 6)
	if err != nil {
		return info, err
	}
	if !ok {
		return info, fmt.Errorf("%q has no identity: its table store is empty; restore it from a backup", c.files.path)
	}
	id, _ := row[0].([]byte)
	if info.ID, err = uuid.FromBytes(id); err != nil {
		return info, err
	}
	info.SealReason, info.Sealed = row[1].(string)
	info.Head, err = decodePlace(row[2:])
	return info, err
}

// decodePlace reads placeColumns; all are NULL where there is no event.
func decodePlace(row []driver.Value) (eventstore.Place, error) {
	position, found := row[0].(int64)
	if !found {
		return eventstore.Place{}, nil
	}
	stream, ok1 := row[1].(string)
	version, ok2 := row[2].(int64)
	bytes, ok3 := row[3].([]byte)
	id, err := uuid.FromBytes(bytes)
	if !ok1 || !ok2 || !ok3 || err != nil {
		return eventstore.Place{}, fmt.Errorf("the row at position %d is not an event; restore the file from a backup", position)
	}
	return eventstore.Place{Position: positionOf(position), Stream: stream, Version: uint64(version), ID: id}, nil
}
