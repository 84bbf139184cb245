package eventstore

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Checkpoint is how far a named subscription has come in a store.
type Checkpoint struct {
	// Name is the subscription's.
	Name string
	// Store is the identity of the store that Place belongs to.
	Store uuid.UUID
	// Place is that of the last event which is finished.
	Place Place
	// Epoch is that of the lease under which it is saved; see [Lease].
	Epoch uint64
}

// Lease says who handles the events of a named subscription. Its epoch counts the
// owners: one whose lease was taken over cannot save any more, for its epoch lies
// below the stored one.
type Lease struct {
	// Name is the subscription's.
	Name string
	// Epoch is 1 for the first owner and one more for each that follows.
	Epoch uint64
	// Owner names the process, for people; it is empty where the lease is free.
	Owner string
	// Renewals counts what the owner has said since it took the lease. Whoever
	// waits for it watches this number: no clock but its own is trusted.
	Renewals uint64
	// TTL is how long the lease lasts without a renewal.
	TTL time.Duration
}

// Checkpoints keeps the progress of named subscriptions, and their leases beside
// it. A backend implements it; so may an application that keeps its progress in
// its read model's own database. It is safe for concurrent use, also by several
// processes; each call is atomic. Names are kept apart: with a park stream Run uses
// those of [RetriedName] and [ParkedReadName] beside the subscription's. Errors: ErrLeaseLost as said below,
// ErrUnavailable, the context's error, or what ends the subscription.
type Checkpoints interface {
	// Load returns a checkpoint, and whether there is one. Its epoch is the stored
	// one, also where no checkpoint is.
	Load(ctx context.Context, req LoadCheckpointRequest) (LoadCheckpointResult, error)
	// Save stores a checkpoint unless the stored one is at or beyond its
	// position: it only moves forward. With an epoch below the stored one the
	// error is a [LeaseLostError], and nothing is stored.
	Save(ctx context.Context, req SaveCheckpointRequest) error
	// Delete removes a checkpoint and, where the lease was ever taken, raises the
	// stored epoch by one and frees the lease, so that its owner cannot save again.
	// One that does not exist is no error.
	Delete(ctx context.Context, req DeleteCheckpointRequest) error
	// List returns the checkpoints in the order of their names (by bytes).
	List(ctx context.Context, req ListCheckpointsRequest) (ListCheckpointsResult, error)
	// SwapLease stores a lease if the stored one is exactly the one that the
	// caller knows, and returns the one that is stored afterwards. The zero Lease
	// stands for "never taken". It is how a lease is taken, renewed and released.
	SwapLease(ctx context.Context, req SwapLeaseRequest) (SwapLeaseResult, error)
}

// LoadCheckpointRequest asks for a checkpoint.
type LoadCheckpointRequest struct{ Name string }

// LoadCheckpointResult is a checkpoint, where there is one.
type LoadCheckpointResult struct {
	Checkpoint Checkpoint
	Found      bool
}

// SaveCheckpointRequest asks to store a checkpoint.
type SaveCheckpointRequest struct {
	Checkpoint Checkpoint
	// Reset stores the checkpoint wherever the stored one is, also backward, and
	// fences the owner as Delete does. The checkpoint's own epoch does not matter
	// then.
	Reset bool
	// Stored, where not zero, is the place that the caller knows to be stored. Where
	// the stored checkpoint lies before it, or there is none, the database has lost
	// commits: Save stores nothing, and the error matches ErrLeaseLost. Run sets it for
	// a subscription with BatchSaves, whose Checkpoints are the application's: a backend
	// is never given it, and may leave it alone.
	Stored Place
}

// DeleteCheckpointRequest asks to remove a checkpoint.
type DeleteCheckpointRequest struct{ Name string }

// ListCheckpointsRequest asks for checkpoints by name.
type ListCheckpointsRequest struct {
	// After is exclusive; empty begins with the first name.
	After string
	// Limit is the most to return; at least 1.
	Limit int
}

// ListCheckpointsResult has checkpoints in the order of their names; fewer than
// were asked for are the last.
type ListCheckpointsResult struct{ Checkpoints []Checkpoint }

// SwapLeaseRequest asks to replace a lease. Both have the same name.
type SwapLeaseRequest struct {
	Name string
	// Old is compared with the stored lease: epoch, owner and renewals.
	Old Lease
	New Lease
}

