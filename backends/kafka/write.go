package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

const (
	// lookFor is how long a record whose outcome is unknown is looked for in the log:
	// where only the acknowledgement was lost it shows up at once.
	lookFor = time.Second
	// sendWithin bounds the tries to send what was not sent: the client may have to
	// learn first who leads.
	sendWithin = 2 * time.Second
)

// proposal is a record to be written.
type proposal struct {
	id    uuid.UUID // the request's
	at    time.Time
	frame []byte
}

// outcome is what became of a proposal.
type outcome struct {
	verdict fold.Verdict
	err     error
}

// write appends proposals as one batch and returns what the log says of each. The
// acknowledgement alone says nothing: a verdict is that of the fold on the very
// record, or, where it is unknown which one that is, of a copy.
func (b *Backend) write(ctx context.Context, proposals []proposal) []outcome {
	records := make([]connection.Record, len(proposals))
	ids := make([]uuid.UUID, len(proposals))
	for i, p := range proposals {
		records[i].Value, ids[i] = p.frame, p.id
	}
	awaited, forget := b.log.await(ids)
	defer forget()
	base, err := b.send(ctx, records)
	if err != nil {
		return b.unacknowledged(ctx, proposals, awaited, err)
	}
	err = b.log.takeOwn(base, records)
	if err == nil {
		err = b.reach(ctx, base+int64(len(records)))
	}
	outcomes := make([]outcome, len(proposals))
	for i := range proposals {
		offset := base + int64(i)
		verdict, ok := b.log.find(awaited[i], func(v fold.Verdict) bool { return v.Offset == offset })
		switch {
		case ok:
			outcomes[i].verdict = verdict
		case err != nil:
			outcomes[i].err = fmt.Errorf("%w: kafka: the record is at offset %d, and what it came to cannot be read: %w", eventstore.ErrUnknownOutcome, offset, notContract(err))
		default:
			// Acknowledged where the log was folded before: it is not the same log.
			b.log.doubt()
			outcomes[i].err = fmt.Errorf("%w: kafka: the record was acknowledged at offset %d, where the log has another", eventstore.ErrUnknownOutcome, offset)
		}
	}
	return outcomes
}

// send produces records, and again for a while where nothing was sent.
func (b *Backend) send(ctx context.Context, records []connection.Record) (base int64, err error) {
	if err := b.log.haltedBy(); err != nil {
		return 0, err
	}
	until := time.Now().Add(sendWithin)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second/2) {
		base, err = b.conn.Produce(ctx, b.topic, records)
		failure := connection.OfAppend(err)
		if err == nil || failure.Class == connection.Refused {
			return base, err
		}
		if b.failed.Add(1)%2 == 0 {
			b.conn.Renew()
		}
		if failure.Class != connection.Unavailable {
			return 0, err // it may have been sent: no other error may stand for it
		}
		if !failure.Again || time.Now().Add(pause).After(until) || sleep.For(ctx, pause) != nil {
			return 0, b.cause(ctx, err)
		}
	}
}

// unacknowledged says what became of proposals that were not acknowledged. Whose
// record shows up in the log is answered by it.
func (b *Backend) unacknowledged(ctx context.Context, proposals []proposal, awaited []*verdicts, failed error) []outcome {
	outcomes := make([]outcome, len(proposals))
	failed = appendError(failed)
	if !isUnknown(failed) {
		for i := range outcomes {
			outcomes[i].err = failed
		}
		return outcomes
	}
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	for i, p := range proposals {
		outcomes[i] = b.lookFor(ctx, p, awaited[i], failed)
	}
	return outcomes
}

func (b *Backend) lookFor(ctx context.Context, p proposal, awaited *verdicts, failed error) outcome {
	// What was stored is stored. A refusal holds for the record alone: another
	// attempt's may have been written under a seal that this one's was not.
	fits := func(v fold.Verdict) bool { return v.Outcome == fold.Accepted || v.At.Equal(p.at) }
	for {
		changed := b.log.changed.C()
		if verdict, ok := b.log.find(awaited, fits); ok {
			return outcome{verdict: verdict}
		}
		if b.log.haltedBy() != nil {
			return outcome{err: failed}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return outcome{err: failed}
		}
	}
}
