package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// table is a compacted topic of the store, folded when it is asked for. It is used
// by one caller at a time, whatever the names of what they keep: a write is answered by
// the fold of its own record, and nobody else may fold that meanwhile.
type table struct {
	b     *Backend
	topic string
	// take folds a record. Its error ends the use of the topic.
	take func(record connection.Record) error
	// restart forgets everything.
	restart func()
	// repair writes once more what compaction must keep and would not.
	repair func(ctx context.Context) error

	turn   chan struct{} // holds one token while nobody uses the table
	known  bool          // the topic exists and is fit, as far as the last look went
	seen   bool          // it was there once
	whole  bool          // it was repaired since it was folded from its beginning
	inSync int
	next   int64
}

func newTable(b *Backend, topic string) table {
	t := table{b: b, topic: topic, turn: make(chan struct{}, 1)}
	t.turn <- struct{}{}
	return t
}

// use runs a call that has the table for itself, and maps its error.
func (t *table) use(ctx context.Context, do func(ctx context.Context) error) error {
	if err := t.b.ready(ctx); err != nil {
		return err
	}
	within, cancel := t.b.within(ctx)
	defer cancel()
	select {
	case <-t.turn:
	case <-within.Done():
		return t.b.readError(ctx, within.Err())
	}
	defer func() { t.turn <- struct{}{} }()
	err := do(within)
	if err != nil && !isContract(err) {
		t.known = false // look again after a lost connection
	}
	return t.b.readError(ctx, err)
}

// view folds everything that was acknowledged before. Without the topic there is
// nothing, unless create is set.
func (t *table) view(ctx context.Context, create bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*viewPatience)
	defer cancel()
	if !t.known {
		if exists, err := t.find(ctx, create); err != nil || !exists {
			return err
		}
	}
	end, err := t.b.conn.HighWatermark(ctx, t.topic, t.inSync)
	if err != nil {
		return err
	}
	if end < t.next {
		t.forget() // it was deleted and made anew
	}
	if err := t.foldTo(ctx, end); err != nil {
		return err
	}
	if !t.whole && t.next > 0 {
		t.whole = true
		if err := t.repair(ctx); err != nil { // another process may be able to
			t.b.opts.Logger.WarnContext(ctx, "kafka: records that were overtaken were not written again", "topic", t.topic, "error", err)
		}
	}
	return nil
}

func (t *table) forget() {
	t.next, t.whole = 0, false
	t.restart()
}

func (t *table) find(ctx context.Context, create bool) (exists bool, err error) {
	topic, exists, err := t.b.conn.Describe(ctx, t.topic)
	if err == nil && !exists && t.seen {
		// What was in it is not forgotten on that account: a subscription would begin anew.
		return false, fmt.Errorf("%w: kafka: topic %s was there and is not: wait, or restore it, or open the store anew to begin without it", eventstore.ErrUnavailable, t.topic)
	}
	if err == nil && !exists && create {
		topic, err = t.b.createTopic(ctx, t.topic, true)
		exists = err == nil
	}
	if err != nil {
		return false, err
	}
	if !exists {
		t.forget()
		return false, nil
	}
	if err := connection.CheckCompacted(topic); err != nil {
		return false, &haltedError{err} // no input of the caller's
	}
	t.inSync, t.known, t.seen = connection.InSync(topic), true, true
	return true, nil
}

// foldTo folds the topic up to an offset. Compaction leaves gaps, also before it.
func (t *table) foldTo(ctx context.Context, end int64) error {
	for t.next < end {
		var fetched connection.Fetched
		err := t.b.conn.Again(ctx, readWithin, func() (err error) {
			fetched, err = t.b.conn.Fetch(ctx, t.topic, t.next, connection.FetchOptions{MaxBytes: foldBytes, Wait: 100 * time.Millisecond})
			return err
		})
		if connection.OfRead(err).Class == connection.Truncated && err != nil {
			t.forget()
			return fmt.Errorf("%w: kafka: %w: the topic was replaced", eventstore.ErrUnavailable, err)
		}
		if err != nil {
			return err
		}
		for _, record := range fetched.Records {
			if record.Offset >= end {
				t.next = end // what was before it was compacted
				break
			}
			if err := t.take(record); err != nil {
				return &haltedError{fmt.Errorf("kafka: offset %d of topic %s: %w", record.Offset, t.topic, err)}
			}
			t.next = record.Offset + 1
		}
		switch {
		case len(fetched.Records) > 0:
		case fetched.Next > t.next:
			t.next = fetched.Next // in a batch, or after one, that compaction has emptied
		case fetched.HighWatermark < end:
			return fmt.Errorf("offset %d of topic %s: %w", t.next, t.topic, errNoRecord)
		default:
			t.next = end // the rest was compacted
		}
	}
	return nil
}

// put writes a record and folds up to it; a nil value deletes the key. Where the
// outcome is unknown it may be put again: a record says how things are.
func (t *table) put(ctx context.Context, key, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	var offset int64
	until := time.Now().Add(sendWithin)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second/2) {
		var err error
		offset, err = t.b.conn.Produce(ctx, t.topic, []connection.Record{{Key: key, Value: value}})
		if err == nil {
			break
		}
		failure := connection.OfAppend(err)
		if failure.Class != connection.Unavailable {
			return putError(err)
		}
		if !failure.Again || time.Now().Add(pause).After(until) || sleep.For(ctx, pause) != nil {
			return putError(t.b.cause(ctx, err))
		}
	}
	if offset < t.next {
		t.forget()
	}
	return t.foldTo(ctx, offset+1)
}

// putError says that what was put may be there: ErrUnavailable is true of that too,
// for putting it again does no harm.
func putError(err error) error {
	err = appendError(err)
	if errors.Is(err, eventstore.ErrUnknownOutcome) {
		return fmt.Errorf("%w: kafka: it is not known whether it was written: %w", eventstore.ErrUnavailable, notContract(err))
	}
	return err
}
