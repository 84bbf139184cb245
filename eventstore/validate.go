package eventstore

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/internal/printable"
)

// All checks of input are here. They run before any I/O, so every backend
// answers bad input alike.

const maxContentTypeBytes, maxMetadataKeyBytes, maxNameBytes = 255, 255, 255

func (s *Store) checkAppend(parts []StreamAppend) error {
	switch {
	case len(parts) == 0:
		return invalid("append", "it has no parts; give at least one")
	case len(parts) > s.limits.MaxAppendParts:
		return invalid("append", "%d parts, limit %d; split the append", len(parts), s.limits.MaxAppendParts)
	case len(parts) > 1 && !s.caps.MultiStreamAppend.supported:
		return s.unsupported("an atomic append to several streams", s.caps.MultiStreamAppend)
	}
	events, bytes := 0, 0
	for i := range parts {
		part := &parts[i]
		if err := s.checkPart(part); err != nil {
			return err
		}
		events += len(part.Events)
		if events > s.limits.MaxAppendEvents {
			return invalid("events", "%d or more in one append, limit %d; split the append", events, s.limits.MaxAppendEvents)
		}
		for j := range part.Events {
			size, err := s.checkEvent(j, &part.Events[j])
			if err != nil {
				return err
			}
			bytes += size
		}
	}
	switch {
	case events == 0:
		return invalid("events", "there are none; give at least one")
	case bytes > s.limits.MaxAppendBytes:
		return invalid("events", "%d bytes in one append, limit %d; split the append or keep large content elsewhere", bytes, s.limits.MaxAppendBytes)
	}
	return checkIDs(parts)
}

func (s *Store) checkPart(part *StreamAppend) error {
	if err := s.checkStream(part.Stream); err != nil {
		return err
	}
	if err := s.checkStorable("stream", part.Stream, s.names.stream, s.limits.StreamPattern); err != nil {
		return err
	}
	for _, prefix := range [...]string{"switchyard:", "switchyard-test-"} {
		if strings.HasPrefix(part.Stream, prefix) {
			return invalid("stream", "%q starts with %q, which is reserved for what stands beside the events; choose another name", clip(part.Stream), prefix)
		}
	}
	if !part.Expected.Valid() {
		return invalid("expected version", "the zero value; say Any(), NoStream(), StreamExists() or Exactly(n)")
	}
	if n, _ := part.Expected.Exact(); n > maxVersion {
		return invalid("expected version", "%d is beyond the highest version, %d", n, uint64(maxVersion))
	}
	return s.checkRecordTime(part.RecordedAt)
}

