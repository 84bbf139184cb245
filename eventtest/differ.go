package eventtest

import (
	"fmt"
	"math"
	"reflect"
)

// differ returns where two values differ, such as ".Lines[2].Cents", or nil. Otherwise
// than for reflect.DeepEqual, a NaN is equal to a NaN and a function to a function.
func differ(a, b any) *string { return compare(a, b, false) }

// changed is differ for a state and what it was before: it compares slices up to their
// capacity, because appending to one writes there.
func changed(a, b any) *string { return compare(a, b, true) }

func compare(a, b any, room bool) *string {
	c := comparison{room: room, seen: make(map[pair]bool)}
	if path, different := c.compare("", reflect.ValueOf(a), reflect.ValueOf(b)); different {
		if path == "" {
			path = "the whole"
		}
		return &path
	}
	return nil
}

// comparison is one of two values. It knows what it has met, for those that contain
// themselves.
type comparison struct {
	room bool
	seen map[pair]bool
}

type pair struct {
	a, b   uintptr
	length int
	goType reflect.Type
}

func (c *comparison) compare(path string, a, b reflect.Value) (string, bool) {
	if !a.IsValid() || !b.IsValid() || a.Type() != b.Type() {
		return path, a.IsValid() || b.IsValid()
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface, reflect.Func:
		if a.IsNil() || b.IsNil() {
			return path, a.IsNil() != b.IsNil()
		}
	default:
	}
	if c.met(a, b) {
		return "", false
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		return c.compare(path, a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if at, different := c.compare(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i)); different {
				return at, true
			}
		}
	case reflect.Slice:
		if a.Len() != b.Len() {
			return path, true
		}
		if n := min(a.Cap(), b.Cap()); c.room {
			a, b = a.Slice(0, n), b.Slice(0, n)
		}
		return c.elements(path, a, b)
	case reflect.Array:
		return c.elements(path, a, b)
	case reflect.Map:
		return c.members(path, a, b)
	case reflect.Float32, reflect.Float64:
		return path, a.Float() != b.Float() && (!math.IsNaN(a.Float()) || !math.IsNaN(b.Float()))
	case reflect.Func:
	default:
		return path, !a.Equal(b)
	}
	return "", false
}

// met tells whether two values that can contain themselves are being compared already.
func (c *comparison) met(a, b reflect.Value) bool {
	p := pair{goType: a.Type()}
	switch a.Kind() {
	case reflect.Slice:
		p.length = a.Len()
		fallthrough
	case reflect.Pointer, reflect.Map:
		p.a, p.b = a.Pointer(), b.Pointer()
	default:
		return false
	}
	before := c.seen[p]
	c.seen[p] = true
	return before
}

func (c *comparison) elements(path string, a, b reflect.Value) (string, bool) {
	for i := range a.Len() {
		if at, different := c.compare(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); different {
			return at, true
		}
	}
	return "", false
}

func (c *comparison) members(path string, a, b reflect.Value) (string, bool) {
	if a.Len() != b.Len() {
		return path, true
	}
	for _, key := range a.MapKeys() {
		if at, different := c.compare(fmt.Sprintf("%s[%v]", path, key), a.MapIndex(key), b.MapIndex(key)); different {
			return at, true
		}
	}
	return "", false
}

// show is a value in Go's syntax.
func show(v any) string {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		return fmt.Sprintf("&%#v", p.Elem())
	}
	return fmt.Sprintf("%#v", v)
}
