package transfer

import (
	"bytes"
	"fmt"
	"math/bits"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// attributes are a line's values while it is read.
type attributes struct {
	record      Record
	seen        uint16
	hasData     bool
	data        []byte // raw JSON
	base64      []byte
	metadata    []byte // JSON
	source      string
	specVersion string
	extensions  map[string]string
}

// The attributes with a meaning of their own, as bits of attributes.seen.
const (
	seenSpecVersion = 1 << iota
	seenID
	seenSource
	seenType
	seenSubject
	seenTime
	seenContentType
	seenVersion
	seenPosition
	seenMetadata
	seenData
	seenBase64
)

// read takes one attribute, its name and its value.
func (a *attributes) read(d *jsontext.Decoder) error {
	key, err := d.ReadValue()
	if err != nil {
		return syntaxError(err)
	}
	bit, name := bitOf(unquote(key)), ""
	if bit == 0 {
		name = string(unquote(key))
	}
	if a.seen&bit != 0 {
		return fmt.Errorf("attribute %s occurs twice", nameOf(bit))
	}
	a.seen |= bit
	value, err := d.ReadValue()
	switch kind := value.Kind(); {
	case err != nil:
		return syntaxError(err)
	case bit == seenData:
		a.data, a.hasData = bytes.Clone(value), true
		return nil
	case bit == 0:
		return a.extend(name, value)
	case kind == '"' || kind == '0' && (bit == seenVersion || bit == seenPosition):
		return a.set(bit, unquote(value))
	}
	return fmt.Errorf("attribute %s is not a text", nameOf(bit))
}

// unquote returns the text of a JSON string, and other values as they are. The
// value has been read, so it is valid. Most strings hold no escapes, and are not
// copied.
func unquote(value jsontext.Value) []byte {
	if value.Kind() != '"' {
		return value
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1]
	}
	text, _ := jsontext.AppendUnquote(nil, value)
	return text
}

// nameOf is bitOf's inverse.
func nameOf(bit uint16) string {
	return [...]string{
		"specversion", "id", "source", "type", "subject", "time", "datacontenttype",
		"version", "position", "metadata", "data", "data_base64",
	}[bits.TrailingZeros16(bit)]
}

func bitOf(name []byte) uint16 {
	switch string(name) {
	case "specversion":
		return seenSpecVersion
	case "id":
		return seenID
	case "source":
		return seenSource
	case "type":
		return seenType
	case "subject":
		return seenSubject
	case "time":
		return seenTime
	case "datacontenttype":
		return seenContentType
	case "version":
		return seenVersion
	case "position":
		return seenPosition
	case "metadata":
		return seenMetadata
	case "data":
		return seenData
	case "data_base64":
		return seenBase64
	}
	return 0
}

func (a *attributes) set(bit uint16, text []byte) (err error) {
	switch bit {
	case seenSpecVersion:
		a.specVersion = string(text)
	case seenID:
		// The one spelling that export writes back unchanged.
		a.record.ID, err = uuid.ParseBytes(text)
		if err != nil || a.record.ID.String() != string(text) || a.record.ID == uuid.Nil {
			return fmt.Errorf("id %q is not a UUID in lower case, other than the zero one; events keep their IDs, which are UUIDs", clip(string(text)))
		}
	case seenSource:
		a.source = string(text)
	case seenType:
		a.record.Type = string(text)
	case seenSubject:
		a.record.Stream = string(text)
	case seenTime:
		a.record.RecordedAt, err = time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			return fmt.Errorf("time %q is not of the form 2006-01-02T15:04:05.999Z (RFC 3339)", clip(string(text)))
		}
		a.record.RecordedAt = a.record.RecordedAt.UTC()
	case seenContentType:
		a.record.ContentType = string(text)
	case seenVersion:
		a.record.Version, err = strconv.ParseUint(string(text), 10, 63)
		if err != nil || a.record.Version == 0 {
			return fmt.Errorf("version %q is not a number from 1", clip(string(text)))
		}
	case seenPosition:
		// It is of use to a later export into the same file alone.
		a.record.position, _ = eventstore.ParsePosition(string(text))
	case seenMetadata:
		a.metadata = bytes.Clone(text)
	case seenBase64:
		a.base64 = bytes.Clone(text)
	}
	return nil
}

// extend keeps an attribute that this format does not know.
func (a *attributes) extend(name string, value jsontext.Value) error {
	switch value.Kind() {
	case jsontext.KindNull:
		return nil // an attribute that is null counts as absent
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return fmt.Errorf("attribute %q is an object or a list, which CloudEvents does not allow", clip(name))
	default:
	}
	if _, twice := a.extensions[name]; twice {
		return fmt.Errorf("attribute %q occurs twice", clip(name))
	}
	if a.extensions == nil {
		a.extensions = make(map[string]string)
	}
	a.extensions[name] = string(unquote(value))
	return nil
}
