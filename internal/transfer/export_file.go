package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ErrForeignFile says that a file is not an earlier export of this store.
var ErrForeignFile = errors.New("the file is not an export of this store")

// ExportFile is [Export] into a file that may hold an earlier export of the same
// store: a line that was cut off is removed, and what follows the last whole line
// is added. Any other content is ErrForeignFile, and is left alone.
func ExportFile(ctx context.Context, from *eventstore.Store, file *os.File, opts *ExportOptions) (int, error) {
	end, line, err := lastLine(file)
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
		if err != nil || record.source != Source(info.ID) || record.position.IsZero() || info.Head.Before(record.position) {
			return 0, fmt.Errorf("%w: %s; name another file, or remove it", ErrForeignFile, file.Name())
		}
		if resumed.After.Before(record.position) {
			resumed.After = record.position
		}
	} else if !bytes.HasPrefix(line, []byte(lineStart)) && !bytes.HasPrefix([]byte(lineStart), line) {
		return 0, fmt.Errorf("%w: %s; name another file, or remove it", ErrForeignFile, file.Name())
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

// lineStart is how every exported line starts.
const lineStart = `{"specversion":"1.0","id":"`

// lastLine returns where the last whole line of a file ends, and that line. In a
// file without a whole line they are 0 and how the file starts.
func lastLine(file *os.File) (end int64, line []byte, err error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, nil, err
	}
	const step = 64 << 10
	var tail []byte // the file from start on
	for start := size; start > 0 && len(tail) <= maxLineBytes; {
		n := min(step, start)
		start -= n
		block := make([]byte, n, int(n)+len(tail))
		if _, err := file.ReadAt(block, start); err != nil {
			return 0, nil, err
		}
		tail = append(block, tail...)
		stop := bytes.LastIndexByte(tail, '\n')
		if stop < 0 {
			continue
		}
		begin := bytes.LastIndexByte(tail[:stop], '\n')
		if begin >= 0 || start == 0 {
			return start + int64(stop) + 1, tail[begin+1 : stop], nil
		}
	}
	return 0, tail, nil
}
