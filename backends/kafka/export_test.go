package kafka

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Folded is how far a handle has folded, and to what.
func (b *Backend) Folded() (next int64, hash [32]byte, counts fold.Counts) {
	b.log.mu.RLock()
	defer b.log.mu.RUnlock()
	return b.log.state.Next(), b.log.state.Hash(), b.log.state.Counts()
}

// Kept returns the offset of the first record that a handle has in memory: above 0
// where it began with an index file.
func (b *Backend) Kept() int64 {
	b.log.mu.RLock()
	defer b.log.mu.RUnlock()
	return b.log.recent.first
}

// KeptBytes is the size of the records that a handle has in memory.
func (b *Backend) KeptBytes() int {
	b.log.mu.RLock()
	defer b.log.mu.RUnlock()
	return b.log.recent.bytes
}

// Recheck has the handle look at its topic now, as after a lost connection.
func (b *Backend) Recheck() { b.log.doubt() }

// Disconnect has the handle dial its brokers anew.
func (b *Backend) Disconnect() { b.conn.Renew() }

// Halted is why the handle cannot be used any more.
func (b *Backend) Halted() error { return b.log.haltedBy() }

// Impatient makes a handle believe its leader's empty answers for so long only.
func Impatient(opts Options, silence time.Duration) Options {
	opts.silence = silence
	return opts
}

// HoldIndex has the index file written now, and calls a function before it is.
func (b *Backend) HoldIndex(before func()) {
	b.index.mu.Lock()
	defer b.index.mu.Unlock()
	b.index.at, b.index.offset = time.Time{}, 0
	b.index.write = func(path string, data []byte) error {
		before()
		return writeFile(path, data)
	}
}

// ForgeLast makes the last folded record another one than the log has.
func (b *Backend) ForgeLast() {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	last := len(b.log.recent.values) - 1
	b.log.recent.values[last] = append([]byte("another"), b.log.recent.values[last]...)
}

// Lost is why the handle cannot read the log now.
func (b *Backend) Lost() error { return b.log.lostFor(0) }

// AppendTrusting is a fault: it takes an acknowledgement for a verdict.
func (b *Backend) AppendTrusting(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	request, err := fold.NewRequest(req.ID, req.Parts)
	if err != nil {
		return nil, err
	}
	proposal, err := b.log.check(request)
	if err != nil {
		return nil, err
	}
	if proposal.Step != fold.Send {
		return b.Append(ctx, req)
	}
	base, err := b.conn.Produce(ctx, b.topic, []connection.Record{{Value: proposal.Frame(time.Now())}})
	if err != nil {
		return nil, appendError(err)
	}
	verdict := fold.Verdict{Outcome: fold.Accepted, Kind: fold.KindAppend, Offset: base, At: time.Now(), Decisions: proposal.Decisions}
	return b.results(ctx, req.Parts, request.Recorded(verdict))
}
