package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// longestLine is what an event takes in a line at most, of a store with these limits:
// six bytes for each byte of a text that is a control character, and a key or an
// attribute more than anybody has. It keeps a file without line breaks from filling the
// memory.
func longestLine(limits eventstore.Limits) int {
	return 6*(limits.MaxEventBytes+limits.MaxStreamBytes+limits.MaxTypeBytes) + 64<<10
}

// LineError says which line could not be imported. Every line before it is stored.
type LineError struct {
	// Line counts from 1.
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// lineParser reads the events of NDJSON text.
type lineParser struct {
	*Parser
	most    int  // bytes of a line
	anyLine bool // a line that is no event becomes a record that says so
}

// lines yields the events of the text, and adds up the bytes that it has read.
// Empty lines are passed over. The first wrong line ends it with a *LineError.
func (p lineParser) lines(r io.Reader, read *atomic.Int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		reader := lineReader{r: bufio.NewReaderSize(r, 256<<10), most: p.most}
		if err := reader.begin(read); err != nil {
			yield(Record{}, &LineError{Line: 1, Err: err})
			return
		}
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
			record, err := p.record(line, whole)
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

// record returns what is made of a line; whole tells whether a line break ends it.
func (p lineParser) record(line []byte, whole bool) (Record, error) {
	record, err := p.Parse(line)
	asLine := func(err error) Record {
		return Record{Event: eventstore.Event{Data: bytes.Clone(bytes.TrimRight(line, "\r\n"))}, broken: err}
	}
	switch {
	case err == nil && record.was != nil: // another ID
		record.other = new(asLine(record.reason))
		return record, nil
	case err == nil:
		return record, nil
	case !whole:
		return record, fmt.Errorf("it is cut off, for no line break ends it: %w", err)
	case !p.anyLine:
		return record, wrongLine(err)
	}
	broken := asLine(err)
	if isWrongID(err) {
		p.anyID = true
		defer func() { p.anyID = false }()
		if event, err := p.Parse(line); err == nil {
			broken.other = &event
		}
	}
	return broken, nil
}

// wrongLine says how to go on after a line that is no event.
func wrongLine(err error) error {
	f := faultLine
	if isWrongID(err) {
		f = faultID
	}
	return refusedError(f, nil, err)
}

func isWrongID(err error) bool {
	var wrongID *idError
	return errors.As(err, &wrongID)
}

// lineReader reads lines of up to so many bytes.
type lineReader struct {
	r    *bufio.Reader
	most int
	long []byte // the last line, where it did not fit into the buffer
}

// begin passes over a byte order mark, and refuses what is no text of lines at all: no
// remedy for single lines helps against that.
func (l *lineReader) begin(read *atomic.Int64) error {
	start, _ := l.r.Peek(3) // an error comes again with the first line
	for mark, what := range map[string]string{
		"\x1f\x8b":     "compressed by gzip; give what gunzip -c prints",
		"\x28\xb5\x2f": "compressed by zstd; give what zstd -dc prints",
		"\xff\xfe":     "UTF-16, as PowerShell writes it; give UTF-8",
		"\xfe\xff":     "UTF-16; give UTF-8",
	} {
		if bytes.HasPrefix(start, []byte(mark)) {
			return fmt.Errorf("it is no JSON, for the text is %s", what)
		}
	}
	if string(start) == "\ufeff" {
		n, err := l.r.Discard(len(start))
		read.Add(int64(n))
		return err
	}
	return nil
}

// next returns the next line, valid until the next call, and whether a line
// break ends it. After the last line the error is io.EOF.
func (l *lineReader) next() (line []byte, whole bool, err error) {
	line, err = l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(l.long) > l.most {
				return nil, false, fmt.Errorf("it has more than %d bytes, and no event that the target takes has", l.most)
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
