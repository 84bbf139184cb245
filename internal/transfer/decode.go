package transfer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// Record is an event on its way into a store.
type Record struct {
	eventstore.Event
	Stream string
	// Version is the event's in its stream; 0 means the next one.
	Version uint64
	// RecordedAt is kept where the target can; nil means now.
	RecordedAt *time.Time
	// line is the event's in the file that it came from, position the one in the
	// store; the other is zero.
	line     int
	position eventstore.Position
	source   string
	// selection is the part of its store that the file is an export of.
	selection string

	// Of a record that the target takes in another form only: the record as it came,
	// the remedies, and why; that is nil where the whole stream takes the form. Data
	// may be base64 as JSON text, and apart says that the record stands in the stream
	// of refused events for the one that it was.
	was           *Record
	remedies      []Remedy
	reason        error
	base64, apart bool
	// assigned says that the version is not the record's, but the one that its stream
	// in the target comes to; stored that the target holds the event there already.
	assigned, stored bool
	broken           error // why a line is no event; Data is the line
	// other is what an earlier run may have made of the line: of one whose ID is no
	// UUID the event, or the line as a whole. passed says that the target holds it.
	other  *Record
	passed bool
	taken  *takenNameError // why the record cannot go by its stream's name
}

// from makes a Record of a stored event.
func from(event eventstore.RecordedEvent, source string) Record {
	return Record{
		Event: event.Event, Stream: event.Stream, Version: event.Version,
		RecordedAt: &event.RecordedAt, position: event.Position, source: source,
	}
}

// recorded is the event that a store with this record holds.
func (r Record) recorded() eventstore.RecordedEvent {
	return eventstore.RecordedEvent{Event: r.Event, Stream: r.Stream, Version: r.Version}
}

// origin is where the event is in the store that it came from.
func (r Record) origin() eventstore.Place {
	return eventstore.Place{Position: r.position, Stream: r.Stream, Version: r.Version, ID: r.ID}
}

// place says where the event came from, for errors.
func (r Record) place() string {
	if r.line > 0 {
		return fmt.Sprintf("line %d", r.line)
	}
	return fmt.Sprintf("event at version %d of stream %q", r.Version, clip(r.Stream))
}

// Parser reads lines. It is reusable and not safe for concurrent use.
type Parser struct {
	line, metadata scanner
	// anyID gives an event whose ID is not a UUID one that is always the same, and
	// keeps its own as metadata.
	anyID bool
}

// scanner is a decoder that is used again for each input.
type scanner struct {
	input   bytes.Reader
	decoder *jsontext.Decoder
}

func (s *scanner) start(text []byte, options jsontext.Options) *jsontext.Decoder {
	s.input.Reset(text)
	if s.decoder == nil {
		s.decoder = jsontext.NewDecoder(&s.input, options)
	} else {
		s.decoder.Reset(&s.input, options)
	}
	return s.decoder
}

// NewParser returns a Parser.
func NewParser() *Parser { return &Parser{} }

// allowDuplicates accepts names that occur twice inside data, which is stored as
// it is; a line's own names are checked here.
func allowDuplicates() jsontext.Options { return jsontext.AllowDuplicateNames(true) }

// Parse reads one line, with or without its line break. What CloudEvents calls
// the subject is the stream. An event of another origin keeps its source and
// its other attributes as metadata; nothing is dropped but the position, which
// is the new store's to give. An attribute that is null counts as absent, as
// CloudEvents has it. An event without data becomes JSON null, or no bytes where
// its content type is not JSON.
func (p *Parser) Parse(line []byte) (Record, error) {
	a, err := p.attributes(line)
	if err != nil {
		return Record{}, err
	}
	switch required := a.seen; {
	case required&seenSpecVersion == 0 || a.specVersion != "1.0":
		return Record{}, errors.New(`specversion is not "1.0"; give one CloudEvents 1.0 JSON object a line`)
	case required&seenID == 0:
		return Record{}, errors.New("id is missing; give a UUID")
	case a.wrongID != nil && !p.anyID:
		return Record{}, a.wrongID
	case required&seenSubject == 0:
		return Record{}, errors.New("subject is missing; give the stream ID")
	case required&seenType == 0:
		return Record{}, errors.New("type is missing; give the event type")
	}
	record := a.record
	record.source = a.source
	if record.ContentType == "" {
		record.ContentType = eventstore.JSONContentType
	}
	if record.Data, err = a.bytes(record.ContentType); err != nil {
		return Record{}, err
	}
	if a.wrongID != nil {
		if err := a.extension("id", a.wrongID.id); err != nil {
			return Record{}, err
		}
		record.ID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(a.source+"\x00"+a.wrongID.id))
	}
	if record.Metadata, err = p.allMetadata(&a); err == nil && a.wrongID != nil {
		was := record
		record.was, record.remedies, record.reason = &was, []Remedy{Rename}, a.wrongID
	}
	return record, err
}

