package transfer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
)

// batch is what the reading goroutine hands to the writing one.
type batch struct {
	records []Record
	err     error // ends the transfer after the records
}

// panicError is the panic of a source, on its way to the goroutine that can
// recover it.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	return fmt.Sprintf("the source panicked: %v\n%s", e.value, e.stack)
}

// pipe reads records in a goroutine of its own and writes them, a batch at a
// time, in this one: at most three batches are in memory. What was read before
// an error is written before it is returned. written is called after each batch. A
// panic of the source is the caller's.
//
// When ctx is done pipe returns at once; the goroutine ends when the source next
// looks at anything.
func pipe(ctx context.Context, source iter.Seq2[Record, error], w *writer, written func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan batch, 1)
	go collect(ctx, source, w.full, batches)
	return drain(ctx, batches, w, written)
}

// pipeLive is pipe for a source that waits for events: a batch is what has come
// while the one before it was being written, so that no event waits for company.
func pipeLive(ctx context.Context, source iter.Seq2[Record, error], w *writer, written func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	single, batches := make(chan batch), make(chan batch)
	go collect(ctx, source, func(int, int) bool { return true }, single)
	go merge(ctx, single, w.full, batches)
	return drain(ctx, batches, w, written)
}

// drain writes batches until they end.
func drain(ctx context.Context, batches <-chan batch, w *writer, written func() error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, more := <-batches:
			if !more {
				return ctx.Err()
			}
			if err := w.write(ctx, b.records); err != nil {
				return err
			}
			if err := written(); err != nil {
				return err
			}
			if panicked := (*panicError)(nil); errors.As(b.err, &panicked) {
				panic(panicked)
			}
			if b.err != nil {
				return b.err
			}
		}
	}
}

// collect forms batches of a source's records.
func collect(ctx context.Context, source iter.Seq2[Record, error], full func(events, bytes int) bool, batches chan<- batch) {
	defer close(batches)
	send := func(b batch) bool {
		select {
		case batches <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		if value == nil {
			value = "it called runtime.Goexit"
		}
		send(batch{err: &panicError{value: value, stack: debug.Stack()}})
	}()
	readBatches(source, full, send)
	returned = true
}

// readBatches is collect's reading; send tells whether to go on.
func readBatches(source iter.Seq2[Record, error], full func(events, bytes int) bool, send func(batch) bool) {
	var records []Record
	bytes := 0
	for record, err := range source {
		if err != nil {
			send(batch{records: records, err: err})
			return
		}
		records = append(records, record)
		bytes += record.Size()
		if !full(len(records), bytes) {
			continue
		}
		if !send(batch{records: records}) {
			return
		}
		records, bytes = make([]Record, 0, len(records)), 0
	}
	if len(records) > 0 {
		send(batch{records: records})
	}
}

// merge joins batches while nobody takes them.
func merge(ctx context.Context, in <-chan batch, full func(events, bytes int) bool, out chan<- batch) {
	defer close(out)
	var waiting batch
	bytes := 0
	for {
		var send chan<- batch
		if len(waiting.records) > 0 || waiting.err != nil {
			send = out
		}
		receive := in
		if waiting.err != nil || full(len(waiting.records), bytes) {
			receive = nil
		}
		select {
		case <-ctx.Done():
			return
		case send <- waiting:
			if waiting.err != nil {
				return
			}
			waiting, bytes = batch{}, 0
		case b, more := <-receive:
			if !more { // what waits is the last
				if len(waiting.records) > 0 {
					select {
					case out <- waiting:
					case <-ctx.Done():
					}
				}
				return
			}
			for _, record := range b.records {
				bytes += record.Size()
			}
			waiting.records = append(waiting.records, b.records...)
			waiting.err = b.err
		}
	}
}
