package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
)

// maxLineBytes is far above what any backend's largest event takes in a line;
// it only keeps a file without line breaks from filling the memory.
const maxLineBytes = 64 << 20

// LineError says which line could not be imported. Every line before it is stored.
type LineError struct {
	// Line counts from 1.
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// lines yields the events of NDJSON text, and adds up the bytes that it has read.
// Empty lines are passed over. The first wrong line ends it with a *LineError.
func lines(r io.Reader, read *atomic.Int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		reader := lineReader{r: bufio.NewReaderSize(r, 256<<10)}
		parser := NewParser()
		for n := 1; ; n++ {
			line, whole, err := reader.next()
			read.Add(int64(len(line)))
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(Record{}, &LineError{Line: n, Err: err})
				return
			case len(bytes.TrimSpace(line)) == 0:
				continue
			}
			record, err := parser.Parse(line)
			if err != nil && !whole {
				err = fmt.Errorf("it is cut off, for no line break ends it: %w", err)
			}
			if err != nil {
				yield(Record{}, &LineError{Line: n, Err: err})
				return
			}
			record.line = n
			if !yield(record, nil) {
				return
			}
		}
	}
}

// lineReader reads lines of any length up to maxLineBytes.
type lineReader struct {
	r    *bufio.Reader
	long []byte // the last line, where it did not fit into the buffer
}

// next returns the next line, valid until the next call, and whether a line
// break ends it. After the last line the error is io.EOF.
func (l *lineReader) next() (line []byte, whole bool, err error) {
	line, err = l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(l.long) > maxLineBytes {
				return nil, false, fmt.Errorf("it has more than %d bytes", maxLineBytes)
			}
			line, err = l.r.ReadSlice('\n')
			l.long = append(l.long, line...)
		}
		line = l.long
	}
	switch {
	case err == nil:
		return line, true, nil
	case errors.Is(err, io.EOF) && len(line) > 0:
		return line, false, nil
	case errors.Is(err, io.EOF):
		return nil, false, io.EOF
	}
	return nil, false, fmt.Errorf("read: %w", err)
}
