package sqlite

import (
	"database/sql/driver"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// columns are an event's, in the order of decodeEvent.
const columns = `position, stream, version, id, type, content_type, data, metadata, recorded_at`

const columnCount = 9

// decodeEvent fills in an event from a row. The driver copies text and blobs, so
// the event's memory is its own.
func decodeEvent(row []driver.Value, event *eventstore.RecordedEvent) (err error) {
	position, ok1 := row[0].(int64)
	stream, ok2 := row[1].(string)
	version, ok3 := row[2].(int64)
	id, ok4 := row[3].([]byte)
	eventType, ok5 := row[4].(string)
	contentType, ok6 := row[5].(string)
	data, ok7 := row[6].([]byte)
	metadata, ok8 := row[7].(string)
	at, ok9 := row[8].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || (!ok8 && row[7] != nil) || !ok9 || len(id) != len(event.ID) {
		return fmt.Errorf("the row at position %v is not an event; restore the file from a backup", row[0])
	}
	event.Position = positionOf(position)
	event.Stream = stream
	event.Version = uint64(version)
	event.ID = uuid.UUID(id)
	event.Type = eventType
	event.ContentType = contentType
	event.Data = data
	event.RecordedAt = time.UnixMicro(at).UTC()
	if ok8 {
		if event.Metadata, err = decodeMetadata(metadata); err != nil {
			return fmt.Errorf("the metadata at position %d: %w", position, err)
		}
	}
	return nil
}

func positionOf(rowID int64) eventstore.Position {
	return eventstore.NewPosition(uint64(rowID), 0)
}

// lastRow is the last row ID at or before a position. A position that no store of
// this kind made lies after everything.
func lastRow(p eventstore.Position) int64 {
	hi, _ := p.Words()
	return int64(min(hi, math.MaxInt64))
}
