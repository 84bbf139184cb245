package kafka

import "github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"

// recentBytes bounds the records that are kept in memory: those that subscriptions
// and readers near the end ask for.
const recentBytes = 64 << 20

// recent holds the last folded records, in their order and without a gap. It keeps
// one at least.
type recent struct {
	first  int64 // offset of values[gone]
	gone   int   // values before it were let go
	values [][]byte
	bytes  int
}

func (r *recent) restart(record connection.Record) {
	*r = recent{first: record.Offset}
	r.add(record)
}

// add takes in the next record. The bytes are kept.
func (r *recent) add(record connection.Record) {
	if r.length() == 0 {
		r.first = record.Offset
	}
	r.values = append(r.values, record.Value)
	r.bytes += len(record.Value)
	for r.bytes > recentBytes && r.length() > 1 {
		r.bytes -= len(r.values[r.gone])
		r.values[r.gone] = nil
		r.gone++
		r.first++
	}
	if r.gone > 1024 && r.gone > len(r.values)/2 {
		r.values = append([][]byte(nil), r.values[r.gone:]...)
		r.gone = 0
	}
}

func (r *recent) length() int { return len(r.values) - r.gone }

// get returns the record at an offset, if it is here.
func (r *recent) get(offset int64) ([]byte, bool) {
	i := offset - r.first
	if i < 0 || i >= int64(r.length()) {
		return nil, false
	}
	return r.values[r.gone+int(i)], true
}

// from returns records from an offset on, up to so many bytes but one at least.
func (r *recent) from(offset int64, most int) []connection.Record {
	var records []connection.Record
	for bytes := 0; bytes < most; offset++ {
		value, ok := r.get(offset)
		if !ok {
			break
		}
		records = append(records, connection.Record{Offset: offset, Value: value})
		bytes += max(len(value), 1)
	}
	return records
}

func (r *recent) last() (connection.Record, bool) {
	if r.length() == 0 {
		return connection.Record{}, false
	}
	return connection.Record{Offset: r.first + int64(r.length()) - 1, Value: r.values[len(r.values)-1]}, true
}
