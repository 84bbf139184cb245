package eventtest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/codec"
)

//nolint:gochecknoglobals // a flag of a test has to be there before its main function runs
var updateEvents = flag.Bool("update-events", false, "write new event types and fields to the files that eventtest.Golden compares with")

// Golden compares the form of every version of every type of a codec, under each of its
// names, with a file: the fields that encoding/json gives its Go type, and the JSON kind
// of each: object, array, string, number, bool, or any where the type does not tell.
//
// It compares no more than kinds. Types of one kind are the same to it, also where one
// does not read what the other wrote: int64 and int8 or uint64, a float and an integer, a
// string and a time or bytes, arrays of several lengths. After such a change decode an
// event of before in a test, or make it a new version with codec.Up.
//
// A field that is gone or of another kind, or a version or a name that is gone, fails
// whatever the flag, because stored events would not be read as they were written. New
// fields and types fail until the test is run with -update-events, which writes them.
//
// The form is that of a value which is made up, with something in each of its fields, also
// in those that are left out where they are empty. Examples are events that have what a Go
// type does not tell, such as the values of a field that is an interface. They are needed
// for a type that has a JSON form of its own and refuses to encode what is made up, and for
// a field that is left out all the same.
func Golden[E any](t testing.TB, c *codec.Codec[E], path string, examples ...E) {
	t.Helper()
	now, err := shapes(c, examples)
	if err != nil {
		t.Fatalf("golden events: %v", err)
	}
	stored, err := readShapes(path)
	if err != nil {
		t.Fatalf("golden events: %v", err)
	}
	lost, added := compareShapes(stored, now)
	switch {
	case len(lost) > 0:
		t.Errorf("stored events could not be read as they were written:\n\t%s\nKeep what is there: give the type a new version with codec.Up, or the old name with codec.Was. "+
			"Only where no store has such an event, take it out of %s by hand.", strings.Join(lost, "\n\t"), path)
	case len(added) > 0 && !*updateEvents:
		t.Errorf("not in %s:\n\t%s\nRun the test with -update-events to write it there: what is stored so has to be read from then on.", path, strings.Join(added, "\n\t"))
	case len(added) > 0:
		if err := writeShapes(path, now); err != nil {
			t.Fatalf("golden events: %v", err)
		}
	}
}

// compareShapes says what of the stored shapes is not there now, and what is new.
func compareShapes(stored, now map[string]shape) (lost, added []string) {
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		if _, known := now[name]; !known {
			lost = append(lost, name+" is gone")
			continue
		}
		for _, field := range slices.Sorted(maps.Keys(stored[name])) {
			switch was, is := stored[name][field], now[name][field]; is {
			case was:
			case "":
				lost = append(lost, fmt.Sprintf("%s: %s is gone; it was: %s", name, field, was))
			default:
				lost = append(lost, fmt.Sprintf("%s: %s was: %s; it is: %s", name, field, was, is))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, known := stored[name]; !known {
			added = append(added, name)
			continue
		}
		for _, field := range slices.Sorted(maps.Keys(now[name])) {
			if _, known := stored[name][field]; !known {
				added = append(added, fmt.Sprintf("%s: %s, %s", name, field, now[name][field]))
			}
		}
	}
	return lost, added
}

func readShapes(path string) (map[string]shape, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var stored map[string]shape
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return stored, nil
}

func writeShapes(path string, now map[string]shape) error {
	data, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o600)
}

// shapes returns the shape of each version of each name, such as OrderPlaced@2.
func shapes[E any](c *codec.Codec[E], examples []E) (map[string]shape, error) {
	byType := make(map[reflect.Type][]any)
	for _, schema := range c.Schemas() {
		byType[schema.Type] = nil
	}
	for _, example := range examples {
		goType := reflect.TypeOf(example)
		if _, known := byType[goType]; !known {
			return nil, fmt.Errorf("an example is of the Go type %v, which the codec does not know", goType)
		}
		byType[goType] = append(byType[goType], example)
	}
	all := make(map[string]shape)
	for _, schema := range c.Schemas() {
		name := fmt.Sprintf("%s@%d", schema.Name, schema.Version)
		var err error
		if all[name], err = shapeOf(schema.Type, byType[schema.Type]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}
