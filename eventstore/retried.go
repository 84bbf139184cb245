package eventstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// RetriedName is the name of the checkpoint that a [Batch] with a retried event
// carries: request is the ID of the record that asks for the retry. So a target that
// saves it in its own transaction handles the event once for each request, and its
// subscription's own checkpoint, which is beyond the event, stays where it is. Run
// deletes it when the result is recorded. The lease under the name stays, free and one
// epoch on: it keeps an owner that was paused with the event from saving after that, and
// [Checkpoints] has no way to remove one. So each retry under HandleBatch leaves a row of
// some hundred bytes where the checkpoints are kept.
func RetriedName(request uuid.UUID) string { return RetriedPrefix + request.String() }

// ParkedReadName is the name of the checkpoint in which Run remembers how far it has
// read a subscription's park stream, once that is long: up to its place every retry has
// its result. Without it the stream is read from its start.
func ParkedReadName(subscription, parkStream string) string {
	return ParkedReadPrefix + uuid.NewSHA1(uuid.NameSpaceOID, []byte(subscription+"\x00"+parkStream)).String()
}

// ParkedReadPrefix and RetriedPrefix are how the names of these checkpoints begin, for
// who lists checkpoints.
const (
	RetriedPrefix    = "switchyard-retried-"
	ParkedReadPrefix = "switchyard-parked-read-"
)

// parkedReadEvery is how much of a park stream is read before that is remembered: a
// short one needs no checkpoint. Where the whole stream was read for a retry after the
// checkpoint it is remembered at once, so that the next Run does not do so again.
const parkedReadEvery = 256

// retryParked handles the parked events whose retry was asked for, in the order of the
// requests, and records the results. In a sealed store nothing could be recorded: the
// requests wait, here or in the store that this one was moved to.
//
// What is parked is finished. Where it lies after the checkpoint, which could then not
// be saved, it is not handled when it comes again: RetryParked would handle it a second
// time. For the same reason its retry waits until a Run begins beyond it.
func (w *worker) retryParked(ctx context.Context, info Info, after Position) error {
	if w.sub.ParkStream == "" {
		return nil
	}
	mark, found, err := w.loadParkedRead(ctx, info)
	if err != nil {
		return err
	}
	log := newParkLog(w.sub.Name)
	log.read = mark.Place
	if err := w.catchUp(ctx, log); err != nil {
		return err
	}
	// A link lies after its event, so what was parked after the checkpoint has its link
	// after it too.
	asked := log.asked
	if (asked || after.Before(mark.Place.Position)) && !mark.Place.IsZero() {
		// Which of them count is told by all the records of an event: a part may take one
		// for its first that came too late, and so a retry for one that does not count.
		log = newParkLog(w.sub.Name)
		if err := w.catchUp(ctx, log); err != nil {
			return err
		}
	}
	w.finishedBefore = log.openAfter(after)
	requests := log.requests()
	if len(requests) > 0 && info.Sealed {
		w.store.logger.WarnContext(ctx, "retries of parked events wait: the store is sealed", "subscription", w.sub.Name, "retries", len(requests), "reason", info.SealReason)
		return nil
	}
	w.retrying = true
	defer func() { w.retrying = false }()
	waits := false
	for _, request := range requests {
		done, err := w.retryOne(ctx, info, request, after)
		if err != nil {
			return err
		}
		waits = waits || !done
	}
	if waits {
		return nil // up to the mark every retry has its result
	}
	if (!asked || mark.Place.IsZero()) && log.read.Version < mark.Place.Version+parkedReadEvery {
		return nil
	}
	return w.saveParkedRead(ctx, mark, log.read, found)
}

// openAfter are the links after a position of the events that are parked, and wait for a
// result or not: those that a subscription may meet which goes on from there.
func (l *parkLog) openAfter(position Position) map[uuid.UUID]bool {
	links := make(map[uuid.UUID]bool)
	for link, event := range l.events {
		if event.State.Open() && position.Before(event.linkedAt) {
			links[link] = true
		}
	}
	return links
}

// parkedBefore tells whether a Run before parked an event, without saving that.
func (w *worker) parkedBefore(event RecordedEvent) bool {
	if len(w.finishedBefore) == 0 {
		return false
	}
	return w.finishedBefore[Parked{Subscription: w.sub.Name, Stream: event.Stream, Version: event.Version, EventID: event.ID}.linkID()]
}

// requests are the events whose retry has no result, in the order of the requests.
func (l *parkLog) requests() []*ParkedEvent {
	var requests []*ParkedEvent
	for _, event := range l.order {
		if event.State == ParkedRetryRequested {
			requests = append(requests, event)
		}
	}
	slices.SortFunc(requests, func(a, b *ParkedEvent) int { return cmp.Compare(a.requested, b.requested) })
	return requests
}

