package eventtest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fake is a test that is to fail. What it has of a test else is that of a true one.
type fake struct {
	testing.TB
	messages []string
	cleanups []func()
}

func (f *fake) Helper()          {}
func (f *fake) Failed() bool     { return len(f.messages) > 0 }
func (f *fake) Cleanup(g func()) { f.cleanups = append(f.cleanups, g) }

func (f *fake) Errorf(format string, args ...any) {
	f.messages = append(f.messages, fmt.Sprintf(format, args...))
}

func (f *fake) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs a test and returns what it fails with; nothing where it passes.
func failures(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	f := &fake{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, cleanup := range f.cleanups {
				cleanup()
			}
		}()
		test(f)
	}()
	<-done
	return strings.Join(f.messages, "\n")
}

// exampleT is the test of an example: what it fails with is printed, and so is no
// output of the example's.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func newExampleT() *exampleT { return &exampleT{} }

func (*exampleT) Helper()                           {}
func (*exampleT) Failed() bool                      { return false }
func (*exampleT) Context() context.Context          { return context.Background() }
func (*exampleT) Errorf(format string, args ...any) { fmt.Printf(format, args...) }
func (*exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (e *exampleT) Cleanup(f func())                { e.cleanups = append(e.cleanups, f) }

func (e *exampleT) end() {
	for _, cleanup := range slices.Backward(e.cleanups) {
		cleanup()
	}
}
