package transfer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// ErrForeign says that the target of a copy holds an event that is not the source's.
var ErrForeign = errors.New("foreign event in the target")

// ErrSameStore says that source and target of a copy are one store.
var ErrSameStore = errors.New("source and target are the same store")

// ForeignError names an event of a copy's target that is not the source's event
// at that version of that stream. It matches ErrForeign.
type ForeignError struct {
	Stream  string
	Version uint64
	ID      uuid.UUID
	// Field is where it differs; "event" where the source has no event there.
	Field string
	// Lost, where not zero, is an event that was copied before, and that the source
	// holds no more: it was restored from a backup, or replaced.
	Lost eventstore.Place
}

func (e *ForeignError) Error() string {
	what := "has no such event"
	if e.Field != "event" {
		what = "has another event there (it differs in " + e.Field + ")"
	}
	why := ""
	if !e.Lost.IsZero() {
		why = fmt.Sprintf(" event %s at %s was copied from the source, which holds it no more: it was restored from a backup or replaced;", e.Lost.ID, e.Lost)
	}
	return fmt.Sprintf("the target holds event %s at version %d of stream %q, and the source %s;%s copy into an empty store, or into an earlier copy of this source",
		e.ID, e.Version, clip(e.Stream), what, why)
}

// Unwrap makes errors.Is(err, ErrForeign) true.
func (e *ForeignError) Unwrap() error { return ErrForeign }

// CopyOptions configures [Copy]. The zero value, like nil, means the defaults.
type CopyOptions struct {
	// Follow goes on with the events that come, until ctx is done.
	Follow bool
	// Checkpoints is where the copy notes how far it is: the target backend's.
	// With nil it notes nothing, and compares all of the target when it starts.
	Checkpoints eventstore.Checkpoints
	// OnRefused is what is done with an event that the target refuses: the first of
	// these that helps. With none the copy ends with a [RefusedError] there.
	OnRefused []Remedy
	// Checking, where not nil, is called while the target's events are compared
	// with the source's; Progress after each batch that was copied.
	Checking, Progress func(Progress)
	// CaughtUp, where not nil, is called once, when everything that the source
	// held has been copied.
	CaughtUp func(Result)
}

// Copy brings a store's events into another one: in the global order, at their
// versions, with their IDs, content and metadata, and with their record times
// where the target can keep them (see [Losses]).
//
// A copy can be ended anyhow and started again. It keeps two checkpoints in the
// target, named for the source, and is right wherever they lag or if they are
// gone: what the target holds after the one is compared with the source, and
// what the source holds after the other is appended again, which the target
// recognises. An event in the target that is not the source's, also one that
// somebody appends meanwhile, ends it with a [ForeignError].
func Copy(ctx context.Context, source, target *eventstore.Store, opts *CopyOptions) (Result, error) {
	c := &copier{source: source, target: target, asJSON: !keepsBytes(source, target)}
	if opts != nil {
		c.opts = *opts
	}
	c.writer = newWriter(target, c.opts.OnRefused)
	c.writer.asJSON = c.asJSON
	err := c.run(ctx)
	return c.writer.result, err
}

// copier is one run of a copy.
type copier struct {
	source, target     *eventstore.Store
	asJSON             bool // one of them keeps JSON and not its bytes
	sourceID, targetID uuid.UUID
	origin             string           // what the source is called in its events
	head               eventstore.Place // the source's, when the copy began
	lost               eventstore.Place // of a checkpoint, what the source no longer holds
	opts               CopyOptions
	writer             *writer

	// All events of the source up to copied are in the target, and all events of
	// the target up to checked are the source's.
	copied, checked eventstore.Place
	saved           time.Time
}

func (c *copier) run(ctx context.Context) error {
	from, err := c.source.Info(ctx)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	to, err := c.target.Info(ctx)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if from.ID == to.ID {
		return ErrSameStore
	}
	c.sourceID, c.targetID = from.ID, to.ID
	c.origin, c.head = cloudevents.Source(from.ID), from.Head
	c.writer.wrote = c.wrote
	if err := c.load(ctx, from, to); err != nil {
		return err
	}
	err = c.move(ctx)
	// The last note is made even though ctx is done.
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTimeout)
	defer cancel()
	return errors.Join(err, c.save(final))
}

