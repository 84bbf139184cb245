package eventstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// heldLease is a lease that this process has. It is used by one goroutine at a
// time, the one that renews it, and after that the one that releases it; its end is
// looked at by all.
type heldLease struct {
	store *Store
	sub   Subscription
	epoch uint64
	lease Lease
	until atomic.Pointer[time.Time] // when others may take it, by this process's clock
}

// hold takes note of a lease that was granted to this process when it was asked for.
func (h *heldLease) hold(lease Lease, asked time.Time) {
	until := asked.Add(lease.TTL)
	h.lease = lease
	h.until.Store(&until)
}

// check returns ErrLeaseLost when others may have taken the lease. It is asked before
// each call of a handler: a process that was paused wakes with all its goroutines at
// once, and the one that would say that the lease is over need not be the first.
func (h *heldLease) check() error {
	if time.Now().Before(*h.until.Load()) {
		return nil
	}
	return &LeaseLostError{Name: h.sub.Name, Epoch: h.epoch, Stored: h.epoch}
}

// takeLease waits until this process has the subscription's lease.
//
// Whoever waits judges by how long it has itself seen no renewal, and the owner by
// when it last asked for one: the owner stops before anybody can take over, and no
// two clocks are compared.
func (s *Store) takeLease(ctx context.Context, sub Subscription) (*heldLease, error) {
	owner := ownerName()
	var old, seen Lease // the zero Lease stands for "never taken", and otherwise only asks
	var since time.Time
	waiting := false
	for {
		want := Lease{Name: sub.Name, Epoch: old.Epoch + 1, Owner: owner, TTL: sub.LeaseTTL}
		asked := time.Now()
		result, err := patiently(ctx, s, sub.Name, func() (SwapLeaseResult, error) {
			return sub.Checkpoints.SwapLease(ctx, SwapLeaseRequest{Name: sub.Name, Old: old, New: want})
		})
		switch {
		case err != nil:
			return nil, fmt.Errorf("take the lease: %w", err)
		case result.Swapped || result.Lease.Same(want): // the latter where an answer was lost
			held := &heldLease{store: s, sub: sub, epoch: want.Epoch}
			held.hold(want, asked)
			return held, nil
		}
		if since.IsZero() || !result.Lease.Same(seen) {
			seen, since = result.Lease, time.Now()
		}
		if seen.Owner == "" || time.Since(since) >= seen.TTL {
			old = seen // free, or not heard of for as long as it lasts
			continue
		}
		if !waiting {
			waiting = true
			s.logger.InfoContext(ctx, "subscription waits for its lease", "subscription", sub.Name, "owner", seen.Owner, "epoch", seen.Epoch)
		}
		old = Lease{}
		if err := sleep(ctx, min(sub.LeaseTTL/10, time.Second)); err != nil {
			return nil, err
		}
	}
}

// ownerName tells people which process has a lease, and tells two calls of Run apart.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d, %s", host, os.Getpid(), uuid.NewString())
}

// renew keeps the lease until stop is called. Where it cannot, lost is called with
// the reason, before anybody else can take the lease.
func (h *heldLease) renew(ctx context.Context, lost context.CancelCauseFunc) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.renewals(ctx); err != nil && ctx.Err() == nil {
			lost(err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// renewals returns when ctx is done, or why the lease is lost.
func (h *heldLease) renewals(ctx context.Context) (err error) {
	// In this goroutine nobody could recover the panic of a user's checkpoints.
	defer func() {
		if value := recover(); value != nil {
			err = panicked("renewing the lease", value)
		}
	}()
	every := h.lease.TTL / 3
	for pause := every; ; {
		timer := time.NewTimer(min(pause, time.Until(*h.until.Load())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if err := h.check(); err != nil {
			return err
		}
		switch err = h.renewOnce(ctx); {
		case err == nil:
			pause = every
		case passes(err) || isContextError(err): // its deadline is the lease's end
			h.store.logger.WarnContext(ctx, "lease not renewed; trying again", "subscription", h.lease.Name, "error", err)
			pause = every / 10
		default:
			return err
		}
	}
}

func (h *heldLease) renewOnce(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, *h.until.Load())
	defer cancel()
	for {
		asked, next := time.Now(), h.lease
		next.Renewals++
		result, err := h.sub.Checkpoints.SwapLease(ctx, SwapLeaseRequest{Name: h.lease.Name, Old: h.lease, New: next})
		switch {
		case err != nil:
			return err
		case result.Swapped || result.Lease.Same(next):
			h.hold(next, asked)
			return nil
		case result.Lease.Epoch == h.lease.Epoch && result.Lease.Owner == h.lease.Owner && result.Lease.Renewals > h.lease.Renewals:
			h.lease = result.Lease // a renewal whose answer was lost
		default:
			return &LeaseLostError{Name: h.lease.Name, Epoch: h.lease.Epoch, Stored: result.Lease.Epoch}
		}
	}
}

// release frees the lease, so that nobody has to wait for its end. It is a
// courtesy: where it fails the others wait.
func (h *heldLease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	free := h.lease
	free.Owner = ""
	free.Renewals++
	_, err := h.sub.Checkpoints.SwapLease(ctx, SwapLeaseRequest{Name: h.lease.Name, Old: h.lease, New: free})
	if err != nil && !errors.Is(err, ErrClosed) {
		h.store.logger.WarnContext(ctx, "lease not released; others wait for its end", "subscription", h.lease.Name, "error", err)
	}
}
