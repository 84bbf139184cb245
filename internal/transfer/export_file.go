package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// ErrForeignFile says that a file is not an earlier export of this store.
var ErrForeignFile = errors.New("the file is not an export of this store")

// ErrOtherSelection says that a file is an export of another part of this store.
var ErrOtherSelection = errors.New("the file is an export of another part of this store")

// ExportFile is [Export] into a file that may hold an earlier export of the same
// store: what follows the last whole line is added. A line that was cut off is
// written anew where it is the beginning of the line that follows. Any other
// content is ErrForeignFile, and an export with another Filter or After is
// ErrOtherSelection; both are left alone.
func ExportFile(ctx context.Context, from *eventstore.Store, file *os.File, opts *ExportOptions) (int, error) {
	foreign := fmt.Errorf("%w: %s; name another file, or remove it", ErrForeignFile, file.Name())
	end, line, rest, err := lastLine(file, longestLine(from.Limits()))
	if errors.Is(err, errLongLine) {
		return 0, foreign
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file.Name(), err)
	}
	var resumed ExportOptions
	if opts != nil {
		resumed = *opts
	}
	if end > 0 {
		info, err := from.Info(ctx)
		if err != nil {
			return 0, err
		}
		record, err := NewParser().Parse(line)
		if err != nil || record.source != cloudevents.Source(info.ID) {
			return 0, foreign
		}
		event, ok, err := eventAt(ctx, from, record.Stream, record.Version)
		if err != nil && !errors.Is(err, eventstore.ErrInvalid) {
			return 0, err
		}
		if !ok || event.Place() != record.origin() {
			return 0, foreign // the store is not the one it was, such as one restored from a backup
		}
		if was, is := record.selection, resumed.selection(); was != is || !resumed.selects(event) {
			return 0, fmt.Errorf("%w: %s holds %s, and %s were asked for; name another file", ErrOtherSelection, file.Name(), selected(was), selected(is))
		}
		resumed.resume = record.position
	}
	if len(rest) > 0 {
		if err := beginsNextLine(ctx, from, resumed, rest); errors.Is(err, ErrForeignFile) {
			return 0, foreign
		} else if err != nil {
			return 0, err
		}
	}
	if err := file.Truncate(end); err != nil {
		return 0, fmt.Errorf("remove the cut-off line: %w", err)
	}
	if _, err := file.Seek(end, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := Export(ctx, from, file, &resumed)
	if err != nil {
		return n, err
	}
	return n, file.Sync()
}

// selects tells whether an event is of the part that the options select.
func (o *ExportOptions) selects(event eventstore.RecordedEvent) bool {
	return o.After.Before(event.Position) && o.Filter.Match(event.Stream, event.Type)
}

// selected names a selection for people.
func selected(selection string) string {
	if selection == "" {
		return "all events"
	}
	return fmt.Sprintf("the events of %q", clip(selection))
}

// beginsNextLine returns ErrForeignFile where text is not the beginning of the
// first line that an export would write: only such text may be written over.
func beginsNextLine(ctx context.Context, from *eventstore.Store, opts ExportOptions, text []byte) error {
	info, err := from.Info(ctx)
	if err != nil {
		return err
	}
	for event, err := range from.ReadAll(ctx, eventstore.ReadAllOptions{After: opts.start(), Filter: opts.Filter, Limit: 1}) {
		if err != nil {
			return err
		}
		if bytes.HasPrefix(appendLine(nil, cloudevents.Source(info.ID), opts.selection(), event), text) {
			return nil
		}
	}
	return ErrForeignFile
}

// errLongLine says that a file's end is no line that an export writes.
var errLongLine = errors.New("the last line is too long")

// lastLine returns where the last whole line of a file ends, that line, and what
// follows it. In a file without a whole line that is all of it. Lines of more than most
// bytes are no export's.
func lastLine(file *os.File, most int) (end int64, line, rest []byte, err error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, nil, nil, err
	}
	// The file from start on; twice as much each time, so that a long line is not
	// copied again and again.
	start, tail := size, []byte(nil)
	for step := int64(64 << 10); start > 0; step *= 2 {
		if len(tail) > 2*most {
			return 0, nil, nil, errLongLine
		}
		n := min(step, start)
		start -= n
		block := make([]byte, n, int(n)+len(tail))
		if _, err := file.ReadAt(block, start); err != nil {
			return 0, nil, nil, err
		}
		tail = append(block, tail...)
		stop := bytes.LastIndexByte(tail, '\n')
		if stop < 0 {
			continue
		}
		begin := bytes.LastIndexByte(tail[:stop], '\n')
		if begin >= 0 || start == 0 {
			return start + int64(stop) + 1, tail[begin+1 : stop], tail[stop+1:], nil
		}
	}
	return 0, nil, tail, nil
}
