package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// contentOf returns an event's data as two stores compare it: its bytes or, where one of
// them keeps JSON and not its bytes, the one form that equal JSON has.
func contentOf(event eventstore.RecordedEvent, asJSON bool) []byte {
	if !asJSON || !event.IsJSON() {
		return event.Data
	}
	return canonicalJSON(event.Data)
}

// keepsBytes tells whether all stores keep the bytes of data.
func keepsBytes(stores ...*eventstore.Store) bool {
	return !slices.ContainsFunc(stores, func(s *eventstore.Store) bool { return !s.Capabilities().ExactData.Supported() })
}

// canonicalJSON returns the one form of all JSON texts that are equal as JSON: keys in
// order and once, the last one of two with its value; no spaces; numbers by their exact
// value. What cannot be read stays as it is.
func canonicalJSON(data []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return data
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(exactNumbers(value)) != nil {
		return data
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// exactNumbers writes each number in a value in its one form.
func exactNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		return json.Number(exactNumber(string(v)))
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = exactNumbers(v[key])
		}
	}
	return value
}

// exactNumber returns the shortest DIGITSeEXPONENT of a number.
func exactNumber(text string) string {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	e := 0
	if exponent != "" {
		var err error
		if e, err = strconv.Atoi(exponent); err != nil {
			return text // no store holds it
		}
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	e -= len(fraction)
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	e += len(digits) - len(short)
	if negative {
		short = "-" + short
	}
	return fmt.Sprintf("%se%d", short, e)
}
