package dynamodb

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// outcome is what became of a round.
type outcome int

const (
	// outcomeFailed: nothing was written and nothing will be.
	outcomeFailed outcome = iota
	// outcomeStored: it is in the log, and the writer knows it.
	outcomeStored
	// outcomeAgain: nothing was written; the writer knows more now.
	outcomeAgain
	// outcomeUnknown: it may have been written, or may yet be.
	outcomeUnknown
)

// How a request whose answer was lost is sent again: the same request with the same
// token is carried out once, for ten minutes.
type patience struct {
	send   time.Duration // of one send
	resend time.Duration // for all of them
	seal   time.Duration // for a seal with all its repetitions; an append has flushTimeout
}

func usualPatience() patience {
	return patience{send: 2500 * time.Millisecond, resend: 5 * time.Second, seal: flushTimeout}
}

const mostResends = 3

// mostChunkRefusals is how often in a row a chunk's key may be taken where the log's
// is not: the writer's view was older than the stream, and after so many fresh views
// it is not that.
const mostChunkRefusals = 5

// sending is one transaction on its way.
type sending struct {
	w          *writer
	log        *logItem
	in         *sdk.TransactWriteItemsInput
	unanswered error // why the outcome of an earlier send is not known
	since      time.Time
	resends    int
	conflicts  int
	pause      time.Duration
}

// commit writes a transaction that follows the end of the log.
func (w *writer) commit(ctx context.Context, l *logItem, in *sdk.TransactWriteItemsInput) (outcome, error) {
	s := &sending{w: w, log: l, in: in, pause: 50 * time.Millisecond}
	for {
		result, done, err := s.send(ctx)
		if done {
			return result, err
		}
	}
}

// send sends the transaction once. done is false where it is to be sent again.
func (s *sending) send(ctx context.Context) (result outcome, done bool, err error) {
	err = ctx.Err()
	if err == nil {
		bounded, cancel := context.WithTimeout(ctx, s.w.b.patience.send)
		err = s.w.b.client.transact(bounded, s.in)
		cancel()
	} else {
		err = &unsentError{err}
	}
	if err == nil {
		return s.stored(), true, nil
	}
	switch classify(err) {
	case unknown:
		return s.again(ctx, err)
	case canceled:
		return s.canceled(ctx, reasonsOf(err), err)
	case throttled:
		return s.throttled(ctx, err)
	case notSent, expired, refused:
	}
	if s.unanswered != nil { // this send was refused; the one before it may yet arrive
		return s.giveUp()
	}
	return outcomeFailed, true, mapped(ctx, opTransact, s.w.b.client.table, err)
}

// stored takes in what was written.
func (s *sending) stored() outcome {
	s.w.losses, s.w.chunksRefused = 0, 0
	s.w.took(s.log)
	s.w.b.hint.Notify()
	return outcomeStored
}

func (s *sending) giveUp() (outcome, bool, error) {
	return outcomeUnknown, true, fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, opaqueError{&requestError{opTransact, s.w.b.client.table, s.unanswered}})
}

// again sends the same request after one whose outcome is not known.
func (s *sending) again(ctx context.Context, err error) (outcome, bool, error) {
	if s.unanswered == nil {
		s.unanswered, s.since = err, time.Now()
	}
	s.resends++
	if s.resends > mostResends || time.Since(s.since) > s.w.b.patience.resend {
		return s.giveUp()
	}
	if sleep.For(ctx, spread(20*time.Millisecond<<s.resends)) != nil {
		return s.giveUp()
	}
	return 0, false, nil
}

// canceled reads why the transaction was cancelled. Reasons come mixed; the log's
// own comes first, for it says who is next.
func (s *sending) canceled(ctx context.Context, why reasons, err error) (outcome, bool, error) {
	switch {
	case aws.ToString(why[0].Code) == reasonCondition:
		return s.taken(ctx, why[0].Item)
	case why.any("ValidationError", "ItemCollectionSizeLimitExceeded"):
		return outcomeFailed, true, &requestError{opTransact, s.w.b.client.table, err}
	case why.any("ThrottlingError", "ProvisionedThroughputExceeded"):
		return s.throttled(ctx, err)
	case why.any(reasonConflict):
		return s.conflict(ctx, err)
	case why.any(reasonCondition):
		return s.chunkTaken(ctx, why)
	}
	return s.again(ctx, err)
}

