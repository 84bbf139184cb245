package esdb

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// lastReaders are those who ask for a stream's last event, as the writers of a hot
// stream do all the time to learn the version that they append at. Where this handle
// wrote to the stream lately they ask the server together, and need not ask it at
// all where an append of this handle tells: one that began after they came, and
// succeeded, made its last event the stream's last while they waited.
//
// Nobody is answered by a read or an append that began before he asked: that would be
// how the stream was once.
type lastReaders struct {
	reading   bool
	writing   bool
	waiting   []lastReader
	usual     time.Duration // a read takes, lately
	written   time.Time     // when the last append ended
	contended time.Time     // when somebody last waited
	awaited   time.Time     // until then an append of somebody who was just answered may come
	timer     *time.Timer   // of who waits longest; nil where nobody does
}

type lastReader struct {
	came   uint64 // the number of the last read or write of the stream's end before
	since  time.Time
	answer chan lastRead
}

type lastRead struct {
	page eventstore.Page
	err  error
}

const (
	// coolAfter is how many reads' time after the last append, or the last time that
	// readers met, no append is waited for.
	coolAfter = 8
	// maxWait bounds how long a reader waits for an append to answer him. It is
	// the time of two reads, usually: he came after the one append that is under way
	// and is answered by the next.
	maxWait = 100 * time.Millisecond
)

// timeout is how long a reader waits for an append before the stream is read for him.
func (r *lastReaders) timeout() time.Duration { return min(2*r.usual, maxWait) }

// recent tells whether a time was not long ago.
func (r *lastReaders) recent(at time.Time) bool { return time.Since(at) < coolAfter*r.usual }

// mayAppend tells whether somebody who was just answered is likely to append now.
func (r *lastReaders) mayAppend() bool { return time.Now().Before(r.awaited) }

// lastEvent returns a page of the stream's last event.
func (t *cachedStream) lastEvent(ctx context.Context) (eventstore.Page, error) {
	answer, number := t.joinReaders()
	if answer == nil {
		began := time.Now()
		page, err := t.readLast(ctx)
		t.endRead(number, began, lastRead{page: page, err: err}, err == nil)
		return page, err
	}
	select {
	case is := <-answer:
		return is.page, is.err
	case <-ctx.Done():
		return eventstore.Page{}, ctx.Err()
	}
}

// joinReaders returns where an answer will come, or the number of the read that the
// caller is to make.
func (t *cachedStream) joinReaders() (answer chan lastRead, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.readers
	if !r.reading && !r.mayAppend() && (!r.writing || !r.recent(r.contended)) {
		r.reading = true
		t.begun++
		return nil, t.begun
	}
	answer = make(chan lastRead, 1)
	r.waiting = append(r.waiting, lastReader{came: t.begun, since: time.Now(), answer: answer})
	t.arm()
	return answer, 0
}

// arm makes sure that who waits longest is read for when his timeout ends.
func (t *cachedStream) arm() {
	r := &t.readers
	if r.timer == nil {
		r.timer = time.AfterFunc(time.Until(r.waiting[0].since.Add(r.timeout())), t.readAtTimeout)
	}
}

func (t *cachedStream) readAtTimeout() {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.readers
	r.timer = nil
	switch {
	case len(r.waiting) == 0 || r.reading:
	case time.Since(r.waiting[0].since) < r.timeout():
		t.arm()
	default:
		t.startRead()
	}
}

// startRead reads for all who wait.
func (t *cachedStream) startRead() {
	t.begun++
	t.readers.reading = true
	number := t.begun
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
		defer cancel()
		began := time.Now()
		page, err := t.readLast(ctx)
		t.endRead(number, began, lastRead{page: page, err: err}, true)
	}()
}

// endRead ends a read. Its result is for those who wait too, but for the failure of a
// read that a caller made for himself: it may be his context's.
func (t *cachedStream) endRead(number uint64, began time.Time, result lastRead, forAll bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.readers
	r.reading = false
	if r.usual == 0 {
		r.usual = time.Since(began)
	}
	r.usual += (time.Since(began) - r.usual) / 8
	if forAll {
		t.answerReaders(number, result)
	}
	if result.err == nil && r.recent(r.written) {
		t.awaitAppend()
	}
	t.readForWaiting()
}

// beginWrite numbers an append that is about to be sent.
func (t *cachedStream) beginWrite() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers.writing, t.readers.awaited = true, time.Time{}
	t.begun++
	return t.begun
}

// endWrite ends an append. read returns what a reader of the stream's last event is
// shown after it; it is nil where the append did not succeed, or told too little.
func (t *cachedStream) endWrite(number uint64, read func() eventstore.Page) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.readers
	r.writing, r.written = false, time.Now()
	if read != nil && len(r.waiting) > 0 && r.waiting[0].came < number {
		t.answerReaders(number, lastRead{page: read()})
		t.awaitAppend()
	}
	t.readForWaiting()
	t.tell()
}

// answerReaders answers who came before a read or write began.
func (t *cachedStream) answerReaders(number uint64, read lastRead) {
	r := &t.readers
	n := 0
	for ; n < len(r.waiting) && r.waiting[n].came < number; n++ {
		r.waiting[n].answer <- lastRead{page: copyOf(read.page), err: read.err}
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
	if n > 0 || len(r.waiting) > 0 {
		r.contended = time.Now()
	}
}

// awaitAppend is called when readers of a stream with many writers were answered.
func (t *cachedStream) awaitAppend() {
	if r := &t.readers; r.recent(r.contended) {
		r.awaited = time.Now().Add(r.usual)
	}
}

// readForWaiting reads for those who wait, unless an append may answer them.
func (t *cachedStream) readForWaiting() {
	r := &t.readers
	switch {
	case len(r.waiting) == 0 || r.reading:
	case r.mayAppend() || r.writing:
		t.arm()
	default:
		t.startRead()
	}
}

// copyOf returns a page whose memory is the receiver's own.
func copyOf(page eventstore.Page) eventstore.Page {
	events := make([]eventstore.RecordedEvent, len(page.Events))
	for i, event := range page.Events {
		event.Data, event.Metadata = bytes.Clone(event.Data), maps.Clone(event.Metadata)
		events[i] = event
	}
	page.Events = events
	return page
}
