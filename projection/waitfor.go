package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ErrBehind says that the read model had not handled the position when the time was over. The
// data is safe, and will be seen later.
var ErrBehind = errors.New("read model is behind")

// Notifier is a [Target] that tells when it has moved, so that [WaitFor] need not ask
// again and again.
type Notifier interface {
	// Moved returns a channel that is closed when this process next saves a checkpoint
	// of the name.
	Moved(name string) <-chan struct{}
}

// Reacher is a [Target] that asks once for all in this process who wait for a name, so
// that many waiters take no more of the database than one.
type Reacher interface {
	// Reached returns what Load does, no older than the call.
	Reached(ctx context.Context, name string) (eventstore.LoadCheckpointResult, error)
}

// A target is asked 1, 2, 4 … 50 ms apart.
const firstPause, longestPause = time.Millisecond, 50 * time.Millisecond

// WaitFor returns when the read model has handled everything up to a position: that of
// an append's result, so that whoever wrote reads the own write. It is for the reader; a
// command never waits for handlers.
//
// It is woken by an Update in this process; otherwise it asks the target up to 50 ms
// apart. A position whose event the read model's filter passes over is reached within
// the subscription's CheckpointInterval, 1 s by default.
//
// An event that was parked counts as handled: the read model goes on without it, until
// it is retried. So WaitFor says nothing about whether the rows show one event.
//
// Where ctx ends first the error is ErrBehind, joined with the context's. A target that
// is unavailable is waited for. ErrInvalid is for a nil target or a name that is none.
// Other errors are those of the target's Load.
func WaitFor(ctx context.Context, target eventstore.Checkpoints, name string, position eventstore.Position) error {
	if target == nil {
		return &eventstore.InvalidError{Field: "target", Reason: "it is nil; give the target of the read model"}
	}
	if name == "" || strings.Contains(name, "\x00") || !utf8.ValidString(name) {
		return &eventstore.InvalidError{Field: "name", Reason: "it is empty, or is not UTF-8 text without NUL; give the read model's name"}
	}
	notifier, _ := target.(Notifier)
	var at eventstore.Position
	var last error
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		var moved <-chan struct{} // nil never wakes
		if notifier != nil {
			moved = notifier.Moved(name) // before it is asked where it is
		}
		stored, err := load(ctx, target, name)
		switch {
		case err == nil:
			at, last = stored.Checkpoint.Place.Position, nil
			if !at.Before(position) {
				return nil
			}
		case ctx.Err() == nil && !errors.Is(err, eventstore.ErrUnavailable):
			return fmt.Errorf("wait for read model %q: %w", name, err)
		default:
			last = err
		}
		if !sleep(ctx, pause, moved) {
			return behind(ctx, name, at, position, last)
		}
	}
}

func load(ctx context.Context, target eventstore.Checkpoints, name string) (eventstore.LoadCheckpointResult, error) {
	if shared, ok := target.(Reacher); ok {
		return shared.Reached(ctx, name)
	}
	return target.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
}

// sleep returns false when ctx is done first.
func sleep(ctx context.Context, pause time.Duration, moved <-chan struct{}) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-moved:
	}
	return ctx.Err() == nil
}

func behind(ctx context.Context, name string, at, position eventstore.Position, last error) error {
	if last != nil && !errors.Is(last, ctx.Err()) {
		return fmt.Errorf("wait for read model %q: %w: %s was not seen: %w; its target did not answer: %w", name, ErrBehind, position, ctx.Err(), last)
	}
	return fmt.Errorf("wait for read model %q: %w: it is at %s, and %s was awaited: %w", name, ErrBehind, at, position, ctx.Err())
}