func (p *Parser) attributes(line []byte) (attributes, error) {
	var a attributes
	d := p.line.start(line, allowDuplicates())
	token, err := d.ReadToken()
	if err != nil {
		return a, syntaxError(err)
	}
	if token.Kind() != '{' {
		return a, errors.New("it is not a JSON object; give one CloudEvents 1.0 JSON object a line")
	}
	for d.PeekKind() != '}' {
		if err := a.read(d); err != nil {
			return a, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return a, syntaxError(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return a, errors.New("something follows the JSON object; give one object a line")
	}
	return a, nil
}

// bytes returns the event's data.
func (a *attributes) bytes(contentType string) ([]byte, error) {
	isJSON := eventstore.Event{ContentType: contentType}.IsJSON()
	switch {
	case a.hasData && a.seen&seenBase64 != 0:
		return nil, errors.New("it has both data and data_base64; give one")
	case a.seen&seenBase64 != 0:
		data, err := base64.StdEncoding.Strict().AppendDecode(nil, a.base64)
		if err != nil {
			return nil, fmt.Errorf("data_base64: %w", err)
		}
		return data, nil
	case !a.hasData && isJSON:
		return []byte("null"), nil
	case !a.hasData || isJSON:
		return a.data, nil
	}
	if jsontext.Value(a.data).Kind() != '"' {
		return nil, fmt.Errorf("data of content type %q is not a JSON string; give a string, or data_base64", clip(contentType))
	}
	return unquote(a.data), nil
}

// allMetadata returns the metadata attribute and, of a foreign event, the
// attributes that would be lost otherwise.
func (p *Parser) allMetadata(a *attributes) (map[string]string, error) {
	metadata, err := p.parseMetadata(a.metadata, a.seen&seenMetadata != 0)
	if err != nil {
		return nil, err
	}
	if a.seen&seenSource != 0 && !strings.HasPrefix(a.source, cloudevents.SourcePrefix) {
		if err := a.extension("source", a.source); err != nil {
			return nil, err
		}
	}
	for name, value := range a.extensions {
		if other, twice := metadata[name]; twice && other != value {
			return nil, fmt.Errorf("attribute %q is in the metadata too, with another value", clip(name))
		}
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[name] = value
	}
	return metadata, nil
}

func (p *Parser) parseMetadata(text []byte, present bool) (map[string]string, error) {
	if !present {
		return nil, nil
	}
	wrong := errors.New("metadata is not a JSON object of texts, itself as a text")
	d := p.metadata.start(text, jsontext.AllowDuplicateNames(false))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return nil, wrong
	}
	metadata := make(map[string]string)
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			return nil, wrong
		}
		name := key.String()
		value, err := d.ReadToken()
		if err != nil || value.Kind() != '"' {
			return nil, wrong
		}
		metadata[name] = value.String()
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, wrong
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, wrong
	}
	return metadata, nil
}

// syntaxError says what is wrong with a line's JSON, without the parser's
// package name and without repeating the line.
func syntaxError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("the JSON ends early: %w", io.ErrUnexpectedEOF)
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) && syntactic.Err != nil {
		if strings.Contains(syntactic.Err.Error(), "surrogate") {
			return fmt.Errorf("it is not JSON: %w at byte %d; half of a surrogate pair is no Unicode text, so give such data as data_base64", syntactic.Err, syntactic.ByteOffset+1)
		}
		return fmt.Errorf("it is not JSON: %w at byte %d", syntactic.Err, syntactic.ByteOffset+1)
	}
	return fmt.Errorf("it is not JSON: %w", err)
}

// Count writes a number of things, whose name takes an s for all numbers but 1.
func Count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// clip shortens untrusted text for a message.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…" // not half a character
	}
	return s
}
