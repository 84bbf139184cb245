package marten

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const metaUserName = "user-name"

// storedEvent is an event as Marten's columns hold it.
type storedEvent struct {
	id                               pgtype.UUID
	kind, dotnet                     string
	data                             string
	headers                          pgtype.Text // a JSON object of strings
	correlation, causation, userName pgtype.Text
}

// encode returns the columns of an event. Its errors are of what a jsonb cannot hold.
func (b *Backend) encode(event eventstore.Event) (storedEvent, error) {
	s := storedEvent{id: pgtype.UUID{Bytes: event.ID, Valid: true}, data: string(event.Data)}
	var err error
	if s.kind, s.dotnet, err = b.names.eventType(event.Type); err != nil {
		return s, err
	}
	if event.ContentType != eventstore.JSONContentType {
		return s, &eventstore.UnsupportedError{Feature: "BinaryData: the content type " + strconv.Quote(event.ContentType), Reason: "the data of an event is jsonb, and its type application/json"}
	}
	if err := checkJSON(event.Data); err != nil {
		return s, invalid("event data", "%v", err)
	}
	if len(event.Metadata) == 0 {
		return s, nil
	}
	headers := make(map[string]string, len(event.Metadata))
	for key, value := range event.Metadata {
		text := pgtype.Text{String: value, Valid: true}
		switch {
		case key == eventstore.MetaCorrelationID && b.shape().correlation:
			s.correlation = text
		case key == eventstore.MetaCausationID && b.shape().causation:
			s.causation = text
		case key == metaUserName && b.shape().userName:
			s.userName = text
		default:
			headers[key] = value
		}
	}
	if len(headers) == 0 {
		return s, nil
	}
	if !b.shape().headers {
		return s, &eventstore.UnsupportedError{Feature: "Metadata", Reason: noHeaders}
	}
	text, err := json.Marshal(headers)
	if err != nil {
		return s, err
	}
	s.headers = pgtype.Text{String: string(text), Valid: true}
	return s, nil
}

const noHeaders = "mt_events has no column headers: the .NET application must set Events.MetadataConfig.HeadersEnabled and let Marten apply its schema"

// decodeMetadata puts the columns of an event together. Of .NET's headers those that are
// no texts read as their JSON.
func decodeMetadata(headers []byte, correlation, causation, userName *string) (map[string]string, error) {
	var values map[string]json.RawMessage
	if len(headers) > 0 {
		if err := json.Unmarshal(headers, &values); err != nil {
			return nil, fmt.Errorf("headers are no JSON object: %w", err)
		}
	}
	var metadata map[string]string
	set := func(key, value string) {
		if metadata == nil {
			metadata = make(map[string]string, len(values)+3)
		}
		metadata[key] = value
	}
	for key, value := range values {
		text := string(value)
		if text[0] == '"' { // not null, which the decoder takes for an empty text
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, fmt.Errorf("the header %.80q: %w", key, err)
			}
		}
		set(key, text)
	}
	for key, value := range map[string]*string{eventstore.MetaCorrelationID: correlation, eventstore.MetaCausationID: causation, metaUserName: userName} {
		if value != nil {
			set(key, *value)
		}
	}
	return metadata, nil
}

// checkJSON refuses what is valid JSON and no jsonb: the character NUL, halves of
// surrogate pairs, and numbers beyond numeric. It refuses numbers too that a jsonb can hold
// and nobody can read: it writes them without an exponent, 1e131000 as so many digits.
func checkJSON(data []byte) error {
	digits := 0
	for i := 0; i < len(data); {
		switch c := data[i]; {
		case c == '"':
			end, err := checkString(data, i+1)
			if err != nil {
				return err
			}
			i = end
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(data) && strings.IndexByte("0123456789.eE+-", data[end]) >= 0 {
				end++
			}
			n, err := checkNumber(string(data[i:end]))
			if err != nil {
				return err
			}
			if digits += n; digits > mostEventBytes {
				return fmt.Errorf("its numbers have more than %d digits where PostgreSQL's jsonb writes them without their exponents, so that it could not be read; write them as texts", mostEventBytes)
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

// checkString checks a JSON string from after its quote, and returns the index after it.
func checkString(data []byte, i int) (int, error) {
	high := false // the last thing was the first half of a pair
	for i < len(data) && data[i] != '"' {
		if data[i] != '\\' || i+1 >= len(data) || data[i+1] != 'u' || i+6 > len(data) {
			if high {
				return 0, fmt.Errorf(`it holds half of a surrogate pair before byte %d, which is no Unicode character`, i)
			}
			if i++; data[i-1] == '\\' {
				i++
			}
			continue
		}
		code, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		low := 0xDC00 <= code && code < 0xE000
		switch {
		case err != nil:
			return 0, err
		case code == 0:
			return 0, fmt.Errorf(`it holds \u0000 at byte %d, which PostgreSQL's jsonb cannot; remove it`, i)
		case high != low:
			return 0, fmt.Errorf(`it holds half of a surrogate pair at byte %d, which is no Unicode character`, i)
		}
		high = 0xD800 <= code && code < 0xDC00
		i += 6
	}
	if high {
		return 0, fmt.Errorf(`it holds half of a surrogate pair before byte %d, which is no Unicode character`, i)
	}
	return i + 1, nil
}

// What a numeric holds has so many digits before and after the point at most.
const (
	mostWhole    = 131_072
	mostFraction = 16_383
)

// checkNumber returns how many digits a number has without its exponent, about.
func checkNumber(text string) (digits int, err error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	e := 0
	if exponent != "" {
		if e, err = strconv.Atoi(exponent); err != nil || e > mostWhole || e < -mostWhole {
			return 0, fmt.Errorf("the number %.40s has an exponent that PostgreSQL's jsonb cannot hold; write it as a text", text)
		}
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	if len(whole)+e > mostWhole || len(fraction)-e > mostFraction {
		return 0, fmt.Errorf("the number %.40s has more digits than PostgreSQL's jsonb can hold; write it as a text", text)
	}
	return max(len(whole)+e, 1) + max(len(fraction)-e, 0), nil
}
