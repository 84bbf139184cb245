package dynamodb

import (
	"bytes"
	"compress/flate"
	stdbinary "encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Bodies and packed chunks are a byte that names the format, and what it holds:
// numbers as varints, texts and binaries behind their length.
const (
	formatPlain    = 0
	formatDeflated = 1
)

// mostDecoded bounds what a few deflated bytes may become.
const mostDecoded = 4 << 20

// deflateFrom is the length below which deflating gains nothing.
const deflateFrom = 128

// deflater keeps the compressors, which are large.
type deflater struct{ writers, readers sync.Pool }

// seal puts the format before what was packed; packed begins with a byte for it.
func (d *deflater) seal(packed []byte) []byte {
	packed[0] = formatPlain
	if len(packed) < deflateFrom {
		return packed
	}
	out := bytes.NewBuffer(make([]byte, 0, len(packed)))
	out.WriteByte(formatDeflated)
	w, ok := d.writers.Get().(*flate.Writer)
	if !ok {
		var err error
		if w, err = flate.NewWriter(out, flate.DefaultCompression); err != nil {
			return packed // the level is a constant
		}
	}
	defer d.writers.Put(w)
	w.Reset(out)
	_, err := w.Write(packed[1:])
	if err = errors.Join(err, w.Close()); err != nil || out.Len() >= len(packed) {
		return packed
	}
	return out.Bytes()
}

// unseal returns what was packed.
func (d *deflater) unseal(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errors.New("it is empty")
	}
	switch b[0] {
	case formatPlain:
		return b[1:], nil
	case formatDeflated:
		r, ok := d.readers.Get().(io.ReadCloser)
		if !ok {
			r = flate.NewReader(nil)
		}
		defer d.readers.Put(r)
		if err := r.(flate.Resetter).Reset(bytes.NewReader(b[1:]), nil); err != nil { //nolint:forcetypeassert // flate documents it
			return nil, err
		}
		out, err := io.ReadAll(io.LimitReader(r, mostDecoded+1))
		switch {
		case err != nil:
			return nil, err
		case len(out) > mostDecoded:
			return nil, fmt.Errorf("it inflates to more than %d bytes", mostDecoded)
		}
		return out, r.Close()
	}
	return nil, fmt.Errorf("its format %d is not known: a newer version wrote it", b[0])
}

// packer appends to a buffer.
type packer struct{ b []byte }

func (p *packer) uint(n uint64)  { p.b = stdbinary.AppendUvarint(p.b, n) }
func (p *packer) int(n int64)    { p.b = stdbinary.AppendVarint(p.b, n) }
func (p *packer) byte(b byte)    { p.b = append(p.b, b) }
func (p *packer) raw(b []byte)   { p.b = append(p.b, b...) }
func (p *packer) text(s string)  { p.uint(uint64(len(s))); p.b = append(p.b, s...) }
func (p *packer) bytes(b []byte) { p.uint(uint64(len(b))); p.b = append(p.b, b...) }

// Flags of a packed event.
const (
	flagReference   = 1 << iota // its content is in its chunk
	flagContentType             // another than JSON
	flagMetadata
	flagTime // another than its chunk's
)

func contentFlags(event *eventstore.Event) (flags byte) {
	if event.ContentType != eventstore.JSONContentType {
		flags |= flagContentType
	}
	if len(event.Metadata) > 0 {
		flags |= flagMetadata
	}
	return flags
}

// content packs data, content type and metadata; the flags say what is there.
func (p *packer) content(event *eventstore.Event) {
	if event.ContentType != eventstore.JSONContentType {
		p.text(event.ContentType)
	}
	p.bytes(event.Data)
	if len(event.Metadata) == 0 {
		return
	}
	p.uint(uint64(len(event.Metadata)))
	for _, name := range slices.Sorted(maps.Keys(event.Metadata)) {
		p.text(name)
		p.text(event.Metadata[name])
	}
}

// contentSize is no less than what content packs.
func contentSize(event *eventstore.Event) int {
	const lengths = 10
	size := lengths + len(event.ContentType) + len(event.Data)
	for name, value := range event.Metadata {
		size += len(name) + len(value) + 6
	}
	return size
}

var errShort = errors.New("it ends too early")

// unpacker reads what a packer wrote. After an error everything is zero.
type unpacker struct {
	b   []byte
	err error
}

func (u *unpacker) fail() {
	if u.err == nil {
		u.err = errShort
	}
	u.b = nil
}

func (u *unpacker) uint() uint64 {
	n, size := stdbinary.Uvarint(u.b)
	if size <= 0 {
		u.fail()
		return 0
	}
	u.b = u.b[size:]
	return n
}

func (u *unpacker) int() int64 {
	n, size := stdbinary.Varint(u.b)
	if size <= 0 {
		u.fail()
		return 0
	}
	u.b = u.b[size:]
	return n
}

func (u *unpacker) raw(n uint64) []byte {
	if n > uint64(len(u.b)) {
		u.fail()
		return nil
	}
	out := u.b[:n:n]
	u.b = u.b[n:]
	return out
}

func (u *unpacker) byte() byte {
	if b := u.raw(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (u *unpacker) bytes() []byte { return u.raw(u.uint()) }
func (u *unpacker) text() string  { return string(u.bytes()) }

func (u *unpacker) id() (id [16]byte) {
	copy(id[:], u.raw(uint64(len(id))))
	return id
}

// count reads how many elements follow, each of which takes a byte at least.
func (u *unpacker) count() int {
	n := u.uint()
	if n > uint64(len(u.b)) {
		u.fail()
		return 0
	}
	return int(n)
}

// content reads what content packed. Data and texts are copies.
func (u *unpacker) content(event *eventstore.Event, flags byte) {
	event.ContentType = eventstore.JSONContentType
	if flags&flagContentType != 0 {
		event.ContentType = u.text()
	}
	event.Data = bytes.Clone(u.bytes())
	if event.Data == nil {
		event.Data = []byte{}
	}
	if flags&flagMetadata == 0 {
		return
	}
	n := u.count()
	event.Metadata = make(map[string]string, n)
	for range n {
		name := u.text()
		event.Metadata[name] = u.text()
	}
}
