package kafka

import "github.com/switchyard-dev/switchyard/backends/kafka/fold"

// Folded is how far a handle has folded, and to what.
func (b *Backend) Folded() (next int64, hash [32]byte, counts fold.Counts) {
	b.log.mu.RLock()
	defer b.log.mu.RUnlock()
	return b.log.state.Next(), b.log.state.Hash(), b.log.state.Counts()
}
