package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// attributes are a line's values while it is read.
type attributes struct {
	record      Record
	named       uint16 // the attributes that occurred
	seen        uint16 // those of them that have a value
	hasData     bool
	data        []byte // raw JSON
	base64      []byte
	metadata    []byte // JSON
	source      string
	specVersion string
	extensions  map[string]string
	wrongID     *idError
}

// idError says that a line's ID is not a UUID.
type idError struct {
	id  string
	err error
}

func (e *idError) Error() string {
	return fmt.Sprintf("id %s; events keep their IDs, which are UUIDs", e.err)
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
	seenSelection
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
	if a.named&bit != 0 {
		return fmt.Errorf("attribute %s occurs twice", nameOf(bit))
	}
	a.named |= bit
	value, err := d.ReadValue()
	if err != nil {
		return syntaxError(err)
	}
	kind := value.Kind()
	if kind == jsontext.KindNull && bit != seenData && bit != 0 {
		return nil // an attribute that is null counts as absent
	}
	a.seen |= bit
	switch {
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
		"version", "position", selectionAttribute, "metadata", "data", "data_base64",
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
	case selectionAttribute:
		return seenSelection
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
		if a.record.ID, err = ParseID(string(text)); err != nil {
			a.wrongID = &idError{id: string(text), err: err}
		}
		return nil
	case seenSource:
		a.source = string(text)
	case seenType:
		a.record.Type = string(text)
	case seenSubject:
		a.record.Stream = string(text)
	case seenTime:
		at, err := parseTime(string(text))
		if err != nil {
			return err
		}
		a.record.RecordedAt = &at
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
	case seenSelection:
		a.record.selection = string(text)
	case seenMetadata:
		a.metadata = bytes.Clone(text)
	case seenBase64:
		a.base64 = bytes.Clone(text)
	}
	return nil
}

// ParseID reads an event's ID: a UUID in its common form of 36 characters, in
// lower case or capitals, which are one ID, and not the zero UUID.
func ParseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || !strings.EqualFold(id.String(), text) || id == uuid.Nil {
		return uuid.Nil, fmt.Errorf("%q is not a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057", clip(text))
	}
	return id, nil
}

// parseTime reads a time of RFC 3339, whose letters may be small, and whose
// seconds are 60 in a leap second, at the end of a month in UTC. Go's clock has no
// such second; it becomes the one after it.
func parseTime(text string) (time.Time, error) {
	const seconds = len("2006-01-02T15:04:")
	capitals := strings.ToUpper(text)
	leap := len(capitals) > seconds+2 && capitals[seconds:seconds+2] == "60"
	if leap {
		capitals = capitals[:seconds] + "59" + capitals[seconds+2:]
	}
	t, err := time.Parse(time.RFC3339Nano, capitals)
	t = t.UTC()
	if leap {
		t = t.Add(time.Second)
		if y, m, _ := t.Date(); !t.Truncate(time.Second).Equal(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)) {
			err = errors.New("no leap second")
		}
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q is not of the form 2006-01-02T15:04:05.999Z (RFC 3339)", clip(text))
	}
	return t, nil
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
	return a.extension(name, string(unquote(value)))
}

// extension keeps an attribute as metadata.
func (a *attributes) extension(name, value string) error {
	if _, twice := a.extensions[name]; twice {
		return fmt.Errorf("attribute %q occurs twice", clip(name))
	}
	if a.extensions == nil {
		a.extensions = make(map[string]string)
	}
	a.extensions[name] = value
	return nil
}
