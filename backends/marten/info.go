package marten

import (
	"context"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// Info implements [eventstore.Backend].
func (b *Backend) Info(ctx context.Context) (info eventstore.Info, err error) {
	err = b.call(ctx, func(ctx context.Context) error {
		info, err = b.info(ctx)
		return err
	})
	return info, err
}

// extent is what a handle knows of where its tenant's last event lies, so that nothing is
// looked through again: other tenants may write much.
type extent struct {
	mu   sync.Mutex
	head eventstore.Place
	upTo int64 // there is none after head up to here
}

func (e *extent) known() (eventstore.Place, int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.head, e.upTo
}

func (e *extent) learn(head eventstore.Place, upTo int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.head, e.upTo = head, upTo
}

// info reads the head: the last event, once readers may go so far. What is ready is known
// before the events are looked at.
func (b *Backend) info(ctx context.Context) (eventstore.Info, error) {
	known, upTo := b.extent.known()
	for {
		ready, _, err := b.water.now(ctx)
		if err != nil {
			return eventstore.Info{}, err
		}
		head, beyond, ok, err := b.head(ctx, known, upTo, ready)
		switch {
		case err != nil:
			return eventstore.Info{}, err
		case !ok: // what was known is not there any more
			known, upTo = eventstore.Place{}, 0
		case beyond > 0:
			if err := b.water.reach(ctx, beyond); err != nil {
				return eventstore.Info{}, err
			}
		default:
			b.extent.learn(head, max(upTo, ready))
			return eventstore.Info{ID: b.own.id, Head: head}, nil
		}
	}
}

// head looks for the last event after one number up to another, and else holds the known
// one against the store. beyond is the number of an event after that; 0 where there is
// none.
func (b *Backend) head(ctx context.Context, known eventstore.Place, upTo, ready int64) (head eventstore.Place, beyond int64, ok bool, err error) {
	q := b.sql()
	var number, version pgtype.Int8
	var id *uuid.UUID
	var stream *string
	place := `select e.seq_id, e.version::bigint, e.id, (` + q.name + `)::text from ` + q.from + ` where `
	err = b.pool.QueryRow(ctx, `select (select coalesce(max(e.seq_id), 0) from `+q.shown+` where e.seq_id > $3 and `+q.live+`), h.* from (select) one left join lateral (
			(`+place+`e.seq_id > $1 and e.seq_id <= $3 and `+q.there+` order by e.seq_id desc limit 1)
			union all
			(`+place+`e.seq_id = $2 and `+q.there+`)
		) h (seq_id, version, id, stream) on true order by h.seq_id desc nulls last limit 1`, upTo, pgdriver.After(known.Position), ready).
		Scan(&beyond, &number, &version, &id, &stream)
	if err != nil {
		return head, 0, false, err
	}
	if number.Valid && id != nil && stream != nil {
		head = eventstore.Place{Position: pgdriver.Position(number.Int64), Stream: *stream, Version: uint64(version.Int64), ID: *id}
	}
	ok = upTo == 0 || ready >= upTo && (head == known || known.Position.Before(head.Position))
	return head, beyond, ok, nil
}

// Seal implements [eventstore.Backend]. It is declared absent.
func (b *Backend) Seal(context.Context, eventstore.SealRequest) (eventstore.Info, error) {
	return eventstore.Info{}, &eventstore.UnsupportedError{Feature: "Seal", Reason: noSeal}
}

const noSeal = "Marten applications would go on writing: they know of no seal"
