// Package sleep waits without outliving its caller.
package sleep

import (
	"context"
	"time"
)

// For waits, or returns the context's error where that ends first.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
