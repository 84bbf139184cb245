package esdb

import (
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// errContradiction is a server that says what cannot be: a record of another
// stream than was asked for, a revision that does not follow the one before, a
// position on the wrong side of it. Nothing of such an answer is believed.
var errContradiction = errors.New("the server contradicts itself")

// order is what the records of one read or subscription must keep.
type order struct {
	stream   string // empty: $all
	backward bool
	// first is the first revision that was asked for; backward, fromEnd is any.
	first uint64
	// from is the position to begin at; zero is any. A read forward includes it,
	// every other excludes it.
	from     eventstore.Position
	excludes bool

	last *recorded
}

// check holds a record against those before it.
func (o *order) check(read *recorded) error {
	last := o.last
	o.last = read
	switch {
	case o.stream != "" && read.stream != o.stream:
		return fmt.Errorf("%w: a read of stream %q brought an event of stream %q", errContradiction, o.stream, read.stream)
	case o.stream != "" && !o.follows(last, read.revision):
		return fmt.Errorf("%w: a read of stream %q brought revision %d after %s", errContradiction, o.stream, read.revision, o.before(last))
	case last != nil && !o.isNext(last.position, read.position):
		return fmt.Errorf("%w: the record at position %s came after the one at %s", errContradiction, read.position, last.position)
	case last == nil && o.stream == "" && !o.from.IsZero() && !o.isFirst(read.position):
		return fmt.Errorf("%w: a read from position %s began at %s", errContradiction, o.from, read.position)
	}
	return nil
}

// follows tells whether a revision may come after a record. The first one may be
// any on the right side of what was asked for, for a stream's beginning may be cut
// off.
func (o *order) follows(last *recorded, revision uint64) bool {
	switch {
	case last == nil && o.backward:
		return revision <= o.first
	case last == nil:
		return revision >= o.first
	case o.backward:
		return revision+1 == last.revision
	}
	return revision == last.revision+1
}

func (o *order) before(last *recorded) string {
	if last == nil {
		return fmt.Sprintf("a request that begins at %d", o.first)
	}
	return fmt.Sprintf("revision %d", last.revision)
}

func (o *order) isNext(last, next eventstore.Position) bool {
	if o.backward {
		return next.Before(last)
	}
	return last.Before(next)
}

func (o *order) isFirst(at eventstore.Position) bool {
	return o.isNext(o.from, at) || (!o.excludes && at == o.from)
}
