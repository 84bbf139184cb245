package eventtest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// shape is what a type's JSON has: kinds by path, such as "number" at ".lines[].cents".
type shape map[string]string

// shapeOf returns the shape of a value of a type in which everything is filled in, and
// what examples add to it.
func shapeOf(t reflect.Type, examples []any) (shape, error) {
	v := reflect.New(t).Elem()
	fill(v, nil)
	s := make(shape)
	err := s.addJSON(v.Interface())
	if err != nil && len(examples) == 0 {
		return nil, fmt.Errorf("a value that is made up cannot be encoded: %w; give Golden an example", err)
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

// fill puts something into every part of a value, so that none is left out of its JSON.
// A type within itself stays empty, and so does an interface.
func fill(v reflect.Value, within []reflect.Type) {
	within = append(slices.Clip(within), v.Type())
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
		return
	case json.Number:
		v.SetString("1")
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if slices.Contains(within, v.Type().Elem()) {
			return
		}
	default:
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), within)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), within)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), within)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if fill(key, within); key.Kind() == reflect.String {
			key.SetString(anyKey)
		}
		fill(value, within)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		fillFields(v, within)
	default:
		fillBasic(v)
	}
	if encodesItself(v) {
		if _, err := json.Marshal(v.Interface()); err != nil {
			v.SetZero() // which it may accept
		}
	}
}

func fillFields(v reflect.Value, within []reflect.Type) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		switch {
		case field.IsExported():
			fill(v.Field(i), within)
		case field.Anonymous && field.Type.Kind() == reflect.Struct: // its exported fields are the outer's too
			fillFields(v.Field(i), within)
		}
	}
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
