package eventtest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// shape is what a type's JSON has: kinds by path, such as "number" at ".lines[].cents".
type shape map[string]string

// shapeOf returns the shape of a value of a type in which everything is filled in, and
// what examples add to it.
func shapeOf(t reflect.Type, examples []any) (shape, error) {
	v := reflect.New(t).Elem()
	var f filler
	f.fill(v, nil, false)
	s := make(shape)
	err := s.addJSON(v.Interface())
	switch {
	case len(examples) > 0: // they have what cannot be made up
	case err != nil:
		return nil, fmt.Errorf("a value that is made up cannot be encoded: %w; give Golden an example", err)
	case f.absent != "":
		return nil, fmt.Errorf("the field %s may be absent, and no value can be made up for it; give Golden an example that has it", f.absent)
	}
	for _, example := range examples {
		if err := s.addJSON(example); err != nil {
			return nil, fmt.Errorf("encode an example: %w", err)
		}
	}
	return s, nil
}

func (s shape) addJSON(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var decoded any
	if err := json.Unmarshal(data, &decoded); err != nil {
		return err
	}
	s.add("", decoded)
	return nil
}

// add notes the kind at a path, and what is below it. What is there already stays.
func (s shape) add(path string, decoded any) {
	switch v := decoded.(type) {
	case map[string]any:
		if path != "" {
			s.put(path, "object")
		}
		for name, member := range v {
			below := path + "." + name
			if _, anyName := s[path+"."+anyKey]; anyName { // of a map
				below = path + "." + anyKey
			}
			s.add(below, member)
		}
	case []any:
		s.put(path, "array")
		for _, element := range v {
			s.add(path+"[]", element)
		}
	case string:
		s.put(path, "string")
	case float64:
		s.put(path, "number")
	case bool:
		s.put(path, "bool")
	default:
		s.put(path, "any")
	}
}

func (s shape) put(path, kind string) {
	if path == "" {
		path = "." // the whole event
	}
	if _, there := s[path]; !there {
		s[path] = kind
	}
}

// anyKey stands for the keys of a map.
const anyKey = "*"

// filler puts something into every part of a value, so that none is left out of its JSON.
type filler struct {
	absent string // a field that is left out all the same
}

// anything is in an interface: its JSON tells no kind.
type anything struct{}

func (anything) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// fill fills a value. A type is filled once more within itself, where its fields may be
// other ones, such as those of a list; again is true there.
func (f *filler) fill(v reflect.Value, within []reflect.Type, again bool) {
	within = append(slices.Clip(within), v.Type())
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
		return
	case json.Number:
		v.SetString("1")
		return
	case json.RawMessage:
		v.SetBytes([]byte("null"))
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if slices.Contains(within, v.Type().Elem()) {
			if again {
				return
			}
			again = true
		}
	default:
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), within, again)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0), within, again)
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), within, again)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if f.fill(key, within, again); key.Kind() == reflect.String {
			key.SetString(anyKey)
		}
		f.fill(value, within, again)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		f.fillFields(v, within, again)
	case reflect.Interface:
		if some := reflect.ValueOf(anything{}); some.CanConvert(v.Type()) {
			v.Set(some)
		}
	default:
		fillBasic(v)
	}
	if encodesItself(v) {
		if _, err := json.Marshal(v.Interface()); err != nil {
			v.SetZero() // which it may accept
		}
	}
}

func (f *filler) fillFields(v reflect.Value, within []reflect.Type, again bool) {
	for i := range v.NumField() {
		switch field := v.Type().Field(i); {
		case field.IsExported():
			f.fill(v.Field(i), within, again)
			if !again && mayBeAbsent(field) && v.Field(i).IsZero() {
				f.absent = v.Type().String() + "." + field.Name
			}
		case field.Anonymous && field.Type.Kind() == reflect.Struct: // its exported fields are the outer's too
			f.fillFields(v.Field(i), within, again)
		}
	}
}

// mayBeAbsent tells whether encoding/json leaves a field out where it is zero.
func mayBeAbsent(field reflect.StructField) bool {
	_, list, _ := strings.Cut(field.Tag.Get("json"), ",")
	options := strings.Split(list, ",")
	return slices.Contains(options, "omitzero") || slices.Contains(options, "omitempty") && field.Type.Kind() != reflect.Struct
}

func fillBasic(v reflect.Value) {
	switch {
	case v.CanInt():
		v.SetInt(1)
	case v.CanUint():
		v.SetUint(1)
	case v.CanFloat():
		v.SetFloat(1)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.String:
		v.SetString("x")
	}
}

// encodesItself tells whether a value has a JSON form of its own.
func encodesItself(v reflect.Value) bool {
	switch v.Addr().Interface().(type) {
	case json.Marshaler, encoding.TextMarshaler:
		return true
	}
	return false
}