// taken learns who wrote the sequence number: another handle, or an earlier send of
// this very request.
func (s *sending) taken(ctx context.Context, it item) (outcome, bool, error) {
	if len(it) == 0 {
		return s.lookAgain(ctx)
	}
	l, err := decodeLogItem(&s.w.b.deflater, it)
	if err != nil {
		return outcomeFailed, true, err
	}
	if l.attempt == s.log.attempt {
		return s.stored(), true, nil
	}
	if err := s.w.learn(l); err != nil {
		return outcomeFailed, true, err
	}
	s.w.chunksRefused = 0 // the log's end was the older view
	if s.w.losses++; s.w.losses > 1 {
		if _, _, err := s.w.catchUp(ctx, nil); err != nil {
			return outcomeFailed, true, err
		}
	}
	if err := sleep.For(ctx, s.w.pace.lost(time.Now())); err != nil {
		return outcomeFailed, true, tooLate(err)
	}
	return outcomeAgain, true, nil
}

// lookAgain reads the log behind the end, and judges again. The transaction was
// cancelled, which is definite, unless an earlier send of it was stored.
func (s *sending) lookAgain(ctx context.Context) (outcome, bool, error) {
	_, found, err := s.w.catchUp(ctx, &s.log.attempt)
	switch {
	case found: // the log was read up to it and beyond
		s.w.losses, s.w.chunksRefused = 0, 0
		return outcomeStored, true, nil
	case err != nil && s.unanswered != nil:
		return s.giveUp()
	case err != nil:
		return outcomeFailed, true, err
	}
	return outcomeAgain, true, nil
}

// conflict waits for another transaction on the same items. The second time it may
// have been a writer that has the next sequence number.
func (s *sending) conflict(ctx context.Context, err error) (outcome, bool, error) {
	if s.unanswered != nil {
		return s.again(ctx, err)
	}
	s.conflicts++
	if sleepErr := sleep.For(ctx, s.w.pace.lost(time.Now())); sleepErr != nil {
		return outcomeFailed, true, tooLate(sleepErr)
	}
	if s.conflicts < 2 {
		return 0, false, nil
	}
	news, _, err := s.w.catchUp(ctx, nil)
	switch {
	case err != nil:
		return outcomeFailed, true, err
	case news:
		return outcomeAgain, true, nil
	}
	return 0, false, nil
}

// throttled waits and sends the same request again, within the flush's time.
func (s *sending) throttled(ctx context.Context, err error) (outcome, bool, error) {
	if s.unanswered != nil {
		return s.again(ctx, err)
	}
	if sleepErr := sleep.For(ctx, s.pause/2+spread(s.pause)); sleepErr != nil {
		return outcomeFailed, true, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, &requestError{opTransact, s.w.b.client.table, err})
	}
	s.pause = min(2*s.pause, time.Second)
	return 0, false, nil
}

// chunkTaken forgets streams whose next version is taken though the log's next item
// is not: they were read before a transaction that is visible now.
func (s *sending) chunkTaken(ctx context.Context, why reasons) (outcome, bool, error) {
	for i, reason := range why {
		if aws.ToString(reason.Code) != reasonCondition {
			continue
		}
		if stream, ok := s.w.b.keys.streamOf(s.in.TransactItems[i].Put.Item); ok {
			s.w.tails.delete(stream)
		}
	}
	if s.w.chunksRefused++; s.w.chunksRefused >= mostChunkRefusals {
		return outcomeFailed, true, damaged("items of streams stand where the log's end at %d has none", s.w.end)
	}
	if s.w.chunksRefused > 1 {
		if err := sleep.For(ctx, firstPause<<s.w.chunksRefused); err != nil {
			return outcomeFailed, true, tooLate(err)
		}
	}
	return s.lookAgain(ctx)
}
