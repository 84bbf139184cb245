package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// progress saves a subscription's checkpoint beside its handler, so that an
// idle subscription is saved too.
type progress struct {
	ctx    context.Context //nolint:containedctx // the handler's: it ends when no checkpoint can be saved any more
	whole  context.Context //nolint:containedctx // the one that ctx is made from
	stop   context.CancelFunc
	store  *Store
	sub    Subscription
	full   chan struct{}
	done   chan struct{}
	failed error // why saving ended early; read after done

	mu       sync.Mutex
	reached  Place
	finished int // events since the last save
	saved    Checkpoint
	stored   Place         // what is known to be stored; zero where nothing is
	patience time.Duration // with one attempt to save; used by one goroutine at a time
}

// An attempt to save a checkpoint is given 5 s at first, and longer where that was
// not enough. When Run is to end, the last attempt and the lease's release have 5 s
// together.
const (
	savePatience    = 5 * time.Second
	mostPatience    = time.Minute
	lastSave        = 4 * time.Second
	releasePatience = time.Second
)

// startProgress begins to save, from a checkpoint that is stored already, where found.
func startProgress(ctx context.Context, s *Store, sub Subscription, from Checkpoint, found bool) *progress {
	p := &progress{whole: ctx, store: s, sub: sub, saved: from, patience: savePatience, full: make(chan struct{}, 1), done: make(chan struct{})}
	if found {
		p.stored = from.Place
	}
	p.ctx, p.stop = context.WithCancel(ctx)
	go p.loop()
	return p
}

// checkpointAt is what is to be saved once everything up to a place is finished.
func (p *progress) checkpointAt(place Place) Checkpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	checkpoint := p.saved
	checkpoint.Place = place
	return checkpoint
}

// known is the place of the checkpoint that is known to be stored.
func (p *progress) known() Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stored
}

// keep notes that a checkpoint is stored. One that HandleBatch saved may have passed
// the one of a save beside it.
func (p *progress) keep(checkpoint Checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved.Place.Position.Before(checkpoint.Place.Position) {
		p.saved, p.stored = checkpoint, checkpoint.Place
	}
}

// advance notes that everything up to a place is finished, events of it now.
func (p *progress) advance(to Place, events int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reached = to
	p.finished += events
	if p.finished >= p.sub.CheckpointEvery {
		p.finished = 0
		signal(p.full)
	}
}

// due has the checkpoint saved now, beside the handler.
func (p *progress) due() { signal(p.full) }

func (p *progress) loop() {
	defer close(p.done)
	// In this goroutine nobody could recover the panic of a user's checkpoints.
	defer func() {
		if value := recover(); value != nil {
			p.failed = panicked("saving the checkpoint", value)
			p.stop()
		}
	}()
	tick := time.NewTicker(p.sub.CheckpointInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.full:
		case <-tick.C:
		}
		if p.ctx.Err() != nil {
			return // finish saves once more
		}
		err := p.save(p.ctx, p.patience)
		switch {
		case err == nil || p.ctx.Err() != nil:
		case passes(err):
			p.store.logger.WarnContext(p.ctx, "checkpoint not saved; trying again", "subscription", p.sub.Name, "error", err)
		default:
			p.failed = err
			p.stop()
			return
		}
	}
}

// finish saves once more, even though the context may be done, and returns why the
// subscription ended: handled is how its handler did. A save that cannot be made
// now is waited for only where Run ends at the head, whose caller counts on it:
// otherwise events come again, as they may.
func (p *progress) finish(handled error) error {
	p.stop()
	<-p.done
	unsaved := func(err error) error {
		err = fmt.Errorf("save checkpoint: %w", err)
		if isContextError(handled) {
			return err // the handler was told to stop, which is no failure of its own
		}
		return errors.Join(handled, err)
	}
	if p.failed != nil {
		return unsaved(p.failed)
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		ctx, patience := p.whole, p.patience
		if handled != nil {
			ctx, patience = context.WithoutCancel(p.whole), lastSave
		}
		err := p.save(ctx, patience)
		switch {
		case err == nil, errors.Is(err, ErrClosed) && handled != nil:
			return handled
		case handled == nil && p.whole.Err() != nil:
			return unsaved(errEndedUnsaved)
		case !passes(err):
			return unsaved(err)
		}
		p.store.logger.WarnContext(p.whole, "checkpoint not saved", "subscription", p.sub.Name, "error", err)
		if handled != nil {
			return handled
		}
		if sleep(p.whole, pause) != nil {
			return unsaved(errEndedUnsaved)
		}
	}
}

// errEndedUnsaved is no context's error: Run did not end well.
var errEndedUnsaved = fmt.Errorf("%w: its context ended before the checkpoint was saved", ErrUnavailable)

// save saves where the subscription has come to. A save that was cut short might be
// stored all the same, and be made again.
func (p *progress) save(ctx context.Context, patience time.Duration) error {
	p.mu.Lock()
	checkpoint, reached, stored := p.saved, p.reached, p.stored
	p.mu.Unlock()
	if !checkpoint.Place.Position.Before(reached.Position) {
		return nil
	}
	checkpoint.Place = reached
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req := SaveCheckpointRequest{Checkpoint: checkpoint}
	if p.sub.BatchSaves {
		req.Stored = stored
	}
	err := p.sub.Checkpoints.Save(limited, req)
	switch {
	case err == nil:
		p.keep(checkpoint)
		p.patience = savePatience
	case ctx.Err() == nil && isContextError(err): // its time was over, or the database's own
		p.patience = min(2*patience, mostPatience)
		return fmt.Errorf("%w: it was not saved within %s: %w", ErrUnavailable, patience, err)
	}
	return err
}
