package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Info implements [eventstore.Backend]. The identity is read each time: a table may
// have been replaced under the handle.
func (b *Backend) Info(ctx context.Context) (eventstore.Info, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Info{}, err
	}
	var id uuid.UUID
	var idErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		id, idErr = b.readID(ctx)
	}()
	info, err := b.logInfo(ctx)
	<-done
	if err := errors.Join(err, idErr); err != nil {
		return eventstore.Info{}, firstError(err)
	}
	info.ID = id
	return info, nil
}

func (b *Backend) readID(ctx context.Context) (uuid.UUID, error) {
	it, err := b.client.get(ctx, keyOf(b.keys.identity(), 0))
	if err != nil {
		return uuid.Nil, err
	}
	if it == nil {
		return uuid.Nil, fmt.Errorf("dynamodb: table %q holds no store any more", b.client.table)
	}
	found, err := decodeIdentity(it)
	return found.id, err
}

// logInfo reads the head and the seal.
func (b *Backend) logInfo(ctx context.Context) (info eventstore.Info, err error) {
	high := uint64(mostSort)
	for limit := 1; high > 0; limit = min(4*limit, 1000) {
		items, more, err := b.client.query(ctx, span{partition: b.keys.log(), low: 1, high: high, backward: true, limit: limit})
		if err != nil {
			return info, err
		}
		for _, it := range items {
			l, err := decodeLogItem(&b.deflater, it)
			if err != nil {
				return info, err
			}
			if high == mostSort {
				if seal := l.sealed(); seal != nil {
					info.Sealed, info.SealReason = true, seal.Reason
				}
			}
			if info.Head = l.lastPlace(); !info.Head.IsZero() {
				return info, nil
			}
			high = l.seq - 1 // seals and unseals have no place
		}
		if !more {
			return info, nil
		}
	}
	return info, nil
}

// head is the place of the store's last event.
func (b *Backend) head(ctx context.Context) (eventstore.Place, error) {
	info, err := b.logInfo(ctx)
	return info.Head, err
}

// lastItem reads the last item of the log; nil where there is none.
func (b *Backend) lastItem(ctx context.Context) (*logItem, error) {
	items, _, err := b.client.query(ctx, span{partition: b.keys.log(), low: 1, high: mostSort, backward: true, limit: 1})
	if err != nil || len(items) == 0 {
		return nil, err
	}
	return decodeLogItem(&b.deflater, items[0])
}

// Seal implements [eventstore.Backend]. A seal is an item of the log, written as
// every other: who loses its sequence number to it learns of it, and an append that
// arrives late names a number that is taken, whether or not the seal was lifted
// since.
func (b *Backend) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Info{}, err
	}
	w, err := b.takeWriter(ctx)
	if err != nil {
		return eventstore.Info{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, b.patience.seal)
	defer cancel()
	err = w.changeSeal(bounded, req)
	b.writer <- w
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, eventstore.ErrUnknownOutcome):
		return eventstore.Info{}, err
	default:
		return eventstore.Info{}, definite(bounded, err)
	}
	b.hint.Notify()
	return b.Info(ctx)
}

func (w *writer) changeSeal(ctx context.Context, req eventstore.SealRequest) error {
	for {
		if !w.inStep {
			if err := w.begin(ctx); err != nil {
				return err
			}
		} else if _, _, err := w.catchUp(ctx, nil); err != nil {
			return err
		}
		if (w.seal != nil) != req.Lift {
			return nil
		}
		l := &logItem{seq: w.end + 1, attempt: w.next(), at: time.Now().UnixMicro(), events: w.events, streams: w.streams, seal: kindSeal, reason: req.Reason}
		if req.Lift {
			l.seal, l.reason = kindUnseal, ""
		}
		result, err := w.commit(ctx, l, l.transaction(w.b.keys, &w.b.deflater, w.b.client.table))
		switch result {
		case outcomeStored:
			return nil
		case outcomeAgain:
		case outcomeUnknown:
			w.forget()
			return err
		case outcomeFailed:
			return err
		}
	}
}
