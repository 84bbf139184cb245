package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

const (
	// recheckEvery is how often the topic's settings and its first record are looked
	// at without a reason.
	recheckEvery = time.Minute
	// tailPause delays the next fetch after one that brought only what was folded
	// already: while this process writes, it would compete with its own appends.
	tailPause = 2 * time.Millisecond
	// noPush is more than a broker ever has: it answers when the wait is over.
	noPush = 1 << 30
	// longestWait bounds how long one request may wait for records: a leader that
	// hangs is found out, and a log that is doubted is looked at, when it is over.
	longestWait = 2 * time.Second
	// silence is how long empty answers of the leader alone are believed. One that is
	// cut off from the others gives them for as long as that lasts.
	silence = 5 * time.Second
)

// tail folds what comes, until the handle is closed or the log halts.
func (b *Backend) tail(ctx context.Context) {
	options := connection.FetchOptions{MaxBytes: foldBytes, Wait: min(b.opts.Poll, longestWait)}
	if b.opts.NoPush {
		options.MinBytes = noPush
	}
	times := tailTimes{checked: time.Now(), heard: time.Now()}
	failures, pause := 0, 10*time.Millisecond
	for ctx.Err() == nil {
		err := b.tailOnce(ctx, options, &times)
		switch {
		case err == nil:
			if failures > 0 {
				b.opts.Logger.InfoContext(ctx, "kafka: the log can be read again", "topic", b.topic)
			}
			failures, pause = 0, 10*time.Millisecond
			b.log.setLost(nil)
			b.reportForeign(ctx)
			b.index.note(b.log, &b.background)
			continue
		case ctx.Err() != nil:
			return
		case b.log.haltedBy() != nil:
			b.opts.Logger.ErrorContext(ctx, "kafka: the log cannot be followed any more", "topic", b.topic, "error", b.log.haltedBy())
			return
		}
		err = b.cause(ctx, err)
		if failures++; failures == 1 {
			b.opts.Logger.WarnContext(ctx, "kafka: the log cannot be read; trying again", "topic", b.topic, "error", err)
		}
		b.log.setLost(err)
		if failures%2 == 0 {
			b.conn.Renew() // what the client knows of the cluster may come from a broker that is cut off
		}
		if sleep.For(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, time.Second)
	}
}

// tailTimes says when the log was looked at last, and when there was reason last to
// believe that its leader's answers are all there is.
type tailTimes struct{ checked, heard time.Time }

func (b *Backend) tailOnce(ctx context.Context, options connection.FetchOptions, times *tailTimes) error {
	if _, doubted := b.log.doubted(); doubted || time.Since(times.checked) >= recheckEvery {
		if err := b.recheck(ctx); err != nil {
			return err
		}
		times.checked = time.Now()
	}
	more, err := b.tailFetch(ctx, options)
	switch {
	case err != nil:
		return err
	case more:
		times.heard = time.Now()
	case time.Since(times.heard) >= b.opts.silence:
		if err := b.confirmEnd(ctx); err != nil {
			return err
		}
		times.heard = time.Now()
	}
	return nil
}

// tailFetch folds what the leader has, and tells whether it had anything.
func (b *Backend) tailFetch(ctx context.Context, options connection.FetchOptions) (more bool, err error) {
	next := b.log.next()
	fetched, err := b.conn.Fetch(ctx, b.topic, next, options)
	if err != nil {
		return false, b.haltIfTruncated(ctx, next, err)
	}
	if err := b.log.take(fetched.Records); err != nil {
		return false, err
	}
	n := len(fetched.Records)
	if n > 0 && b.log.next() > fetched.Records[n-1].Offset+1 {
		_ = sleep.For(ctx, tailPause)
	}
	return n > 0, nil
}