// SwapLeaseResult says whether the lease was replaced.
type SwapLeaseResult struct {
	// Lease is the one that is stored now.
	Lease   Lease
	Swapped bool
}

// Same tells whether two leases agree in what SwapLease compares.
func (l Lease) Same(other Lease) bool {
	return l.Epoch == other.Epoch && l.Owner == other.Owner && l.Renewals == other.Renewals
}

// LoadCheckpoint returns the checkpoint of a named subscription, and whether
// there is one; its Epoch is set in either case. It fails with ErrForeignCheckpoint
// where the checkpoint belongs to another store, or its place now holds another event,
// and with ErrCheckpointAhead where it lies after the last event.
func (s *Store) LoadCheckpoint(ctx context.Context, name string) (Checkpoint, bool, error) {
	checkpoint, ok, err := s.loadOwnCheckpoint(ctx, name)
	return checkpoint, ok, opError("load checkpoint", name, err)
}

func (s *Store) loadOwnCheckpoint(ctx context.Context, name string) (Checkpoint, bool, error) {
	if err := s.checkCheckpointName(ctx, name); err != nil {
		return Checkpoint{}, false, err
	}
	checkpoints, err := s.checkpoints()
	if err != nil {
		return Checkpoint{}, false, err
	}
	result, err := again(ctx, s, func() (LoadCheckpointResult, error) {
		return checkpoints.Load(ctx, LoadCheckpointRequest{Name: name})
	})
	if err != nil || !result.Found {
		return result.Checkpoint, false, err
	}
	return result.Checkpoint, true, s.checkCheckpoint(ctx, result.Checkpoint)
}

// SaveCheckpoint stores how far a named subscription has come; its Place is an
// event's, from [RecordedEvent.Place]. A zero Store stands for this one. A
// checkpoint only moves forward: saving one at or before the stored position
// changes nothing.
//
// It fails with ErrForeignCheckpoint and ErrCheckpointAhead as LoadCheckpoint
// does, and with ErrLeaseLost where its epoch lies below the stored one: change
// what LoadCheckpoint returned.
func (s *Store) SaveCheckpoint(ctx context.Context, checkpoint Checkpoint) error {
	return opError("save checkpoint", checkpoint.Name, s.saveCheckpoint(ctx, SaveCheckpointRequest{Checkpoint: checkpoint}))
}

// ResetCheckpoint stores where a named subscription goes on, also backward. Who
// runs it now loses its lease, and the next owner starts there.
func (s *Store) ResetCheckpoint(ctx context.Context, checkpoint Checkpoint) error {
	return opError("reset checkpoint", checkpoint.Name, s.saveCheckpoint(ctx, SaveCheckpointRequest{Checkpoint: checkpoint, Reset: true}))
}

func (s *Store) saveCheckpoint(ctx context.Context, req SaveCheckpointRequest) error {
	if err := s.checkCheckpointName(ctx, req.Checkpoint.Name); err != nil {
		return err
	}
	checkpoints, err := s.checkpoints()
	if err != nil {
		return err
	}
	switch place := req.Checkpoint.Place; {
	case place.IsZero():
	case !place.Named() || place.Version == 0 || place.Version > maxVersion || place.ID == uuid.Nil:
		return invalid("checkpoint place", "it does not say which event is at %s; take it from the event: event.Place()", place.Position)
	default:
		if err := checkText("checkpoint place's stream", place.Stream, s.caps.Limits.MaxStreamBytes); err != nil {
			return err
		}
	}
	if req.Checkpoint.Store == uuid.Nil {
		info, err := s.info(ctx)
		if err != nil {
			return err
		}
		req.Checkpoint.Store = info.ID
	}
	if err := s.checkCheckpoint(ctx, req.Checkpoint); err != nil {
		return err
	}
	_, err = again(ctx, s, func() (struct{}, error) { return struct{}{}, checkpoints.Save(ctx, req) })
	return err
}

// DeleteCheckpoint removes a checkpoint, so that its subscription starts anew,
// also where it is running now. One that does not exist is no error.
func (s *Store) DeleteCheckpoint(ctx context.Context, name string) error {
	return opError("delete checkpoint", name, s.deleteCheckpoint(ctx, name))
}

