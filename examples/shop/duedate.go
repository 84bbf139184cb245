package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
	"github.com/switchyard-dev/switchyard/examples/shop/orderlist"
)

// watch cancels orders that are not paid in time, until ctx is done. What fails is
// tried again a moment later.
func watch(ctx context.Context, orders *order.Orders, list *orderlist.List, payWithin time.Duration, log *slog.Logger) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if err := expire(ctx, orders, list, time.Now().Add(-payWithin)); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "look for orders that are not paid", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// expire cancels the orders that were placed before a time and are not paid. The
// list may be behind, and several processes may do this at once: the command has an
// ID made from the event that placed the order, so it can come late and not twice.
func expire(ctx context.Context, orders *order.Orders, list *orderlist.List, before time.Time) error {
	overdue, err := list.Overdue(ctx, before)
	for stream, placed := range overdue {
		_, failed := orders.Do(ctx, decider.Command{Stream: stream, ID: uuid.NewSHA1(placed, []byte("due"))}, order.Expire)
		err = errors.Join(err, failed)
	}
	return err
}
