package dynamodbtest

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	emptyValue    = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
	severalValues = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
	tooDeep       = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
	badParameters = "One or more parameter values were invalid: "
)

func encodeBinary(b string) string { return base64.StdEncoding.EncodeToString([]byte(b)) }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (v *value) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	read, err := readValue(dec, 0)
	*v = read
	return err
}

// readValue reads {"S": "…"} and its siblings.
func readValue(dec *jsontext.Decoder, depth int) (value, error) {
	if err := open(dec, '{'); err != nil {
		return value{}, err
	}
	if dec.PeekKind() == '}' {
		return value{}, invalid(emptyValue)
	}
	name, err := dec.ReadToken()
	if err != nil {
		return value{}, malformed(err)
	}
	v, err := readTyped(dec, kind(name.String()), depth)
	if err != nil {
		return value{}, err
	}
	if dec.PeekKind() != '}' {
		return value{}, invalid(severalValues)
	}
	_, err = dec.ReadToken()
	return v, malformed(err)
}

func readTyped(dec *jsontext.Decoder, k kind, depth int) (value, error) {
	if dec.PeekKind() == 'n' { // {"B": null} is what clients make of a value that they forgot
		_, err := dec.ReadToken()
		return value{}, cmp.Or(malformed(err), error(invalid(emptyValue)))
	}
	if (k == kindL || k == kindM) && depth == maxNesting {
		return value{}, invalid(tooDeep)
	}
	switch k {
	case kindS, kindN, kindB:
		return readScalar(dec, k)
	case kindBool, kindNull:
		return readBool(dec, k)
	case kindSS, kindNS, kindBS:
		return readSet(dec, k)
	case kindL:
		v := value{kind: kindL}
		err := elements(dec, func() error {
			m, err := readValue(dec, depth+1)
			v.list = append(v.list, m)
			return err
		})
		return v, err
	case kindM:
		attrs, err := readAttributes(dec, depth+1)
		return value{kind: kindM, attrs: attrs}, err
	}
	return value{}, invalid(emptyValue) // an unknown kind is as good as none
}

func readScalar(dec *jsontext.Decoder, k kind) (value, error) {
	text, err := readString(dec)
	if err != nil {
		return value{}, err
	}
	switch k {
	case kindN:
		n, refused := parseNumber(text)
		if refused != nil {
			return value{}, refused
		}
		return value{kind: kindN, num: n}, nil
	case kindB:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return value{}, malformed(err)
		}
		return value{kind: kindB, bytes: string(b)}, nil
	default:
		return stringValue(text), nil
	}
}

func readBool(dec *jsontext.Decoder, k kind) (value, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return value{}, malformed(err)
	}
	if token.Kind() != 't' && token.Kind() != 'f' {
		return value{}, malformed(errors.New("not a boolean"))
	}
	yes := token.Bool()
	if k == kindNull && !yes {
		return value{}, invalid(badParameters + "Null attribute value types must have the value of true")
	}
	return value{kind: k, yes: yes}, nil
}

func readSet(dec *jsontext.Decoder, k kind) (value, error) {
	v := value{kind: k}
	seen := map[string]bool{}
	twice := false
	err := elements(dec, func() error {
		m, err := readScalar(dec, k.member())
		key := m.String()
		twice = twice || seen[key]
		seen[key] = true
		v.list = append(v.list, m)
		return err
	})
	switch {
	case err != nil:
		return value{}, err
	case len(v.list) == 0:
		name := map[kind]string{kindSS: "string", kindNS: "number", kindBS: "binary"}[k]
		return value{}, invalid(badParameters + "An " + name + " set  may not be empty") // the service's own spelling
	case twice:
		members := make([]string, len(v.list))
		for i, m := range v.list {
			members[i] = m.String()
		}
		return value{}, invalid(badParameters + "Input collection [" + strings.Join(members, ", ") + "] contains duplicates.")
	}
	return v, nil
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (it *item) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' { // as if it were not there
		_, err := dec.ReadToken()
		return malformed(err)
	}
	attrs, err := readAttributes(dec, 0)
	*it = attrs
	return err
}

func readAttributes(dec *jsontext.Decoder, depth int) (item, error) {
	if err := open(dec, '{'); err != nil {
		return nil, err
	}
	attrs := item{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, malformed(err)
		}
		key := name.String() // before the next read, which reuses the token's memory
		if key == "" {
			return nil, invalid(badParameters + "attribute names must not be empty")
		}
		v, err := readValue(dec, depth)
		if err != nil {
			return nil, err
		}
		attrs[key] = v
	}
	_, err := dec.ReadToken()
	return attrs, malformed(err)
}

func readString(dec *jsontext.Decoder) (string, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return "", malformed(err)
	}
	if token.Kind() != '"' {
		return "", malformed(errors.New("not a string"))
	}
	return token.String(), nil
}

func open(dec *jsontext.Decoder, want jsontext.Kind) error {
	token, err := dec.ReadToken()
	if err != nil {
		return malformed(err)
	}
	if token.Kind() != want {
		return malformed(fmt.Errorf("%v where %v is expected", token.Kind(), want))
	}
	return nil
}

func elements(dec *jsontext.Decoder, each func() error) error {
	if err := open(dec, '['); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if err := each(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return malformed(err)
}

// MarshalJSONTo implements json.MarshalerTo.
func (v value) MarshalJSONTo(enc *jsontext.Encoder) error {
	w := &writer{enc: enc}
	w.value(v)
	return w.err
}

// MarshalJSONTo implements json.MarshalerTo. Attributes are sorted by name, so
// that an answer is the same each time.
func (it item) MarshalJSONTo(enc *jsontext.Encoder) error {
	w := &writer{enc: enc}
	w.item(it)
	return w.err
}

// writer keeps the first error.
type writer struct {
	enc *jsontext.Encoder
	err error
}

func (w *writer) token(t jsontext.Token) {
	if w.err == nil {
		w.err = w.enc.WriteToken(t)
	}
}

func (w *writer) item(it item) {
	w.token(jsontext.BeginObject)
	for _, name := range slices.Sorted(maps.Keys(it)) {
		w.token(jsontext.String(name))
		w.value(it[name])
	}
	w.token(jsontext.EndObject)
}

func (w *writer) value(v value) {
	w.token(jsontext.BeginObject)
	w.token(jsontext.String(string(v.kind)))
	switch v.kind {
	case kindBool, kindNull:
		w.token(jsontext.Bool(v.yes))
	case kindM:
		w.item(v.attrs)
	case kindL, kindSS, kindNS, kindBS:
		w.token(jsontext.BeginArray)
		for _, m := range v.list {
			if v.kind == kindL {
				w.value(m)
			} else {
				w.token(jsontext.String(m.String()))
			}
		}
		w.token(jsontext.EndArray)
	case kindS, kindN, kindB:
		w.token(jsontext.String(v.String()))
	}
	w.token(jsontext.EndObject)
}
