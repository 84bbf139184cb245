package esdb

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/recent"
)

// A subscription may have come to the end before the look-out began, and what was
// written in between neither of them has seen as new.
func TestALookoutThatBeginsMakesSubscriptionsLook(t *testing.T) {
	_, b := openDouble(t, nil, "&poll=1h")
	hint := b.lookout.hint.C()
	_, leave := b.lookout.follow()
	defer leave()
	select {
	case <-hint:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	require.NotNil(t, b.lookout.log.Load())
}

// The last subscription's session ends when the next one's may have begun.
func TestASessionThatEndsLeavesTheNextOnesCopyAlone(t *testing.T) {
	_, b := openDouble(t, nil, "&poll=1h")
	hint := b.lookout.hint.C()
	_, leave := b.lookout.follow()
	<-hint
	next := &recent.Log{}
	b.lookout.log.Store(next)
	leave()
	b.lookout.running.Wait()
	require.Same(t, next, b.lookout.log.Load())
}
