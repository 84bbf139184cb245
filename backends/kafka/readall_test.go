package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
)

func TestAWindowHoldsTheLastRecordsThatFit(t *testing.T) {
	const size, batch = 1000, 7
	read := func(from int64) (records []connection.Record, err error) {
		for offset := from; offset < from+batch; offset++ {
			records = append(records, connection.Record{Offset: offset, Value: make([]byte, size)})
		}
		return records, nil
	}
	for name, c := range map[string]struct {
		low, high int64
		most      int
		first     int64
	}{
		"all of them":                 {10, 40, 30 * size, 10},
		"the last ones":               {10, 40, 5 * size, 35},
		"one that is larger than all": {10, 40, size - 1, 39},
		"a single one":                {39, 40, size, 39},
	} {
		t.Run(name, func(t *testing.T) {
			records, err := window(c.low, c.high, c.most, read)
			require.NoError(t, err)
			require.Equal(t, c.first, records[0].Offset)
			require.Len(t, records, int(c.high-c.first))
			for i, record := range records {
				require.Equal(t, c.first+int64(i), record.Offset)
				require.Len(t, record.Value, size)
			}
		})
	}
}