func (s *Store) checkRecordTime(at *time.Time) error {
	switch {
	case at == nil:
		return nil
	case !s.caps.PreservedRecordTime.supported:
		return s.unsupported("a preserved record time", s.caps.PreservedRecordTime)
	case s.caps.Earliest != nil && at.Before(*s.caps.Earliest):
		return invalid("record time", "%s is before %s, the earliest that this backend can hold", at.UTC().Format(time.RFC3339Nano), s.caps.Earliest.UTC().Format(time.RFC3339Nano))
	case s.caps.Latest != nil && at.After(*s.caps.Latest):
		return invalid("record time", "%s is after %s, the latest that this backend can hold", at.UTC().Format(time.RFC3339Nano), s.caps.Latest.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// checkStorable refuses a name that the store cannot hold, by its declared pattern.
func (s *Store) checkStorable(field, name string, pattern *regexp.Regexp, text string) error {
	if pattern == nil || pattern.MatchString(name) {
		return nil
	}
	return invalid(field, "%q is not a name that this backend can store; it must match %s", clip(name), text)
}

// maxVersion is the highest version that every backend can hold: a signed 64-bit integer.
const maxVersion = 1<<63 - 1

// checkEvent returns the size of the event, which is the i-th of its append.
func (s *Store) checkEvent(i int, event *Event) (int, error) {
	field := func(name string) string { return fmt.Sprintf("events[%d].%s", i, name) }
	if err := s.checkName("type", event.Type, s.limits.MaxTypeBytes); err != nil {
		return 0, within(err, i)
	}
	if err := s.checkStorable("type", event.Type, s.names.eventType, s.limits.TypePattern); err != nil {
		return 0, within(err, i)
	}
	if len(event.ContentType) > maxContentTypeBytes {
		return 0, invalid(field("contentType"), "%d bytes, limit %d", len(event.ContentType), maxContentTypeBytes)
	}
	if c := printable.Fault(event.ContentType); c != "" {
		return 0, invalid(field("contentType"), "%s", c)
	}
	size := event.Size()
	if size > s.limits.MaxEventBytes {
		return 0, invalid(field("data"), "the event has %d bytes, limit %d; keep large content elsewhere and refer to it", size, s.limits.MaxEventBytes)
	}
	for k, v := range event.Metadata {
		switch {
		case k == "":
			return 0, invalid(field("metadata"), "a key is empty; name it")
		case len(k) > maxMetadataKeyBytes:
			return 0, invalid(field("metadata"), "key %q… has %d bytes, limit %d", clip(k), len(k), maxMetadataKeyBytes)
		case printable.Fault(k) != "":
			return 0, invalid(field("metadata"), "key %q: %s", clip(k), printable.Fault(k))
		case !utf8.ValidString(v):
			return 0, invalid(field("metadata"), "the value of %q is not valid UTF-8; encode bytes as text", clip(k))
		case strings.IndexByte(v, 0) >= 0:
			return 0, invalid(field("metadata"), "the value of %q holds a NUL character; remove it", clip(k))
		}
	}
	switch {
	case event.IsJSON() && (!json.Valid(event.Data) || !utf8.Valid(event.Data)):
		return 0, invalid(field("data"), "it is not valid JSON (%d bytes); send JSON, such as {}, or name another content type", len(event.Data))
	case !event.IsJSON() && !s.caps.BinaryData.supported:
		return 0, s.unsupported("BinaryData: a content type other than JSON", s.caps.BinaryData)
	case len(event.Metadata) > 0 && !s.caps.Metadata.supported:
		return 0, s.unsupported("Metadata: text about an event", s.caps.Metadata)
	}
	return size, nil
}

// within puts an event's place before the field of an InvalidError.
func within(err error, i int) error {
	if e, ok := err.(*InvalidError); ok { //nolint:errorlint // made just above, never wrapped
		return &InvalidError{Field: fmt.Sprintf("events[%d].%s", i, e.Field), Reason: e.Reason}
	}
	return err
}

// checkIDs refuses an ID that occurs twice for one stream.
func checkIDs(parts []StreamAppend) error {
	if len(parts) == 1 && len(parts[0].Events) == 1 {
		return nil
	}
	type key struct {
		stream string
		id     uuid.UUID
	}
	seen := make(map[key]struct{})
	for _, part := range parts {
		for i := range part.Events {
			k := key{part.Stream, part.Events[i].ID}
			if k.id == uuid.Nil {
				continue
			}
			if _, twice := seen[k]; twice {
				return &EventIDReusedError{Stream: part.Stream, ID: k.id, Reason: "it occurs twice in this append"}
			}
			seen[k] = struct{}{}
		}
	}
	return nil
}

func (s *Store) checkStream(stream string) error {
	return s.checkName("stream", stream, s.limits.MaxStreamBytes)
}

// checkName checks a stream ID, an event type, or another name.
func (s *Store) checkName(field, name string, limit int) error {
	if err := checkText(field, name, limit); err != nil {
		return err
	}
	if name[0] == '$' && !s.options.AllowReserved {
		return invalid(field, "%q starts with '$', which is reserved; choose another name or set Options.AllowReserved", clip(name))
	}
	return nil
}

func checkText(field, text string, limit int) error {
	switch {
	case text == "":
		return invalid(field, "it is empty; give 1 to %d bytes", limit)
	case len(text) > limit:
		return invalid(field, "%d bytes, limit %d; shorten it", len(text), limit)
	}
	if c := printable.Fault(text); c != "" {
		return invalid(field, "%s", c)
	}
	return nil
}

func (s *Store) checkRead(stream string, opts ReadOptions) error {
	if !s.options.ReadAnyName || stream == "" || !utf8.ValidString(stream) || strings.IndexByte(stream, 0) >= 0 {
		if err := s.checkStream(stream); err != nil {
			return err
		}
	}
	if opts.Before != 0 && opts.After >= opts.Before {
		return invalid("range", "After %d is not below Before %d", opts.After, opts.Before)
	}
	if opts.After > maxVersion || opts.Before > maxVersion {
		return invalid("range", "a version is beyond the highest one, %d", uint64(maxVersion))
	}
	return checkLimit(opts.Limit)
}

func (s *Store) checkReadAll(opts ReadAllOptions) error {
	if !opts.Before.IsZero() && !opts.After.Before(opts.Before) {
		return invalid("range", "After %s is not below Before %s", opts.After, opts.Before)
	}
	if err := checkLimit(opts.Limit); err != nil {
		return err
	}
	return s.checkFilter(opts.Filter)
}

func checkLimit(limit int) error {
	if limit < 0 {
		return invalid("limit", "%d is negative; 0 means no limit", limit)
	}
	return nil
}

func (s *Store) checkFilter(f Filter) error {
	if !s.caps.GlobalOrder.supported {
		return s.unsupported("the global order", s.caps.GlobalOrder)
	}
	for i, category := range f.Categories {
		field := fmt.Sprintf("filter categories[%d]", i)
		if err := checkText(field, category, s.limits.MaxStreamBytes); err != nil {
			return err
		}
		if strings.Contains(category, "-") {
			return invalid(field, "%q contains '-', which ends a category; use a stream prefix", clip(category))
		}
	}
	for i, prefix := range f.StreamPrefixes {
		if err := checkText(fmt.Sprintf("filter stream prefixes[%d]", i), prefix, s.limits.MaxStreamBytes); err != nil {
			return err
		}
	}
	for i, t := range f.Types {
		if err := checkText(fmt.Sprintf("filter types[%d]", i), t, s.limits.MaxTypeBytes); err != nil {
			return err
		}
	}
	return nil
}
