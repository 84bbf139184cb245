package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// ExportOptions configures [Export]. The zero value, like nil, means the defaults.
type ExportOptions struct {
	// After is where to go on; the zero Position is the first event.
	After eventstore.Position
	// Filter selects events.
	Filter eventstore.Filter
	// Progress, where not nil, is called after every 1000 events and at the end.
	Progress func(Progress)
}

// Export writes a store's events as NDJSON in the global order and returns how
// many it wrote. See [AppendLine] for the form.
func Export(ctx context.Context, from *eventstore.Store, w io.Writer, opts *ExportOptions) (int, error) {
	if opts == nil {
		opts = &ExportOptions{}
	}
	info, err := from.Info(ctx)
	if err != nil {
		return 0, err
	}
	source := cloudevents.Source(info.ID)
	out := bufio.NewWriterSize(w, 256<<10)
	var line []byte
	var progress Progress
	for event, err := range from.ReadAll(ctx, eventstore.ReadAllOptions{After: opts.After, Filter: opts.Filter}) {
		if err != nil {
			_ = out.Flush() // whole lines: an import can go on from them
			return progress.Read, err
		}
		line = AppendLine(line[:0], source, event)
		if _, err := out.Write(line); err != nil {
			return progress.Read, fmt.Errorf("write line %d: %w", progress.Read+1, err)
		}
		progress.Read++
		progress.Bytes += int64(len(line))
		if progress.Read%batchEvents == 0 && opts.Progress != nil {
			opts.Progress(progress)
		}
	}
	if err := out.Flush(); err != nil {
		return progress.Read, fmt.Errorf("write: %w", err)
	}
	if opts.Progress != nil {
		opts.Progress(progress)
	}
	return progress.Read, nil
}
