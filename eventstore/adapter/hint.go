package adapter

import "sync"

// Hint wakes subscriptions when there may be something new. It is only a hint:
// a lost one costs at most a poll interval. The zero Hint is ready for use.
type Hint struct {
	mu   sync.Mutex
	wake chan struct{}
}

// Notify wakes everyone who waits.
func (h *Hint) Notify() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// C returns a channel that the next Notify closes. Take it before looking for
// events, so that none is missed in between.
func (h *Hint) C() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wake == nil {
		h.wake = make(chan struct{})
	}
	return h.wake
}
