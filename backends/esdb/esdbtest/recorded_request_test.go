package esdbtest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// request is a recorded request. Members that may be there, be null, or not be
// there at all are kept as they are written.
type request struct {
	raw json.RawMessage

	Do            string
	Stream        *string
	RawStream     *string
	LongStream    int
	All           bool
	Expected      json.RawMessage
	Events        json.RawMessage
	NoOptions     bool
	Backward      bool
	From          json.RawMessage
	Count         json.RawMessage
	Links         bool
	Filter        json.RawMessage
	Compatibility uint32
	UUID          json.RawMessage
	Shape         bool
	Summary       bool
	Then          []request
	Parts         []requestPart
	End           bool
	User          *string
	Headers       map[string]string
}

type requestPart struct {
	Correlation       *string
	StringCorrelation bool
	Options           *struct {
		Stream       *string
		Expected     json.RawMessage
		DeadlineMs   *int64
		DeadlineAtMs *int64
	}
	Events json.RawMessage
	Final  *bool
}

type requestFilter struct {
	On         string
	Regex      *string
	Prefixes   []string
	Window     json.RawMessage
	Multiplier *uint32
}

// requestEvent is an event of an append.
type requestEvent struct {
	ID         string // an alias
	NoID       bool
	RawID      bool
	StringID   bool
	Type, CT   *string // nil: not sent
	Data, Meta []byte
	Extra      map[string]string
}

func (r *request) UnmarshalJSON(data []byte) error {
	type plain request
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	r.raw = bytes.Clone(data)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	if user, ok := members["user"]; ok && string(user) == "null" {
		nobody := ""
		r.User = &nobody
	}
	return nil
}

// isNull tells a member that is null from one that is not there.
func isNull(member json.RawMessage) bool { return string(member) == "null" }

// text is a member that is a string or a number, as text; empty if it is not there.
func text(member json.RawMessage) string {
	var s string
	if json.Unmarshal(member, &s) == nil {
		return s
	}
	return string(member)
}

// streamPrefix makes names of aliases. The server is the case's own, so it need not
// differ from case to case; it is as long as the recorded one.
const streamPrefix = "recorded-"

// fill puts the names of streams in the place of their aliases.
func fill(s string) string {
	return aliases.ReplaceAllString(s, streamPrefix+"$1")
}

var (
	aliases = regexp.MustCompile(`\{([A-Z])\}`)
	alias   = regexp.MustCompile(`^(\$*)([A-Z][0-9]?)$`)
)

// nameOf is the name of a stream that is an alias itself, or holds one in braces.
func nameOf(s string) string {
	return alias.ReplaceAllString(fill(s), "${1}"+streamPrefix+"$2")
}

// name is the name of the request's stream.
func (r *request) name() (name string, set bool) {
	switch {
	case r.RawStream != nil:
		return fill(*r.RawStream), true
	case r.LongStream > 0:
		return nameOf("L") + strings.Repeat("x", r.LongStream), true
	case r.Stream != nil:
		return nameOf(*r.Stream), true
	}
	return "", false
}

// eventID is the ID that stands behind an alias.
func eventID(alias string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(alias))
}

var (
	manyEvents = regexp.MustCompile(`^(\d+) events, ([a-z]+)(\d+) to `)
	manyChars  = regexp.MustCompile(`^(.)\*(\d+)$`)
)

func parseEvents(list json.RawMessage) ([]requestEvent, error) {
	var short string
	if json.Unmarshal(list, &short) == nil && short != "" {
		found := manyEvents.FindStringSubmatch(short)
		if found == nil {
			return nil, fmt.Errorf("events %q", short)
		}
		count, err := strconv.Atoi(found[1])
		if err != nil {
			return nil, err
		}
		var out []requestEvent
		for i := range count {
			out = append(out, plainEvent(found[2]+strconv.Itoa(i+1)))
		}
		return out, nil
	}
	var raw []json.RawMessage
	if len(list) > 0 {
		if err := json.Unmarshal(list, &raw); err != nil {
			return nil, err
		}
	}
	var out []requestEvent
	for _, one := range raw {
		e, err := parseEvent(one)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func plainEvent(alias string) requestEvent {
	eventType, content := "T", "application/json"
	return requestEvent{ID: alias, Type: &eventType, CT: &content, Data: []byte("{}")}
}

func parseEvent(one json.RawMessage) (requestEvent, error) {
	var alias string
	if json.Unmarshal(one, &alias) == nil {
		return plainEvent(alias), nil
	}
	var fields struct {
		ID         *string
		RawID      bool
		StringID   bool
		Type, CT   json.RawMessage
		Data, Meta json.RawMessage
		Extra      map[string]string
	}
	if err := json.Unmarshal(one, &fields); err != nil {
		return requestEvent{}, err
	}
	e := plainEvent("")
	if e.NoID = fields.ID == nil; !e.NoID {
		e.ID = *fields.ID
	}
	e.RawID, e.StringID, e.Extra = fields.RawID, fields.StringID, fields.Extra
	for member, to := range map[*json.RawMessage]**string{&fields.Type: &e.Type, &fields.CT: &e.CT} {
		switch {
		case isNull(*member):
			*to = nil
		case len(*member) > 0:
			s := text(*member)
			if found := manyChars.FindStringSubmatch(s); found != nil {
				count, err := strconv.Atoi(found[2])
				if err != nil {
					return requestEvent{}, err
				}
				s = strings.Repeat(found[1], count)
			}
			*to = &s
		}
	}
	for member, to := range map[*json.RawMessage]*[]byte{&fields.Data: &e.Data, &fields.Meta: &e.Meta} {
		if len(*member) == 0 {
			continue
		}
		data, err := parseBytes(*member)
		if err != nil {
			return requestEvent{}, err
		}
		*to = data
	}
	return e, nil
}

// parseBytes reads data: text, or an object with a number of bytes or with hex
// digits.
func parseBytes(member json.RawMessage) ([]byte, error) {
	if isNull(member) {
		return nil, nil
	}
	var s string
	if json.Unmarshal(member, &s) == nil {
		return []byte(fill(s)), nil
	}
	var sized struct {
		Bytes int
		Hex   *string
	}
	if err := json.Unmarshal(member, &sized); err != nil {
		return nil, err
	}
	if sized.Hex != nil {
		return hex.DecodeString(*sized.Hex)
	}
	return bytes.Repeat([]byte("x"), sized.Bytes), nil
}
