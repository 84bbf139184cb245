package dynamodb

import (
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// pageBuilder collects events up to a size.
type pageBuilder struct {
	events []eventstore.RecordedEvent
	bytes  int
	size   eventstore.PageSize
}

func (p *pageBuilder) full() bool {
	return len(p.events) >= p.size.MaxEvents || (p.bytes >= p.size.MaxBytes && len(p.events) > 0)
}

// add adds an event whose size is known before its content is.
func (p *pageBuilder) add(event eventstore.RecordedEvent, size int) {
	p.bytes += size
	p.events = append(p.events, event)
}

// density is how many events an item has, lately: so that a query asks for little
// more than its page holds. Items that were read and not used are paid for.
type density struct{ sixteenths atomic.Int64 }

// saw notes an item. Concurrent notes may be lost, which does no harm.
func (d *density) saw(events int) {
	old := d.sixteenths.Load()
	d.sixteenths.Store(old + int64(events) - old/16)
}

// items is how many items to ask for where so many events are wanted.
func (d *density) items(events int) int {
	each := max(1, int(d.sixteenths.Load()/16))
	return (events+each-1)/each + 1
}
