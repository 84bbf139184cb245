package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Metadata is kept as a JSON object of strings, which tools read and which holds
// any valid UTF-8 exactly. Nearly all of it is plain: keys and values without a
// character that JSON escapes. That form is read and written here; encoding/json has
// the rest. BenchmarkMetadata says what that saves: 1.2 µs of the 2.5 µs that an event
// of a long read takes, and 0.6 µs of the 10 µs that an imported one takes.

// encodeMetadata returns the JSON object, with its keys in order, or nil (NULL)
// for a nil map.
func encodeMetadata(metadata map[string]string) (driver.Value, error) {
	if metadata == nil {
		return nil, nil
	}
	var text strings.Builder
	text.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		value := metadata[key]
		if !plain(key) || !plain(value) {
			return encodeAny(metadata)
		}
		if i > 0 {
			text.WriteByte(',')
		}
		for _, s := range [...]string{`"`, key, `":"`, value, `"`} {
			text.WriteString(s)
		}
	}
	text.WriteByte('}')
	return text.String(), nil
}

func encodeAny(metadata map[string]string) (driver.Value, error) {
	text, err := json.Marshal(metadata)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return string(text), nil
}

// plain tells whether JSON writes s as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// decodeMetadata reads a JSON object of strings.
func decodeMetadata(text string) (map[string]string, error) {
	if metadata, ok := decodePlain(text); ok {
		return metadata, nil
	}
	var metadata map[string]string
	if err := json.Unmarshal([]byte(text), &metadata); err != nil {
		return nil, fmt.Errorf("not a JSON object of strings: %w", err)
	}
	return metadata, nil
}

// decodePlain reads what encodeMetadata wrote for plain metadata, and nothing
// else.
func decodePlain(text string) (map[string]string, bool) {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok {
		return nil, false
	}
	metadata := make(map[string]string)
	for rest != "}" {
		key, afterKey, ok := cutPlain(rest)
		if !ok {
			return nil, false
		}
		rest, ok = strings.CutPrefix(afterKey, ":")
		if !ok {
			return nil, false
		}
		value, afterValue, ok := cutPlain(rest)
		if !ok {
			return nil, false
		}
		metadata[key] = value
		rest = afterValue
		if next, more := strings.CutPrefix(rest, ","); more && strings.HasPrefix(next, `"`) {
			rest = next
		} else if rest != "}" {
			return nil, false
		}
	}
	return metadata, true
}

// cutPlain cuts a plain string in quotes from the front of text.
func cutPlain(text string) (s, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		return "", "", false
	}
	end := strings.IndexByte(text[1:], '"')
	if end < 0 || !plain(text[1:1+end]) {
		return "", "", false
	}
	return text[1 : 1+end], text[2+end:], true
}
