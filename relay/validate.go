package relay

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/printable"
)

// Validate refuses an event that CloudEvents do not allow, with ErrInvalid and an
// [eventstore.InvalidError] that names the attribute. A relay validates whatever it
// publishes.
func (e CloudEvent) Validate() error {
	for _, required := range [...][2]string{{"id", e.ID}, {"source", e.Source}, {"type", e.Type}} {
		if required[1] == "" {
			return invalid(required[0], "it is empty, and every event has one")
		}
	}
	if _, err := url.Parse(e.Source); err != nil {
		return invalid("source", "%s is no URI reference", quoted(e.Source))
	}
	if u, err := url.Parse(e.DataSchema); e.DataSchema != "" && (err != nil || !u.IsAbs()) {
		return invalid("dataschema", "%s is no absolute URI", quoted(e.DataSchema))
	}
	if year := e.Time.UTC().Year(); year < 0 || year > 9999 {
		return invalid("time", "RFC 3339 has no year %d", year)
	}
	for name := range e.Extensions {
		if reason := badName(name); reason != "" {
			return invalid("extension "+quoted(name), "%s", reason)
		}
	}
	for name, value := range e.Attributes() {
		if reason := printable.Fault(value); reason != "" {
			return invalid(name, "%s", reason)
		}
	}
	return nil
}

func invalid(attribute, format string, args ...any) error {
	return &eventstore.InvalidError{Field: "CloudEvent's " + attribute, Reason: fmt.Sprintf(format, args...)}
}

func badName(name string) string {
	switch {
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }):
		return "a name consists of lower-case letters and digits"
	case slices.Contains([]string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"}, name):
		return "CloudEvents have this attribute themselves: set the field"
	}
	return ""
}

// quoted shows untrusted text in an error.
func quoted(s string) string {
	if most := 64; len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}
