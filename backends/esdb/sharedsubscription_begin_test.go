package esdb

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/recent"
)

// A subscription may have come to the end before the shared one began, and what was
// written in between neither of them has seen as new.
func TestASharedSubscriptionThatBeginsMakesSubscriptionsRead(t *testing.T) {
	_, b := openDouble(t, nil, "&poll=1h")
	hint := b.shared.hint.C()
	_, leave := b.shared.follow()
	defer leave()
	select {
	case <-hint:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	require.NotNil(t, b.shared.log.Load())
}

// The last subscription's session ends when the next one's may have begun.
func TestASessionThatEndsLeavesTheNextOnesCopyAlone(t *testing.T) {
	_, b := openDouble(t, nil, "&poll=1h")
	hint := b.shared.hint.C()
	_, leave := b.shared.follow()
	<-hint
	next := &recent.Log{}
	b.shared.log.Store(next)
	leave()
	b.shared.running.Wait()
	require.Same(t, next, b.shared.log.Load())
}
