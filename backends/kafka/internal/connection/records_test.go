package connection

import (
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/require"
)

func batchAt(base int64, values ...string) *protocol.RecordBatch {
	var records []protocol.Record
	for i, value := range values {
		records = append(records, protocol.Record{Offset: base + int64(i), Value: protocol.NewBytes([]byte(value))})
	}
	return &protocol.RecordBatch{BaseOffset: base, Records: protocol.NewRecordReader(records...)}
}

func markerAt(base int64) *protocol.ControlBatch {
	batch := protocol.NewControlBatch(protocol.ControlRecord{Offset: base, Type: 1, Data: []byte("commit")})
	batch.BaseOffset = base
	return batch
}

func TestEveryOffsetOfAnAnswerIsARecordOrGoneOn(t *testing.T) {
	value := func(offset int64, value string) Record { return Record{Offset: offset, Value: []byte(value)} }
	for name, c := range map[string]struct {
		answer  protocol.RecordReader
		records []Record
		next    int64
	}{
		"nothing":                             {protocol.NewRecordReader(), nil, 5},
		"records":                             {stream(batchAt(5, "a", "b"), batchAt(7, "c")), []Record{value(5, "a"), value(6, "b"), value(7, "c")}, 8},
		"a batch that begins before":          {stream(batchAt(3, "x", "y", "a")), []Record{value(5, "a")}, 6},
		"a marker between records":            {stream(batchAt(5, "a"), markerAt(6), batchAt(7, "c")), []Record{value(5, "a"), {Offset: 6}, value(7, "c")}, 8},
		"a marker at the end":                 {stream(batchAt(5, "a"), markerAt(6)), []Record{value(5, "a"), {Offset: 6}}, 7},
		"a marker alone":                      {stream(markerAt(5)), []Record{{Offset: 5}}, 6},
		"a marker before":                     {stream(markerAt(4), batchAt(5, "a")), []Record{value(5, "a")}, 6},
		"a batch that compaction has emptied": {stream(batchAt(9)), nil, 10},
		"one that holds the offset":           {stream(batchAt(2)), nil, 6},
		"one of which the end is gone":        {stream(batchAt(2, "x", "y")), nil, 6},
	} {
		t.Run(name, func(t *testing.T) {
			fetched, err := read(c.answer, 5)
			require.NoError(t, err)
			require.Equal(t, Fetched{Records: c.records, Next: c.next}, fetched)
		})
	}
}

func stream(batches ...protocol.RecordReader) *protocol.RecordStream {
	return &protocol.RecordStream{Records: batches}
}
