package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const firstPause, longestPause = 10 * time.Millisecond, time.Second

// retry paces the attempts of one operation.
type retry struct {
	within time.Duration
	until  time.Time // set by the first wait: most operations never fail
	pause  time.Duration
	closed <-chan struct{}
}

func (s *Store) newRetry() retry {
	return retry{within: s.options.RetryFor, pause: firstPause, closed: s.lifetime.Done()}
}

// wait pauses before the next attempt. It returns false where there is to be none.
func (r *retry) wait(ctx context.Context) bool {
	if r.until.IsZero() {
		r.until = time.Now().Add(r.within)
	}
	if time.Now().Add(r.pause).After(r.until) {
		return false
	}
	timer := time.NewTimer(jitter(r.pause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.closed:
		return false
	case <-timer.C:
	}
	r.pause = min(2*r.pause, longestPause)
	return true
}

// giveUp returns the error for an operation that is not tried again.
func (r *retry) giveUp(ctx context.Context, last error) error {
	select {
	case <-r.closed:
		return fmt.Errorf("%w: %w", ErrClosed, last)
	default:
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ended(ctx), last)
	}
	return last
}

// again calls what is safe to repeat, and calls it again while the backend is
// unavailable or the outcome is unknown.
func again[T any](ctx context.Context, s *Store, call func() (T, error)) (T, error) {
	result, err := call()
	if !passes(err) {
		return result, err
	}
	for retry := s.newRetry(); ; {
		if !retry.wait(ctx) {
			return result, retry.giveUp(ctx, err)
		}
		if result, err = call(); !passes(err) {
			return result, err
		}
	}
}

// passes tells whether an error may pass by waiting.
func passes(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome)
}

// jitter spreads a pause over ±25 % so that many callers do not return at once.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1) //nolint:gosec // not a secret: it only spreads callers out
}

// sleep waits a jittered pause, or returns the context's error.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(jitter(pause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
