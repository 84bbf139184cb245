package marten

import (
	"context"
	"fmt"
)

// Aside is what a reader of a store's events does not see of it: the state that Marten
// keeps beside them.
type Aside struct {
	// ArchivedStreams counts the streams that Marten has archived. Their events are read
	// like any others, unless the option HideArchived leaves them out.
	ArchivedStreams int
	// LeftOutEvents counts the archived events of IDs that were started again, in a store
	// that is partitioned by archiving. No read delivers them.
	LeftOutEvents int
}

// Aside counts what reads do not show. It scans the streams, and where the tables are
// partitioned by archiving the archived events. What Marten has masked cannot be counted:
// it leaves no trace.
func (b *Backend) Aside(ctx context.Context) (aside Aside, err error) {
	err = b.call(ctx, func(ctx context.Context) error {
		q := b.sql()
		left := "0"
		if b.shape().archivePartitioned {
			left = "(select count(*) from " + q.events + " e where e.is_archived" + q.tenant + " and " + q.restarted() + ")"
		}
		return b.pool.QueryRow(ctx, "select (select count(*) from "+q.streams+" s where s.is_archived"+q.streamTenant+"), "+left).
			Scan(&aside.ArchivedStreams, &aside.LeftOutEvents)
	})
	if err != nil {
		return aside, fmt.Errorf("count what is archived: %w", err)
	}
	return aside, nil
}