func (s *Store) deleteCheckpoint(ctx context.Context, name string) error {
	if err := s.checkCheckpointName(ctx, name); err != nil {
		return err
	}
	checkpoints, err := s.checkpoints()
	if err != nil {
		return err
	}
	return checkpoints.Delete(ctx, DeleteCheckpointRequest{Name: name})
}

const listedAtOnce = 256

// ListCheckpoints yields every checkpoint that the store keeps, in the order of
// the names. They are not held against the store: see LoadCheckpoint.
func (s *Store) ListCheckpoints(ctx context.Context) iter.Seq2[Checkpoint, error] {
	return single(func(yield func(Checkpoint, error) bool) {
		if err := s.listCheckpoints(ctx, yield); err != nil {
			yield(Checkpoint{}, opError("list checkpoints", "", err))
		}
	})
}

func (s *Store) listCheckpoints(ctx context.Context, yield func(Checkpoint, error) bool) error {
	checkpoints, err := s.checkpoints()
	if err != nil {
		return err
	}
	for after := ""; ; {
		if err := s.ready(ctx); err != nil {
			return err
		}
		result, err := again(ctx, s, func() (ListCheckpointsResult, error) {
			return checkpoints.List(ctx, ListCheckpointsRequest{After: after, Limit: listedAtOnce})
		})
		if err != nil {
			return err
		}
		for _, checkpoint := range result.Checkpoints {
			if !yield(checkpoint, nil) {
				return nil
			}
			after = checkpoint.Name
		}
		if len(result.Checkpoints) < listedAtOnce {
			return nil
		}
	}
}

// checkpoints returns the backend's own, or says why there are none.
func (s *Store) checkpoints() (Checkpoints, error) {
	if !s.caps.Checkpoints.supported {
		return nil, s.unsupported("keeping checkpoints", s.caps.Checkpoints)
	}
	return s.records.Checkpoints, nil
}

func (s *Store) checkCheckpointName(ctx context.Context, name string) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	return checkText("name", name, maxNameBytes)
}

// checkCheckpoint holds a checkpoint against the store: its identity, its head,
// and the event at its place.
func (s *Store) checkCheckpoint(ctx context.Context, c Checkpoint) error {
	info, err := s.info(ctx)
	switch {
	case err != nil:
		return err
	case c.Store != info.ID:
		return &ForeignCheckpointError{Name: c.Name, Checkpoint: c.Store, Store: info.ID, Place: c.Place}
	}
	return s.checkPlace(ctx, c.Name, c.Place, info)
}

// checkPlace holds a place against a store's head and the event that is there.
// name is the checkpoint's whose place it is, or empty.
func (s *Store) checkPlace(ctx context.Context, name string, place Place, info Info) error {
	if info.Head.Position.Before(place.Position) {
		return &CheckpointAheadError{Name: name, Position: place.Position, Head: info.Head.Position}
	}
	if !place.Named() {
		return nil
	}
	page, err := again(ctx, s, func() (Page, error) { return s.readOne(ctx, place.Stream, place.Version) })
	if err != nil {
		return err
	}
	var found Place
	if len(page.Events) > 0 {
		found = page.Events[0].Place()
	}
	if found == place || (found.IsZero() && !s.caps.WholeStreams.supported) {
		return nil // where an owner may cut off a stream's beginning, its absence proves nothing
	}
	if stands, err := s.standsFor(ctx, found, place); stands || err != nil {
		return err
	}
	return &ForeignCheckpointError{Name: name, Checkpoint: info.ID, Store: info.ID, Place: place, Found: found}
}

// standsFor tells whether the event that is found at a place stands for the one that was
// there, as one does that the store's owner has put for a stream's beginning. The backend
// knows: it holds the place against the same event when a page follows it.
func (s *Store) standsFor(ctx context.Context, found, place Place) (bool, error) {
	was := found
	was.ID = place.ID
	if s.caps.WholeStreams.supported || was != place {
		return false, nil
	}
	_, err := again(ctx, s, func() (Page, error) {
		return s.backend.ReadAll(ctx, ReadAllRequest{After: place, PageSize: PageSize{MaxEvents: 1, MaxBytes: 1}})
	})
	if errors.Is(err, ErrForeignCheckpoint) {
		return false, nil
	}
	return err == nil, err
}