// move does the work between the first note and the last.
func (c *copier) move(ctx context.Context) error {
	if err := c.checkTarget(ctx); err != nil {
		return err
	}
	stored := c.source.ReadAll(ctx, eventstore.ReadAllOptions{After: c.copied.Position})
	if err := pipe(ctx, records(stored, c.origin), c.writer, func() error { return c.written(ctx) }); err != nil {
		return err
	}
	if c.opts.CaughtUp != nil {
		c.opts.CaughtUp(c.writer.result)
	}
	if !c.opts.Follow {
		return nil
	}
	live := c.source.Subscribe(ctx, eventstore.SubscribeOptions{After: c.copied.Position})
	return pipeLive(ctx, messages(live, c.origin), c.writer, func() error { return c.written(ctx) })
}

// written runs after each batch.
func (c *copier) written(ctx context.Context) error {
	if !c.writer.reached.IsZero() {
		c.copied = c.writer.reached
	}
	if c.opts.Progress != nil {
		c.opts.Progress(c.progress(c.writer.result))
	}
	if time.Since(c.saved) < checkpointEvery {
		return nil
	}
	return c.save(ctx)
}

func (c *copier) progress(result Result) Progress {
	return Progress{Result: result, Copied: c.copied, Checked: c.checked, Head: c.head}
}

// wrote runs after each append, with the events that are new to the target.
// Whatever else lies between the append before and this one is somebody else's.
func (c *copier) wrote(ctx context.Context, stored []eventstore.RecordedEvent) error {
	if len(stored) == 0 {
		return nil
	}
	last := stored[len(stored)-1]
	before, ours := last.Position, make(map[eventstore.Position]struct{})
	if c.target.Capabilities().ContiguousAppends.Supported() {
		before = stored[0].Position // and nobody's event lies between them
	} else {
		for _, event := range stored {
			ours[event.Position] = struct{}{}
		}
	}
	for event, err := range c.target.ReadAll(ctx, eventstore.ReadAllOptions{After: c.checked.Position, Before: before}) {
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if _, mine := ours[event.Position]; mine {
			continue
		}
		if _, err := c.lookUp(ctx, event); err != nil {
			return err
		}
	}
	c.checked = last.Place()
	return nil
}

// checkTarget compares what the target holds, and has not been compared before,
// with the source. Both are read side by side, for a copy has its source's order;
// where the order differs the event is looked up.
func (c *copier) checkTarget(ctx context.Context) error {
	source := pullAll(ctx, c.source, c.copied.Position)
	defer func() { source.stop() }()
	unbroken := true
	var result Result
	for event, err := range c.target.ReadAll(ctx, eventstore.ReadAllOptions{After: c.checked.Position}) {
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		original, _, err := source.next()
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if Restore(event, c.origin).Difference(original, c.asJSON) != "" {
			unbroken = false
			if original, err = c.lookUp(ctx, event); err != nil {
				return err
			}
			source.stop()
			source = pullAll(ctx, c.source, original.Position)
		}
		if unbroken {
			c.copied = original.Place()
		}
		c.checked = event.Place()
		if result.Read++; result.Read%batchEvents == 0 && c.opts.Checking != nil {
			c.opts.Checking(c.progress(result))
		}
	}
	return nil
}

// lookUp returns the source's event that an event of the target is a copy of, or
// a ForeignError.
func (c *copier) lookUp(ctx context.Context, event eventstore.RecordedEvent) (eventstore.RecordedEvent, error) {
	copied := Restore(event, c.origin)
	original, ok, err := eventAt(ctx, c.source, copied.Stream, copied.Version)
	if err != nil {
		return original, fmt.Errorf("source: %w", err)
	}
	field := "event"
	if ok {
		field = copied.Difference(original, c.asJSON)
	}
	if field != "" {
		return original, &ForeignError{Stream: event.Stream, Version: event.Version, ID: event.ID, Field: field, Lost: c.lost}
	}
	return original, nil
}

func records(events iter.Seq2[eventstore.RecordedEvent, error], source string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for event, err := range events {
			if !yield(from(event, source), err) || err != nil {
				return
			}
		}
	}
}

func messages(live iter.Seq2[eventstore.Message, error], source string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for message, err := range live {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if message.Kind == eventstore.MessageEvent && !yield(from(message.Event, source), nil) {
				return
			}
		}
	}
}
