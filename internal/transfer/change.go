package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/printable"
)

const (
	octetStream         = "application/octet-stream"
	maxMetadataKeyBytes = 255
	givenEnd            = 13 // what a given name ends in: a tilde and 12 digits
)

// attempt is a remedy against a fault, which is tried again only where it has another
// way.
type attempt struct {
	remedy Remedy
	fault  fault
}

// change returns what the next remedy makes of a form of r that the target refused,
// and whether any is left. It notes in tried what it did.
func (w *writer) change(ctx context.Context, r, form Record, f fault, refusal error, tried map[attempt]int) (_ Record, _ bool, err error) {
	for _, remedy := range w.remedies {
		if !slices.Contains(f.remedies(), remedy) || form.apart && remedy != Skip {
			continue
		}
		next, ok := form, false
		try := tried[attempt{remedy, f}]
		tried[attempt{remedy, f}]++
		switch {
		case remedy == Park && try == 0, remedy == Skip && try == 0:
			next, ok = asideOf(r, remedy), true
		case remedy == KeepBytes && try == 0:
			ok = w.keepBytes(&next, f)
		case remedy == Rename:
			ok, err = w.rename(ctx, r, &next, f, try)
		}
		if err != nil {
			return form, false, err
		}
		if !ok {
			continue
		}
		next.was, next.reason = &r, refusal
		if !next.apart && !slices.Contains(form.remedies, remedy) {
			next.remedies = append(slices.Clone(form.remedies), remedy)
		}
		return next, true, nil
	}
	return form, false, nil
}

// keepBytes changes what a record says of its data or its time, and not the data.
func (w *writer) keepBytes(r *Record, f fault) bool {
	caps := w.store.Capabilities()
	switch {
	case f == faultTime && r.RecordedAt != nil && caps.Earliest != nil && r.RecordedAt.Before(*caps.Earliest):
		r.RecordedAt = caps.Earliest
	case f == faultTime && r.RecordedAt != nil && caps.Latest != nil && r.RecordedAt.After(*caps.Latest):
		r.RecordedAt = caps.Latest
	case f == faultTime:
		return false
	case caps.BinaryData.Supported():
		if r.ContentType == octetStream {
			return false
		}
		r.ContentType = octetStream
	default:
		text, err := json.Marshal(append([]byte{}, r.Data...)) // "" for none, and not null
		if err != nil || r.base64 {
			return false
		}
		r.Data, r.ContentType, r.base64 = text, eventstore.JSONContentType, true
	}
	return true
}

// rename gives what is refused another name, or ID; try counts from 0.
func (w *writer) rename(ctx context.Context, was Record, r *Record, f fault, try int) (bool, error) {
	limits := w.store.Limits()
	switch f {
	case faultStream:
		names := otherNames(was.Stream, limits.MaxStreamBytes)
		for _, name := range names[min(try, len(names)):] {
			_, taken, err := w.holdsOthers(ctx, name, was)
			if err != nil {
				return false, err
			}
			if taken == nil || was.Version == 0 { // which is stored at the end of whatever is there
				r.Stream = name
				return true, nil
			}
		}
		return false, nil
	case faultType:
		r.Type = otherName(was.Type, limits.MaxTypeBytes)
	case faultMetadata:
		r.Metadata = otherMetadata(was.Metadata)
	case faultID:
		r.ID = derivedID(was)
	default:
		return false, nil
	}
	return try == 0, nil
}

// takenNameError says that a stream of the target is another one of the source.
type takenNameError struct{ stream, other string }

func (e *takenNameError) Error() string {
	return fmt.Sprintf("stream %q of the target holds the events of stream %q", clip(e.stream), clip(e.other))
}

// holdsOthers tells whether the target has events under a name, and of which other stream
// than a record's they are, if they are.
func (w *writer) holdsOthers(ctx context.Context, name string, r Record) (exists bool, taken *takenNameError, err error) {
	last, exists, err := lastOf(ctx, w.store, name)
	if errors.Is(err, eventstore.ErrInvalid) || errors.Is(err, eventstore.ErrUnsupported) {
		return false, nil, nil // a name that it cannot hold, as the append will say
	}
	if other := Restore(last, r.source).Stream; exists && other != r.Stream {
		taken = &takenNameError{name, other}
	}
	return exists, taken, err
}

// takenName returns what is wrong with a record's name where the target has given it to
// another stream: it would go on behind that one's events.
func (w *writer) takenName(ctx context.Context, r, form Record) (*takenNameError, error) {
	if form.Stream != r.Stream || r.Version == 0 || w.own[r.Stream] || !looksGiven(r.Stream) {
		return nil, nil
	}
	exists, taken, err := w.holdsOthers(ctx, r.Stream, r)
	w.own[r.Stream] = exists && taken == nil
	return taken, err
}

// looksGiven tells whether a name ends as those that otherName gives.
func looksGiven(name string) bool {
	at := len(name) - givenEnd
	return at >= 0 && name[at] == '~'
}

// otherNames are the names that a stream may get instead of its own: one like it, and
// one that ends in a UUID, for stores that take no other.
func otherNames(stream string, limit int) []string {
	like := otherName(stream, limit)
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(stream)).String()
	if category, rest := eventstore.Category(like), "-"+id; category != like && len(category)+len(rest) <= limit {
		id = category + rest
	}
	return []string{like, id}
}

// otherName returns a name for one that is refused: control characters, bytes that are
// no UTF-8, the percent sign and, where it has none of them, its first byte are
// written as %XX. It ends in a part of the name's SHA-256, so that two names stay two.
func otherName(name string, limit int) string {
	sum := sha256.Sum256([]byte(name))
	end := "~" + hex.EncodeToString(sum[:6])
	escaped := escape(name, func(r rune) bool { return r == '%' || unicode.IsControl(r) })
	if escaped == name && name != "" && len(name) <= limit {
		escaped = fmt.Sprintf("%%%02X", name[0]) + name[1:]
		if name[0] >= utf8.RuneSelf {
			escaped = escape(name, func(r rune) bool { return r >= utf8.RuneSelf })
		}
	}
	if most := limit - len(end); len(escaped) > most {
		for most > 0 && !utf8.RuneStart(escaped[most]) {
			most--
		}
		escaped = escaped[:most]
	}
	return escaped + end
}

// escape writes the bytes of some characters, and those that are no UTF-8, as %XX.
func escape(s string, some func(rune) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !some(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(s[i : i+size])
		} else {
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += size
	}
	return b.String()
}

// otherMetadata returns metadata whose keys and values every store takes.
func otherMetadata(metadata map[string]string) map[string]string {
	clean := make(map[string]string, len(metadata))
	for key, value := range metadata {
		if key == "" || len(key) > maxMetadataKeyBytes || printable.Fault(key) != "" {
			key = otherName(key, maxMetadataKeyBytes)
		}
		clean[key] = escape(value, func(r rune) bool { return r == 0 })
	}
	return clean
}
