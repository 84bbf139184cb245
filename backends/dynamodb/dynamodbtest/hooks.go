package dynamodbtest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
)

// What a hook may want instead of an answer.
var (
	// ErrDrop closes the client's connection without an answer, as a cut cable
	// would.
	ErrDrop = errors.New("dynamodbtest: connection dropped by a hook")
	// ErrHalfAnswer sends the head and half of the body, then closes the
	// connection. It has this meaning after the request was carried out.
	ErrHalfAnswer = errors.New("dynamodbtest: half an answer, by a hook")
	// ErrGarbage sends a body that is no JSON, with status 200, as a proxy
	// between client and service might.
	ErrGarbage = errors.New("dynamodbtest: garbage instead of an answer, by a hook")
)

// Key names an item: strings as they are, numbers plain, binary in base64. Of a
// Query or a Scan, and of a request that is wrong, only the table is known.
type Key struct {
	Table, Partition, Sort string
}

// Call is the request that a hook may disturb.
type Call struct {
	Operation string // such as "TransactWriteItems"
	Keys      []Key  // in the request's order; those of batches by table
	Body      []byte // the request as it was sent; not to be changed
}

// Hook disturbs a call. Nil lets it go on. An [Error] is answered; [ErrDrop],
// [ErrHalfAnswer] and [ErrGarbage] do what they say; any other error is answered
// with [InternalError].
//
// A hook may block. The request goes on when it returns, also if the client has
// gone away meanwhile: that is how a request arrives late. ctx ends with the
// server only, and then a hook must return.
type Hook func(ctx context.Context, call Call) error

// Hooks are the places where calls can be disturbed. Nil members do nothing.
// Hooks run concurrently and outside all locks.
type Hooks struct {
	// Before runs when a request was received, before anything of it is done. If
	// it fails nothing is done.
	Before Hook

	// Prepared runs when a TransactWriteItems has met its conditions and holds
	// its items: as long as it runs, other writes of these items meet a
	// conflict. If it fails nothing is stored.
	Prepared Hook

	// BetweenItems runs while a TransactWriteItems stores its items, before each
	// but the first; item is the index of the one that comes next. What is
	// stored is seen by Query, Scan and BatchGetItem, consistent or not, while
	// the rest is not; GetItem sees all of it.
	BetweenItems func(ctx context.Context, call Call, item int)

	// Order says in which order a TransactWriteItems stores its items: a
	// permutation of their indices. Nil, or no permutation: as requested.
	Order func(call Call) []int

	// After runs when a request was carried out or refused, before the answer
	// err, nil if there is none, is sent. If the hook fails the client does not
	// get that answer though the request was carried out.
	After func(ctx context.Context, call Call, err *Error) error

	// Unprocessed says how many items of a BatchGetItem or a BatchWriteItem are
	// left unprocessed.
	Unprocessed func(call Call) int
}

// FailTimes returns a hook that fails the first n calls with err and lets the
// others go on.
func FailTimes(n int, err error) Hook {
	var calls atomic.Int64
	return func(context.Context, Call) error {
		if calls.Add(1) <= int64(n) {
			return err
		}
		return nil
	}
}

// Hold returns a hook that holds calls until release is closed, or the server
// ends.
func Hold(release <-chan struct{}) Hook {
	return func(ctx context.Context, _ Call) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ErrDrop
		}
	}
}

// Only returns a hook for one operation.
func Only(operation string, hook Hook) Hook {
	return func(ctx context.Context, call Call) error {
		if call.Operation != operation {
			return nil
		}
		return hook(ctx, call)
	}
}

// AfterAny makes a hook into one for [Hooks].After that does not look at the
// answer.
func AfterAny(hook Hook) func(ctx context.Context, call Call, err *Error) error {
	return func(ctx context.Context, call Call, _ *Error) error { return hook(ctx, call) }
}

// SetHooks replaces the hooks; the zero value removes them. Calls under way keep
// those they began with.
func (s *Server) SetHooks(hooks Hooks) { s.hooks.Store(&hooks) }

func (h Hooks) before(ctx context.Context, call Call) error {
	if h.Before == nil {
		return nil
	}
	return h.Before(ctx, call)
}

func (h Hooks) prepared(ctx context.Context, call Call) error {
	if h.Prepared == nil {
		return nil
	}
	return h.Prepared(ctx, call)
}

func (h Hooks) after(ctx context.Context, call Call, err *Error) error {
	if h.After == nil {
		return nil
	}
	return h.After(ctx, call, err)
}

// order is a permutation of 0 to n-1.
func (h Hooks) order(call Call, n int) []int {
	asRequested := make([]int, n)
	for i := range asRequested {
		asRequested[i] = i
	}
	if h.Order == nil {
		return asRequested
	}
	wanted := h.Order(call)
	if !slices.Equal(slices.Sorted(slices.Values(wanted)), asRequested) {
		return asRequested
	}
	return wanted
}

// refusal is the answer that a hook's error stands for.
func refusal(err error) *Error {
	var answer *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return answer
	case errors.Is(err, ErrDrop), errors.Is(err, ErrHalfAnswer), errors.Is(err, ErrGarbage):
		return &Error{hook: err}
	}
	return InternalError()
}

// unlocked runs f without the store's lock.
func (x *execution) unlocked(f func() error) *Error {
	x.store.mu.Unlock()
	defer x.store.mu.Lock()
	return refusal(f())
}
