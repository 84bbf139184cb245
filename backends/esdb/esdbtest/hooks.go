package esdbtest

import (
	"context"
	"errors"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// ErrDrop makes a hook that returns it close the caller's connection instead of
// answering, as a cut cable would.
var ErrDrop = errors.New("esdbtest: connection dropped by a hook")

// Method names the kind of call a hook is asked about.
type Method string

// The methods hooks are called for.
const (
	MethodAppend    Method = "append"
	MethodDelete    Method = "delete"
	MethodTombstone Method = "tombstone"
	MethodRead      Method = "read"
	MethodSubscribe Method = "subscribe"
)

// Call describes the call a hook may disturb.
type Call struct {
	Method Method
	Stream string // "$all" for reads and subscriptions of everything
	Events int    // events to append; zero for the other methods
}

// Hook disturbs a call: nil lets it go on, [ErrDrop] closes the connection, any
// other error is sent to the client (a gRPC status as it is, another error as
// Unknown). A hook may block to stall the call, but must return when ctx ends:
// [Server.Stop] waits for it, so a hook that wants to stop the server does it in
// a goroutine. Hooks run concurrently and outside all locks.
type Hook func(ctx context.Context, call Call) error

// Hooks are the places where calls can be disturbed. Nil members do nothing.
type Hooks struct {
	// BeforeCommit runs when a write has been received, before it is checked.
	// If it fails nothing is stored. If the call's context has ended when it
	// returns, nothing is stored either.
	BeforeCommit Hook

	// AfterCommit runs when a write has been stored, before the answer. If it
	// fails the client gets the error though the write happened: the outcome
	// is ambiguous to it. It runs for idempotent repetitions too, but not for
	// refused writes.
	AfterCommit Hook

	// BeforeRead runs when a read or a subscription has been received, before it
	// looks where the log ends. What is written while it is held is written before
	// a subscription from the end, and so not sent to it.
	BeforeRead Hook

	// BeforePage runs before each page of at most 32 events that a read or a
	// subscription takes from the log.
	BeforePage Hook
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

// Stall returns a hook that holds calls until release is closed or the call's
// context ends.
func Stall(release <-chan struct{}) Hook {
	return func(ctx context.Context, _ Call) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// SetHooks replaces the hooks; the zero value removes them. Calls already past
// a hook are not affected.
func (s *Server) SetHooks(hooks Hooks) {
	s.hooks.Store(&hooks)
}

func (s *Server) beforeCommit(ctx context.Context, call Call) error {
	if err := s.run(ctx, s.hooks.Load().BeforeCommit, call); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return nil
}

func (s *Server) afterCommit(ctx context.Context, call Call) error {
	return s.run(ctx, s.hooks.Load().AfterCommit, call)
}

func (s *Server) beforeRead(ctx context.Context, call Call) error {
	return s.run(ctx, s.hooks.Load().BeforeRead, call)
}

func (s *Server) beforePage(ctx context.Context, call Call) error {
	return s.run(ctx, s.hooks.Load().BeforePage, call)
}

func (s *Server) run(ctx context.Context, hook Hook, call Call) error {
	if hook == nil {
		return nil
	}
	err := hook(ctx, call)
	if errors.Is(err, ErrDrop) {
		if p, ok := peer.FromContext(ctx); ok {
			s.dropConnection(p.Addr.String())
		}
		return status.Error(codes.Unavailable, ErrDrop.Error())
	}
	return err
}
