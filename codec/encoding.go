package codec

import (
	"bytes"
	"cmp"
	"encoding/json"
	"mime"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Encoding turns a Go value into bytes and back. It is safe for concurrent use.
// Marshal of equal values gives equal bytes, or repeated appends are not recognised
// by content.
type Encoding interface {
	// ContentType is the media type of what Marshal writes. Unmarshal is given what
	// has it, whatever its parameters.
	ContentType() string
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into the value that v points to.
	Unmarshal(data []byte, v any) error
}

// JSON is encoding/json as it stands: nobody's bytes change under them.
func JSON() Encoding { return jsonEncoding{} }

type jsonEncoding struct{}

func (jsonEncoding) ContentType() string                { return eventstore.JSONContentType }
func (jsonEncoding) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonEncoding) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// isNull tells whether data is the null of JSON.
func isNull(encoding Encoding, data []byte) bool {
	if string(bytes.TrimSpace(data)) != "null" {
		return false
	}
	media, _, err := mime.ParseMediaType(encoding.ContentType())
	return err == nil && (media == eventstore.JSONContentType || strings.HasSuffix(media, "+json"))
}

// readers returns encodings by their content types: as they are, and without parameters.
func readers(encodings []Encoding) (map[string]Encoding, error) {
	all := make(map[string]Encoding)
	for i, encoding := range encodings {
		if encoding == nil {
			return nil, invalid("encoding %d is nil", i+1)
		}
		contentType := encoding.ContentType()
		media, _, err := mime.ParseMediaType(contentType)
		switch {
		case err != nil:
			return nil, invalid("encoding %d: %q is no media type", i+1, contentType)
		case all[media] != nil:
			return nil, invalid("the content type %q has two encodings", media)
		}
		all[media], all[contentType] = encoding, encoding
	}
	return all, nil
}

// reader finds the encoding that reads a content type, or nil.
func (c *Codec[E]) reader(contentType string) Encoding {
	contentType = cmp.Or(contentType, eventstore.JSONContentType)
	if encoding, ok := c.readers[contentType]; ok {
		return encoding
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil
	}
	return c.readers[media]
}