// confirmEnd asks more brokers than the leader whether the log ends where it is
// folded. Where it goes on the leader has to give the rest.
func (b *Backend) confirmEnd(ctx context.Context) error {
	end, err := b.acknowledged(ctx)
	if err != nil {
		return err
	}
	for next := b.log.next(); next < end; next = b.log.next() {
		more, err := b.tailFetch(ctx, connection.FetchOptions{MaxBytes: foldBytes, Wait: time.Second})
		if err == nil && !more && b.log.next() == next {
			err = fmt.Errorf("topic %s goes on to offset %d, and its leader has nothing from %d on", b.topic, end, next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// haltIfTruncated ends the use of a log that does not reach as far as it did. One
// broker's word is not enough for that: a leader that was deposed, and does not know
// it, says so of everything that was written since.
func (b *Backend) haltIfTruncated(ctx context.Context, offset int64, err error) error {
	failure := connection.OfRead(err)
	if failure.Class != connection.Truncated {
		return err
	}
	first, end, asked := b.bounds(ctx)
	if asked == nil && (offset < first || end < offset) {
		return b.log.halt(&fold.HaltError{Offset: offset, Reason: failure.Remedy, Err: err})
	}
	b.conn.Renew()
	return errors.Join(fmt.Errorf("the broker that was asked for offset %d of topic %s is behind the others", offset, b.topic), asked)
}

// bounds returns the offsets of the log's oldest record and of its end, as more than one
// broker has it.
func (b *Backend) bounds(ctx context.Context) (first, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, viewPatience)
	defer cancel()
	if end, err = b.conn.HighWatermark(ctx, b.topic, b.inSync); err != nil {
		return 0, 0, err
	}
	topic, exists, err := b.conn.Describe(ctx, b.topic)
	if err == nil && !exists {
		err = fmt.Errorf("topic %s is not there", b.topic)
	}
	return topic.LogStart, end, err
}

// recheck looks whether the topic is fit for a store still, and whether its log is
// the one that was folded: a store may be restored or replaced while nobody looks.
func (b *Backend) recheck(ctx context.Context) error {
	doubts, _ := b.log.doubted()
	if err := b.look(ctx); err != nil {
		return err
	}
	b.log.settle(doubts)
	return nil
}

func (b *Backend) look(ctx context.Context) error {
	topic, exists, err := b.conn.Describe(ctx, b.topic)
	if err != nil {
		return err
	}
	if !exists {
		// While brokers start they may not know it yet.
		return fmt.Errorf("topic %s is not there", b.topic)
	}
	if err := connection.CheckLog(topic); err != nil {
		return b.log.halt(err)
	}
	if connection.InSync(topic) != b.inSync {
		return b.log.halt(fmt.Errorf("min.insync.replicas of topic %s was %d when the store was opened: open it anew", b.topic, b.inSync))
	}
	first, err := b.fetchOne(ctx, 0)
	if err != nil {
		return b.haltIfTruncated(ctx, 0, err)
	}
	var record fold.Record
	if err := record.Decode(first); err != nil || record.Kind != fold.KindGenesis || record.Store != b.log.state.Store() {
		return b.log.halt(&fold.HaltError{Reason: "another store is there now: it was replaced, open it anew"})
	}
	last, ok := b.log.last()
	if !ok {
		return nil
	}
	now, err := b.fetchOne(ctx, last.Offset)
	if err != nil {
		return b.haltIfTruncated(ctx, last.Offset, err)
	}
	if !bytes.Equal(now, last.Value) {
		return b.log.halt(&fold.HaltError{Offset: last.Offset, Reason: "another record is there now: the log was truncated, restored or replaced, open the store anew"})
	}
	return nil
}

// errNoRecord says that an offset has no record.
var errNoRecord = errors.New("the record is not there")

// fetchOne reads the record at an offset from the log itself.
func (b *Backend) fetchOne(ctx context.Context, offset int64) ([]byte, error) {
	fetched, err := b.conn.Fetch(ctx, b.topic, offset, connection.FetchOptions{MaxBytes: 1, Wait: time.Second})
	if err != nil {
		return nil, err
	}
	if len(fetched.Records) == 0 || fetched.Records[0].Offset != offset {
		return nil, fmt.Errorf("offset %d of topic %s: %w", offset, b.topic, errNoRecord)
	}
	return fetched.Records[0].Value, nil
}

// reportForeign tells of records that are none of ours.
func (b *Backend) reportForeign(ctx context.Context) {
	b.log.mu.Lock()
	ignored, before := b.log.state.Counts().Ignored, b.log.foreign
	b.log.foreign = ignored
	b.log.mu.Unlock()
	if ignored > before {
		b.opts.Logger.WarnContext(ctx, "kafka: the log has records that are not this store's; they are ignored", "topic", b.topic, "new", ignored-before, "all", ignored)
	}
}
