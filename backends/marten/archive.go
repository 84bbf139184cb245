package marten

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// ArchiveStream archives a stream for good, as Marten does: its events are marked, .NET
// leaves them out unless asked, and every append is refused with a SealedError that names
// the stream. It calls Marten's own function. A stream that is absent, or archived
// already, is no error. It fails with ErrUnsupported where the function is missing, or the
// store's tables are partitioned by archiving, which only Marten itself does.
func (b *Backend) ArchiveStream(ctx context.Context, stream string) error {
	err := b.call(ctx, func(ctx context.Context) error {
		key, err := b.names.stream(stream)
		if err != nil {
			return err
		}
		s, q := b.shape(), b.sql()
		if !s.archives || s.archivePartitioned {
			return &eventstore.UnsupportedError{Feature: "archiving a stream", Reason: "the store has no function mt_archive_stream that is known; archive it in .NET"}
		}
		arguments := "streamid => $1::text::" + q.id
		if s.conjoined {
			arguments += ", tenantid => " + q.tenantValue + "::varchar"
		}
		// Marten's function for appends looks at the mark without a lock, and would add to a
		// stream that is being archived: one by one with ours, then.
		return pgx.BeginTxFunc(ctx, b.pool, pgdriver.AfterLock(), func(tx pgx.Tx) error {
			lock, args := b.begin(b.lockOf([]string{key.id}), nil)
			if _, err := tx.Exec(ctx, lock, args...); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "select "+ident(b.opts.Schema, "mt_archive_stream")+"("+arguments+")", key.id)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("archive stream %.80q: %w", stream, err)
	}
	return nil
}