func (w *worker) catchUp(ctx context.Context, log *parkLog) error {
	return w.insist(ctx, func() error { return log.catchUp(ctx, w.store, w.sub.ParkStream) })
}

// retryOne brings one retry to its result: handled, or parked anew. It is not done where
// the checkpoint has not passed the event: once it is handled, nothing would tell that
// to the next Run, should this one die before it has saved a checkpoint.
func (w *worker) retryOne(ctx context.Context, info Info, parked *ParkedEvent, after Position) (done bool, err error) {
	event, gone, err := w.original(ctx, parked)
	switch {
	case err != nil:
		return false, err
	case gone != nil:
		return true, w.recordResult(ctx, parked, ParkedFailedType, gone)
	case after.Before(event.Position):
		w.store.logger.WarnContext(ctx, "retry of a parked event waits for the next Run: the checkpoint has not passed it", "subscription", w.sub.Name, "event", event.ID, "position", event.Position, "checkpoint", after)
		return false, nil
	}
	return true, w.handleRetried(ctx, info, parked, event)
}

// handleRetried handles a parked event once more, and records how that went.
func (w *worker) handleRetried(ctx context.Context, info Info, parked *ParkedEvent, event RecordedEvent) (err error) {
	own := Checkpoint{Name: RetriedName(parked.request), Store: info.ID, Place: event.Place()}
	if w.sub.HandleBatch != nil {
		if own.Epoch, err = w.takeRetriedLease(ctx, own.Name); err != nil {
			return err
		}
	}
	failure, err := w.try(ctx, event, func(ctx context.Context) error {
		return w.sub.HandleBatch(ctx, Batch{Events: []RecordedEvent{event}, Checkpoint: own})
	})
	switch {
	case err != nil:
		return err
	case failure != nil:
		err = w.recordResult(ctx, parked, ParkedFailedType, failure.Err)
	default:
		err = w.recordResult(ctx, parked, ParkedHandledType, nil)
	}
	if err != nil {
		return err
	}
	// Not before: until then the target's checkpoint is what tells that it is handled.
	return w.endRetried(ctx, own.Name)
}

// original reads the parked event, or tells why it is not to be had.
func (w *worker) original(ctx context.Context, parked *ParkedEvent) (event RecordedEvent, gone, err error) {
	page, err := patiently(ctx, w.store, w.sub.Name, func() (Page, error) {
		return w.store.readOne(ctx, parked.Stream, parked.Version)
	})
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, ErrClosed)):
		return event, nil, err
	case err != nil:
		return event, fmt.Errorf("it cannot be read: %w", err), nil
	case len(page.Events) == 0 || page.Events[0].ID != parked.EventID:
		return event, errors.New("its stream does not hold it any more"), nil
	}
	return page.Events[0], nil, nil
}

// recordResult appends the result of a retry, for as long as it takes.
func (w *worker) recordResult(ctx context.Context, parked *ParkedEvent, result string, failure error) error {
	text := ""
	if failure != nil {
		text = clip(failure.Error())
		w.store.logger.WarnContext(ctx, "retry of a parked event failed", "subscription", w.sub.Name, "event", parked.EventID, "error", failure)
	}
	record, err := parked.record(result, text)
	if err != nil {
		return err
	}
	return w.appendRecord(ctx, record)
}

func (w *worker) appendRecord(ctx context.Context, record Event) error {
	return w.insist(ctx, func() error { return w.store.appendRecords(ctx, w.sub.ParkStream, []Event{record}) })
}

// takeRetriedLease takes the lease under which a target saves a retried event's
// checkpoint, so that an owner of before, paused in the handler, cannot save any more.
// It belongs to the subscription's owner, who takes it from another one at once. That
// this process is the owner still is looked at between the two steps: whoever follows
// it after that changes the lease which it has seen, or takes it away again.
func (w *worker) takeRetriedLease(ctx context.Context, name string) (epoch uint64, err error) {
	swap := func(old, lease Lease) (stored Lease, err error) {
		result, err := patiently(ctx, w.store, w.sub.Name, func() (SwapLeaseResult, error) {
			return w.sub.Checkpoints.SwapLease(ctx, SwapLeaseRequest{Name: name, Old: old, New: lease})
		})
		return result.Lease, err
	}
	want := Lease{Name: name, Epoch: 1, Owner: ownerName(), TTL: w.sub.LeaseTTL}
	stored, err := swap(Lease{}, want)
	if err != nil {
		return 0, fmt.Errorf("take a retried event's lease: %w", err)
	}
	current, err := patiently(ctx, w.store, w.sub.Name, func() (LoadCheckpointResult, error) {
		return w.sub.Checkpoints.Load(ctx, LoadCheckpointRequest{Name: w.sub.Name})
	})
	switch {
	case err != nil:
		return 0, err
	case current.Checkpoint.Epoch != w.held.epoch:
		return 0, &LeaseLostError{Name: w.sub.Name, Epoch: w.held.epoch, Stored: current.Checkpoint.Epoch}
	}
	if !stored.Same(want) {
		want.Epoch = stored.Epoch + 1
		if stored, err = swap(stored, want); err != nil {
			return 0, fmt.Errorf("take a retried event's lease: %w", err)
		}
	}
	if !stored.Same(want) {
		return 0, &LeaseLostError{Name: w.sub.Name, Epoch: w.held.epoch, Stored: w.held.epoch}
	}
	return want.Epoch, nil
}

