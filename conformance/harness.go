package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Harness is what the author of a backend gives the suite. It is a struct of
// functions, so that new hooks break nobody: a nil hook means "cannot".
type Harness struct {
	// Name is the backend's, as reports show it. A double says so in its name.
	Name string
	// Open returns a fresh, isolated, empty store. It is required, and called
	// once for each check.
	Open func(ctx context.Context) (*Fixture, error)
	// Double says what a double keeps in place of its server's disk, such as
	// "everything in memory"; it is empty for everything else. A double is held to
	// all checks; where those that rest on a disk pass, they count as unsupported.
	Double string
	// StreamID makes the ID of a stream of a category from its number, always the
	// same one and no two alike, for a store whose stream IDs have a form of their
	// own, such as UUIDs; nil makes category-number. Checks of odd names then run on
	// plain ones.
	StreamID func(category string, number int) string
	// Scale bounds the work of the long checks; the zero value is the whole of it.
	Scale Scale
	// Waive lists the checks that are known to fail: from the check's name to the
	// issue that says why. An unknown name is an error, and so is a check that is
	// waived and passes. Core checks cannot be waived.
	Waive map[string]string
}

// Fixture is one store that a check works on.
type Fixture struct {
	// Backend is the first handle. The suite closes it.
	Backend eventstore.Backend
	// OpenAgain opens another handle on the same data, as another process would.
	OpenAgain func(ctx context.Context) (eventstore.Backend, error)
	// OpenPolling is OpenAgain without the notifications that handles and
	// processes send each other: what others append, a subscription of this handle
	// finds by polling alone.
	OpenPolling func(ctx context.Context) (eventstore.Backend, error)
	// Restart ends the server without warning and starts it again on the same
	// data; for an embedded store, it drops every handle as a crash would. The
	// suite reopens with OpenAgain afterwards.
	Restart func(ctx context.Context) error
	// RestartEndsHandles is set where a handle ends with the process that Restart
	// stands for, as an embedded store's does. Elsewhere a handle that was open must
	// work again when the server is back.
	RestartEndsHandles bool
	// HoldWriter starts an append through another handle that has taken its place
	// in the order but is not yet visible, and returns a function that lets it
	// finish and returns its result. A backend where no such state can exist
	// leaves it nil and says why in HoldWriterReason; its checks are skipped all the
	// same, for a sentence proves nothing.
	HoldWriter func(ctx context.Context, part eventstore.StreamAppend) (release func() (eventstore.AppendResult, error), err error)
	// HoldWriterReason says why HoldWriter is nil.
	HoldWriterReason string
	// CutStream removes the events of a stream below a version, as its owner may do
	// where WholeStreams is declared absent.
	CutStream func(ctx context.Context, stream string, first uint64) error
	// Remove deletes the store after the check. It is called with every handle closed.
	Remove func(ctx context.Context) error
}

// has tells whether the fixture has a hook, and if not, why.
func (f *Fixture) has(hook Hook) (reason string, ok bool) {
	switch hook {
	case "":
		return "", true
	case NeedsOpenAgain:
		ok = f.OpenAgain != nil
	case NeedsOpenPolling:
		ok = f.OpenPolling != nil
	case NeedsRestart:
		ok = f.Restart != nil && f.OpenAgain != nil
	case NeedsHoldWriter:
		if f.HoldWriter == nil && f.HoldWriterReason != "" {
			return f.HoldWriterReason, false
		}
		ok = f.HoldWriter != nil
	}
	return fmt.Sprintf("the fixture has no %s", hook), ok
}

// validate returns an error that says what is wrong with the harness itself.
func (h Harness) validate(checks []Check) error {
	if h.Open == nil {
		return errors.New("conformance: harness has no Open; give the function that opens a fresh, empty store")
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(h.Waive)) {
		i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("conformance: waived check %q does not exist; see Checks for the names", name))
		case checks[i].Core:
			errs = append(errs, fmt.Errorf("conformance: check %q is core and cannot be waived", name))
		case h.Waive[name] == "":
			errs = append(errs, fmt.Errorf("conformance: check %q is waived without an issue; say which one", name))
		}
	}
	return errors.Join(errs...)
}
