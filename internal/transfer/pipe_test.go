package transfer

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// pipes are both ways from a source into a writer.
func pipes() map[string]func(context.Context, iter.Seq2[Record, error], *writer, func() error) error {
	return map[string]func(context.Context, iter.Seq2[Record, error], *writer, func() error) error{"pipe": pipe, "pipeLive": pipeLive}
}

// counted yields n records and then does what a source ends with.
func counted(n int, then func(yield func(Record, error) bool)) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for range n {
			record := Record{Stream: "s-1", Event: eventstore.Event{Type: "T", Data: []byte("1")}}
			if !yield(record, nil) {
				return
			}
		}
		then(yield)
	}
}

// A live source joins what comes while a batch is written: the test holds the
// first write until the source has ended, so that the rest waits when it does.
func TestWhatASourceGaveBeforeItEndedIsWritten(t *testing.T) {
	broken := errors.New("broken")
	for name, move := range pipes() {
		for end, want := range map[string]error{"without an error": nil, "with an error": broken} {
			t.Run(name+" "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := newStore(t, nil)
					first := true
					err := move(t.Context(), counted(100, func(yield func(Record, error) bool) {
						if want != nil {
							yield(Record{}, want)
						}
					}), newWriter(store, nil), func() error {
						if first {
							first = false
							synctest.Wait()
						}
						return nil
					})
					require.Equal(t, want, err)
					require.Len(t, all(t, store), 100)
				})
			})
		}
	}
}

func TestAPanicOfASourceIsTheCallers(t *testing.T) {
	for name, move := range pipes() {
		for what, then := range map[string]func(func(Record, error) bool){
			"broken":                   func(func(Record, error) bool) { panic("broken") },
			"it called runtime.Goexit": func(func(Record, error) bool) { runtime.Goexit() },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				defer func() {
					value, ok := recover().(error)
					require.True(t, ok, "it reached the caller")
					require.ErrorContains(t, value, what)
					require.ErrorContains(t, value, "pipe_test.go", "with where it came from")
				}()
				_ = move(t.Context(), counted(3, then), newWriter(newStore(t, nil), nil), func() error { return nil })
			})
		}
	}
}