// endRetried deletes a retried event's checkpoint, whose epoch is over then too.
func (w *worker) endRetried(ctx context.Context, name string) error {
	if w.sub.HandleBatch == nil {
		return nil
	}
	return w.insist(ctx, func() error { return w.sub.Checkpoints.Delete(ctx, DeleteCheckpointRequest{Name: name}) })
}

// loadParkedRead returns how far the park stream was read. A place that this store
// does not hold is passed over.
func (w *worker) loadParkedRead(ctx context.Context, info Info) (mark Checkpoint, found bool, err error) {
	mark = Checkpoint{Name: ParkedReadName(w.sub.Name, w.sub.ParkStream), Store: info.ID}
	stored, err := patiently(ctx, w.store, w.sub.Name, func() (LoadCheckpointResult, error) {
		return w.sub.Checkpoints.Load(ctx, LoadCheckpointRequest{Name: mark.Name})
	})
	place := stored.Checkpoint.Place
	if err != nil || !stored.Found || stored.Checkpoint.Store != info.ID || place.Stream != w.sub.ParkStream {
		return mark, stored.Found, err
	}
	err = w.insist(ctx, func() error { return w.store.checkPlace(ctx, mark.Name, place, info) })
	switch {
	case err == nil:
		mark.Place = place
	case errors.Is(err, ErrForeignCheckpoint), errors.Is(err, ErrCheckpointAhead):
		err = nil
	}
	return mark, stored.Found, err
}

// saveParkedRead remembers how far the park stream was read, by an owner that brought
// every retry up to there to its result. It needs no epoch: that is true whoever says it.
func (w *worker) saveParkedRead(ctx context.Context, mark Checkpoint, read Place, found bool) error {
	replaces := found && mark.Place.IsZero() // one that is not this store's: it cannot be compared
	mark.Place = read
	return w.insist(ctx, func() error {
		return w.sub.Checkpoints.Save(ctx, SaveCheckpointRequest{Checkpoint: mark, Reset: replaces})
	})
}

// reopen parks an event anew that was parked before: where that was closed since, as
// when the checkpoint was reset, its link alone would leave it closed.
func (w *worker) reopen(ctx context.Context, failure *HandlerError) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.parked == nil {
		w.parked = newParkLog(w.sub.Name)
	}
	if err := w.catchUp(ctx, w.parked); err != nil {
		return err
	}
	data := Parked{Subscription: failure.Subscription, Stream: failure.Stream, Version: failure.Version, EventID: failure.EventID}
	parked, known := w.parked.events[data.linkID()]
	switch {
	case !known:
		return w.noLink(ctx, data.linkID())
	case parked.State.Open():
		return nil
	}
	record, err := parked.record(ParkedFailedType, clip(failure.Err.Error()))
	if err != nil {
		return err
	}
	return w.appendRecord(ctx, record)
}

// noLink is why an event is not parked although the store takes its link for stored.
func (w *worker) noLink(ctx context.Context, id uuid.UUID) error {
	there, err := patiently(ctx, w.store, w.sub.Name, func() (RecordedEvent, error) {
		for event, err := range w.store.ReadStream(ctx, w.sub.ParkStream, ReadOptions{}) {
			if err != nil || event.ID == id {
				return event, err
			}
		}
		return RecordedEvent{}, nil
	})
	switch {
	case err != nil:
		return err
	case there.ID == id:
		return fmt.Errorf("park stream %q has another event under the link's ID %s, of type %q at version %d: give the subscription another park stream", clip(w.sub.ParkStream), id, clip(there.Type), there.Version)
	}
	return fmt.Errorf("park stream %q does not hold the link %s any more, and takes no second one: give the subscription another park stream", clip(w.sub.ParkStream), id)
}
