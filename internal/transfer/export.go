package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"unicode/utf8"

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

	resume eventstore.Position // after the last line of an earlier export
}

// start is where to read from.
func (o *ExportOptions) start() eventstore.Position {
	if o.After.Before(o.resume) {
		return o.resume
	}
	return o.After
}

// selection names the part of the store that the options select, in one form; it is
// empty where that is all of it.
func (o *ExportOptions) selection() string {
	parts := url.Values{}
	for name, values := range map[string][]string{"category": o.Filter.Categories, "prefix": o.Filter.StreamPrefixes, "type": o.Filter.Types} {
		if values = slices.Compact(slices.Sorted(slices.Values(values))); len(values) > 0 {
			parts[name] = values
		}
	}
	if !o.After.IsZero() {
		parts.Set("after", o.After.String())
	}
	return parts.Encode()
}

// Export writes a store's events as NDJSON in the global order and returns how
// many it wrote. See [AppendLine] for the form. A position after the store's last event
// is ErrCheckpointAhead: it is another store's.
func Export(ctx context.Context, from *eventstore.Store, w io.Writer, opts *ExportOptions) (int, error) {
	if opts == nil {
		opts = &ExportOptions{}
	}
	info, err := from.Info(ctx)
	if err != nil {
		return 0, err
	}
	if info.Head.Position.Before(opts.After) {
		return 0, &eventstore.CheckpointAheadError{Position: opts.After, Head: info.Head.Position}
	}
	source, selection := cloudevents.Source(info.ID), opts.selection()
	out := bufio.NewWriterSize(w, 256<<10)
	var line []byte
	progress := Progress{Head: info.Head}
	for event, err := range from.ReadAll(ctx, eventstore.ReadAllOptions{After: opts.start(), Filter: opts.Filter}) {
		if err != nil {
			_ = out.Flush() // whole lines: an import can go on from them
			return progress.Read, err
		}
		if field := noUnicode(event); field != "" {
			_ = out.Flush()
			return progress.Read, fmt.Errorf("event at version %d of stream %q: its %s is no UTF-8, which no line holds; copy the store with switchyard copy --on-refused, and export the copy",
				event.Version, clip(event.Stream), field)
		}
		line = appendLine(line[:0], source, selection, event)
		if _, err := out.Write(line); err != nil {
			return progress.Read, fmt.Errorf("write line %d: %w", progress.Read+1, err)
		}
		progress.Copied = event.Place()
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

// noUnicode names what of an event's names and metadata no JSON text holds, "" where that is nothing.
func noUnicode(event eventstore.RecordedEvent) string {
	switch {
	case !utf8.ValidString(event.Stream):
		return "stream"
	case !utf8.ValidString(event.Type):
		return "type"
	case !utf8.ValidString(event.ContentType):
		return "content type"
	}
	for key, value := range event.Metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return "metadata"
		}
	}
	return ""
}
