package transfer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestABarEstimatesItsEndByTheHead(t *testing.T) {
	at := func(read int, position, head uint64) Progress {
		p := Progress{Result: Result{Read: read}}
		p.Copied.Position, p.Head.Position = eventstore.NewPosition(position, 0), eventstore.NewPosition(head, 0)
		return p
	}
	var bar Estimate
	require.Zero(t, bar.Total(at(1000, 21000, 101000)), "nothing can be said yet")
	require.Equal(t, 9000, bar.Total(at(2000, 31000, 101000)), "1,000 events were a tenth of the way")
	require.Equal(t, 9000, bar.Total(at(9000, 101000, 101000)))
	require.Equal(t, 9500, bar.Total(at(9500, 106000, 101000)), "what came meanwhile is there too")
}
