package cloudevents

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// SpecVersion is the version of CloudEvents that is written.
const SpecVersion = "1.0"

// Start is how every event starts; its ID follows.
const Start = `{"specversion":"` + SpecVersion + `","id":"`

// SourcePrefix starts the source of the events of every store.
const SourcePrefix = "switchyard:"

// Source returns the source of a store's events.
func Source(store uuid.UUID) string { return SourcePrefix + store.String() }

// AppendAttribute appends an attribute, which is not the first one, to b. Its value
// is valid UTF-8.
func AppendAttribute(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return AppendString(b, value)
}

// AppendMetadata appends metadata as a JSON object with its keys in order, so that
// one event has one form.
func AppendMetadata(b []byte, metadata map[string]string) []byte {
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, key)
		b = append(b, ':')
		b = AppendString(b, metadata[key])
	}
	return append(b, '}')
}

// AppendTime appends a time as CloudEvents have it: RFC 3339, in UTC.
func AppendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, time.RFC3339Nano) }

// AppendString appends valid UTF-8 as a JSON string.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case ' ' <= r && r < utf8.RuneSelf-1:
			b = append(b, byte(r))
		case Hidden(r):
			b = appendEscape(b, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// AppendData appends data as the attribute data or data_base64, so that it keeps
// its bytes. JSON is embedded as it is where the line stays one line and every
// reader finds the same bytes in it; other text is a JSON string; the rest is
// base64: JSON that is laid out on lines of its own, that holds a hidden character
// (such as a zero-width joiner; to escape it would change the data's bytes), or a
// lone surrogate, which encoding/json takes for JSON and CloudEvents do not.
func AppendData(b []byte, contentType string, data []byte) []byte {
	isJSON := eventstore.Event{ContentType: contentType}.IsJSON()
	switch {
	case isJSON && embeds(data):
		b = append(b, `,"data":`...)
		return append(b, data...)
	case !isJSON && utf8.Valid(data):
		return AppendAttribute(b, "data", string(data))
	}
	b = append(b, `,"data_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"')
}

// embeds tells whether JSON can stand in a line and come out of it unchanged:
// no white space around it, no line break in it, nothing that acts on a
// terminal, and nothing that a strict parser refuses.
func embeds(data []byte) bool {
	if len(data) == 0 || data[0] <= ' ' || data[len(data)-1] <= ' ' {
		return false
	}
	ascii, escapes := true, false
	for _, c := range data {
		if c < ' ' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
		escapes = escapes || c == '\\'
	}
	if !ascii && (!utf8.Valid(data) || strings.IndexFunc(string(data), Hidden) >= 0) {
		return false
	}
	return json.Valid(data) && (!escapes || !loneSurrogate(data))
}

// loneSurrogate finds half of a surrogate pair among the escapes of valid JSON.
func loneSurrogate(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++ // what is escaped, which may be a backslash
		if data[i] != 'u' {
			continue
		}
		unit := codeUnit(data[i+1:])
		i += 4
		switch {
		case unit < 0xD800 || unit > 0xDFFF:
		case unit >= 0xDC00 || i+6 >= len(data) || data[i+1] != '\\' || data[i+2] != 'u':
			return true
		default:
			if low := codeUnit(data[i+3:]); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 6
		}
	}
	return false
}

// codeUnit reads the four hexadecimal digits of an escape.
func codeUnit(digits []byte) uint64 {
	unit, err := strconv.ParseUint(string(digits[:4]), 16, 16)
	if err != nil {
		return 0 // not in valid JSON
	}
	return unit
}
