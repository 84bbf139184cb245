package eventstore

import "context"

// readAhead fetches the page after the one that a read's caller is busy with. It
// fetches one page at most, in one goroutine, which ends with stop.
type readAhead struct {
	fetching chan struct{} // closed at the end of the fetch; nil where there is none
	cancel   context.CancelFunc
	page     Page
	err      error
	panicked any
}

// start begins to fetch a page.
func (a *readAhead) start(ctx context.Context, fetch func(context.Context) (Page, error)) {
	ctx, a.cancel = context.WithCancel(ctx)
	fetching := make(chan struct{})
	a.fetching = fetching
	go func() {
		defer close(fetching)
		// In this goroutine nobody could recover it: take panics in the caller's.
		defer func() { a.panicked = recover() }()
		a.page, a.err = fetch(ctx)
	}()
}

// take returns the page that was fetched. It returns false where none was, and
// where the fetch failed: what went wrong while nobody wanted the page may be
// over, so it is no error of the read, which asks again.
func (a *readAhead) take() (Page, bool) {
	if a.fetching == nil {
		return Page{}, false
	}
	<-a.fetching
	a.cancel()
	done := *a
	*a = readAhead{}
	if done.panicked != nil {
		panic(done.panicked)
	}
	return done.page, done.err == nil
}

// stop ends a fetch under way and waits for it.
func (a *readAhead) stop() {
	if a.fetching != nil {
		a.cancel()
		<-a.fetching
	}
}
