package postgres

import (
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// AppendGroup writes appends as one group, in their order, for tests: which appends
// travel together is otherwise a matter of time. They have no event ID in common.
func (b *Backend) AppendGroup(ctx context.Context, group [][]eventstore.StreamAppend) (results [][]eventstore.PartResult, errs []error, err error) {
	attempts := make([]*attempt, len(group))
	for i, parts := range group {
		attempts[i] = newAttempt(parts, ctx.Err)
	}
	if err := b.callAppend(ctx, b.pool, b.epochs.known.Load(), attempts); err != nil {
		return nil, nil, err
	}
	for _, a := range attempts {
		settled, err := b.settle(ctx, b.pool, a, commitError)
		results, errs = append(results, settled), append(errs, err)
	}
	return results, errs, nil
}
