package esdb

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/recent"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// sharedSubscription follows the end of the store once for all live subscriptions of a handle.
// The server holds no more than 32 events for a subscription that is behind, and
// goes back to reading its log then; and ten that are filtered cost it ten filters.
// Whoever is slow or behind reads pages by itself, at its own pace.
//
// The server's subscription is one way in which events come; at every poll
// interval what it has not brought is read. So a subscription that has gone silent
// costs time and no events.
type sharedSubscription struct {
	b    *Backend
	hint adapter.Hint
	log  atomic.Pointer[recent.Log] // the session's; nil where there is none

	mu        sync.Mutex
	followers int
	closed    bool
	stop      context.CancelFunc // nil: it does not run
	running   sync.WaitGroup
}

// follow returns what a subscription gets its pages from, and what to call at its end.
func (l *sharedSubscription) follow() (page func(context.Context, eventstore.ReadAllRequest) (eventstore.Page, error), leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers++
	if l.stop == nil && !l.closed {
		ctx, stop := context.WithCancel(context.Background())
		l.stop = stop
		l.running.Go(func() { l.run(ctx) })
	}
	live := false // it has seen the end for itself, and may be told that it is caught up
	page = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		if err := l.b.ready(ctx); err != nil {
			return eventstore.Page{}, err
		}
		if log := l.log.Load(); live && log != nil {
			if page, ok := log.Page(req); ok {
				return page, nil
			}
		}
		page, err := l.b.ReadAll(ctx, req)
		live = live || (err == nil && page.End)
		return page, err
	}
	return page, l.leave
}

func (l *sharedSubscription) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.followers--; l.followers == 0 && l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// close ends the shared subscription, and wakes all who wait for it.
func (l *sharedSubscription) close() {
	l.mu.Lock()
	l.closed = true
	if l.stop != nil {
		l.stop()
	}
	l.mu.Unlock()
	l.hint.Notify()
	l.running.Wait()
}

// run follows the store until ctx is done. Between two sessions subscriptions read
// for themselves, and so hear what is wrong.
func (l *sharedSubscription) run(ctx context.Context) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		began := time.Now()
		_ = l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > longestPause {
			pause = firstPause
		}
		if sleep.For(ctx, pause/2+rand.N(pause)) != nil { //nolint:gosec // not a secret: it spreads callers out
			return
		}
	}
}

// session is one subscription of the server's.
func (l *sharedSubscription) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	head, feed, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer feed.close()
	log := &recent.Log{}
	log.Begin(head)
	l.log.Store(log)
	l.hint.Notify() // for what was written before
	defer l.hint.Notify()
	defer l.log.CompareAndSwap(log, nil) // the next session may have begun
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel(nil)
	looking.Go(func() { cancel(l.poll(ctx, log)) })
	for {
		read, err := feed.next()
		if err != nil {
			return err
		}
		if event, ok := l.b.event(read); ok && log.Add(event) {
			l.hint.Notify()
		}
	}
}

// begin subscribes to what comes after the log's last record, and returns the
// store's last event before that. A server takes any position, also one that is not
// of its log: the record must be there once the subscription has begun.
func (l *sharedSubscription) begin(ctx context.Context) (eventstore.Place, *feed, error) {
	quiet, err := l.b.look(ctx)
	if err != nil {
		return eventstore.Place{}, nil, err
	}
	feed, err := l.b.conn.follow(ctx, quiet.to, l.b.names.filter(eventstore.Filter{}))
	if err != nil {
		return eventstore.Place{}, nil, err
	}
	if err = feed.confirmed(); err == nil {
		var record *recorded
		record, err = l.b.recordAt(ctx, quiet.to)
		if err == nil && (record == nil || record.id != quiet.record) {
			err = errOtherLog
		}
	}
	if err != nil {
		feed.close()
		return eventstore.Place{}, nil, err
	}
	return quiet.head, feed, nil
}

var (
	errOtherLog = errors.New("another log answers than did before")
	errBehind   = errors.New("the server's subscription is behind")
)

// poll reads at every interval what the subscription has not brought. It returns
// when that is more than a page, or cannot be read.
func (l *sharedSubscription) poll(ctx context.Context, log *recent.Log) error {
	tick := time.NewTicker(l.b.options.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		end, _ := log.End()
		head, err := l.b.head(ctx)
		if err != nil {
			return err
		}
		if !end.Position.Before(head.Position) {
			continue
		}
		page, err := l.b.ReadAll(ctx, eventstore.ReadAllRequest{
			After: end, PageSize: eventstore.PageSize{MaxEvents: recent.MaxEvents / 2, MaxBytes: recent.MaxBytes / 2},
		})
		switch {
		case err != nil:
			return err
		case !page.End:
			return errBehind
		case log.Add(page.Events...):
			l.hint.Notify()
		}
	}
}
