package sqlite_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// An append whose outcome is unknown to its caller waits for the file while another
// process seals the store and lifts the seal. Its caller may have appended again and been
// told of the seal, for certain: so it is not written when it has the file at last.
func TestAnAppendWhoseCallerHasLeftIsNotWrittenAfterASealWasLifted(t *testing.T) {
	path := file(t)
	store, other := open(t, path, nil), open(t, path, nil)
	_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(0))
	require.NoError(t, err)
	release := holdLock(t, path)
	for deadline := time.Now().Add(30 * time.Second); !leaveBehind(t, store); {
		require.True(t, time.Now().Before(deadline), "no append was under way when its caller left")
	}
	release()
	_, err = other.Seal(t.Context(), "moved")
	require.NoError(t, err)
	_, err = other.Unseal(t.Context())
	require.NoError(t, err)
	_, err = store.Append(t.Context(), "s-1", eventstore.Any(), event(1)) // behind the one that was left
	require.NoError(t, err)
	all := collect(t, store)
	require.Len(t, all, 2)
	require.JSONEq(t, `{"n":1}`, string(all[1].Data))
}

// leaveBehind makes two appends while the file is locked, so that the second one is
// written for its caller and not by it, and leaves both. It tells whether the second one
// was under way by then.
func leaveBehind(t *testing.T, store *eventstore.Store) bool {
	t.Helper()
	first, leaveFirst := context.WithCancel(t.Context())
	defer leaveFirst()
	second, leaveSecond := context.WithCancel(t.Context())
	defer leaveSecond()
	appending := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := store.Append(ctx, "left", eventstore.Any(), event(7))
			done <- err
		}()
		return done
	}
	one := appending(first)
	two := appending(second)
	time.AfterFunc(5*time.Millisecond, leaveFirst)
	require.Error(t, <-one) // which of the two is under way is the scheduler's
	time.AfterFunc(5*time.Millisecond, leaveSecond)
	err := <-two
	require.Error(t, err)
	return errors.Is(err, eventstore.ErrUnknownOutcome)
}
