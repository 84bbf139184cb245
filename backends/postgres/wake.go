package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

const (
	// Subscriptions of this process are woken at most this often: at 1,000 appends
	// a second each wake-up then finds several events, and a lone append still
	// wakes at once.
	wakeEvery = 3 * time.Millisecond
	// Other processes are told at most this often.
	tellEvery  = 10 * time.Millisecond
	tellWithin = 5 * time.Second
	// Pauses before a lost LISTEN connection is made anew.
	firstRelisten, longestRelisten = 50 * time.Millisecond, 5 * time.Second
)

// wake tells subscriptions that there may be something new: those of this
// process directly, those of others by NOTIFY. It is only ever a hint. A NOTIFY
// inside an append's transaction would make all commits of the database wait for
// one another, so it is sent afterwards, for many appends at once.
type wake struct {
	hint    *adapter.Hint
	pool    *pgxpool.Pool
	channel string
	token   string // this handle's, so that it does not wake itself twice
	listen  bool

	near, far chan struct{}   // pokes for the two tellers
	ctx       context.Context //nolint:containedctx // it ends with the handle, not with a call
	running   sync.WaitGroup

	mu          sync.Mutex
	subscribers int
	stopListen  context.CancelFunc
}

// newWake calls before, which may take its time, ahead of each wake-up.
func newWake(ctx context.Context, pool *pgxpool.Pool, store uuid.UUID, before func(context.Context), listen bool) *wake {
	w := &wake{
		hint: &adapter.Hint{}, pool: pool, channel: "switchyard:" + store.String(), token: uuid.NewString(),
		listen: listen, near: make(chan struct{}, 1), far: make(chan struct{}, 1), ctx: ctx,
	}
	w.running.Go(func() {
		paced(ctx, w.near, wakeEvery, func() {
			before(ctx)
			w.hint.Notify()
		})
	})
	w.running.Go(func() { paced(ctx, w.far, tellEvery, w.tell) })
	return w
}

// appended says that something was appended. It does not wait.
func (w *wake) appended() {
	poke(w.near)
	poke(w.far)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a poke is waiting already
	}
}

// paced answers pokes, the first at once and then no more often than every pause.
func paced(ctx context.Context, pokes <-chan struct{}, pause time.Duration, do func()) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pokes:
		}
		do()
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// tell notifies other processes. The commit of a NOTIFY need not reach the disk.
// An error is none of anybody's: what is lost is a hint.
func (w *wake) tell() {
	ctx, cancel := context.WithTimeout(w.ctx, tellWithin)
	defer cancel()
	_, _ = w.pool.Exec(ctx, `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`, w.channel, w.token)
}

// subscribe keeps LISTEN going while anybody subscribes; the function it returns
// ends that.
func (w *wake) subscribe() (leave func()) {
	if !w.listen {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil { // closed meanwhile
		return func() {}
	}
	if w.subscribers++; w.subscribers == 1 {
		ctx, cancel := context.WithCancel(w.ctx)
		w.stopListen = cancel
		w.running.Go(func() { w.keepListening(ctx) })
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.subscribers--; w.subscribers == 0 {
			w.stopListen()
		}
	}
}

func (w *wake) keepListening(ctx context.Context) {
	pause := firstRelisten
	for ctx.Err() == nil {
		if heard := w.listenOnce(ctx); heard {
			pause = firstRelisten
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, longestRelisten)
	}
}

// listenOnce listens until its connection is lost. heard says that it got as far
// as listening.
func (w *wake) listenOnce(ctx context.Context) (heard bool) {
	pooled, err := w.pool.Acquire(ctx)
	if err != nil {
		return false
	}
	conn := pooled.Hijack() // it is busy for good, and must not count against the pool
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{w.channel}.Sanitize()); err != nil {
		return false
	}
	w.hint.Notify() // for what was missed before
	for {
		notification, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		if notification.Payload != w.token {
			poke(w.near)
		}
	}
}

// close ends everything; the context has ended already.
func (w *wake) close() {
	w.hint.Notify() // so that subscriptions notice
	w.mu.Lock()     // whoever is subscribing has started listening, or will not
	w.mu.Unlock()   //nolint:staticcheck // the lock is only waited for
	w.running.Wait()
}
