package eventtest_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventtest"
)

// lost returns what Golden says of a type that was a From and is a To now.
func lost[From, To any](t *testing.T) string {
	t.Helper()
	g := newGolden(t, codec.Of[From]("E"))
	before := g.text(t)
	failure := g.check(t, codec.Of[To]("E"))
	if failure != "" {
		require.NotEmpty(t, g.update(t, codec.Of[To]("E")), "whatever the flag")
		require.Equal(t, before, g.text(t))
	}
	return failure
}

type (
	line    struct{ Item, Note string }
	lineNew struct{ Item string }
	tree    struct {
		Name     string
		Children []tree `json:",omitempty"`
	}
	treeNew struct{ Name string }
	list    struct {
		Name string
		Next *list `json:",omitempty"`
	}
	forest struct {
		Name  string
		Trees map[string]forest `json:",omitempty"`
	}
	colour string // which is red, or not given
	cents  struct{ n int64 }
)

func (c colour) MarshalText() ([]byte, error) {
	if c != "" && c != "red" {
		return nil, errors.New("no such colour")
	}
	return []byte(c), nil
}
func (c *colour) UnmarshalText([]byte) error { return nil }

func (c cents) MarshalJSON() ([]byte, error)     { return json.Marshal(c.n) }
func (c *cents) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &c.n) }

func TestGoldenSeesWhatIsGoneWhereverItIs(t *testing.T) {
	type empty struct{}
	for name, c := range map[string]struct{ text, want string }{
		"in a struct":           {lost[struct{ A line }, struct{ A lineNew }](t), "E@1: .A.Note is gone; it was: string"},
		"in a pointer":          {lost[struct{ A *line }, struct{ A *lineNew }](t), "E@1: .A.Note is gone; it was: string"},
		"in a slice":            {lost[struct{ A []line }, struct{ A []lineNew }](t), "E@1: .A[].Note is gone; it was: string"},
		"in a slice of slices":  {lost[struct{ A [][]line }, struct{ A [][]lineNew }](t), "E@1: .A[][].Note is gone; it was: string"},
		"in an array":           {lost[struct{ A [2]line }, struct{ A [2]lineNew }](t), "E@1: .A[].Note is gone; it was: string"},
		"in a map":              {lost[struct{ A map[string]line }, struct{ A map[string]lineNew }](t), "E@1: .A.*.Note is gone; it was: string"},
		"in a map of slices":    {lost[struct{ A map[int][]line }, struct{ A map[int][]lineNew }](t), "E@1: .A.1[].Note is gone; it was: string"},
		"in an embedded struct": {lost[struct{ line }, struct{ lineNew }](t), "E@1: .Note is gone; it was: string"},
		"in the event":          {lost[line, lineNew](t), "E@1: .Note is gone; it was: string"},
		"a slice that may be absent": {lost[struct {
			A []line `json:",omitempty"`
		}, empty](t), "E@1: .A is gone; it was: array"},
		"a pointer that may be absent": {lost[struct {
			A *int `json:",omitempty"`
		}, empty](t), "E@1: .A is gone; it was: number"},
		"a time that may be absent": {lost[struct {
			A time.Time `json:",omitzero"`
		}, empty](t), "E@1: .A is gone; it was: string"},
		"a list of its own type":    {lost[tree, treeNew](t), "E@1: .Children is gone; it was: array"},
		"a pointer to its own type": {lost[list, treeNew](t), "E@1: .Next is gone; it was: object"},
		"a map of its own type":     {lost[forest, treeNew](t), "E@1: .Trees is gone; it was: object"},
		"anything that may be absent": {lost[struct {
			A any `json:",omitempty"`
		}, empty](t), "E@1: .A is gone; it was: any"},
		"JSON that may be absent": {lost[struct {
			A json.RawMessage `json:",omitempty"`
		}, empty](t), "E@1: .A is gone; it was: any"},
		"a number of JSON that may be": {lost[struct {
			A json.Number `json:",omitempty"`
		}, empty](t), "E@1: .A is gone; it was: number"},
		"a form of its own": {lost[struct{ A cents }, empty](t), "E@1: .A is gone; it was: number"},
		"a form of its own, in a pointer": {lost[struct {
			A *cents `json:",omitempty"`
		}, empty](t), "E@1: .A is gone; it was: number"},
	} {
		t.Run(name, func(t *testing.T) { require.Contains(t, c.text, "\n\t"+c.want+"\n") })
	}
}

func TestGoldenSeesWhatIsOfAnotherKindWhereverItIs(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a slice was one":     {lost[struct{ A line }, struct{ A []line }](t), "E@1: .A was: object; it is: array"},
		"a map was a slice":   {lost[struct{ A []line }, struct{ A map[string]line }](t), "E@1: .A was: array; it is: object"},
		"elements":            {lost[struct{ A []int }, struct{ A []string }](t), "E@1: .A[] was: number; it is: string"},
		"values of a map":     {lost[struct{ A map[string]int }, struct{ A map[string]bool }](t), "E@1: .A.* was: number; it is: bool"},
		"keys of a map":       {lost[struct{ A map[string]int }, struct{ A map[int]int }](t), "E@1: .A.* is gone; it was: number"},
		"bytes were numbers":  {lost[struct{ A []int }, struct{ A []byte }](t), "E@1: .A was: array; it is: string"},
		"a time was a number": {lost[struct{ A int64 }, struct{ A time.Time }](t), "E@1: .A was: number; it is: string"},
		"a number in a string": {lost[struct{ A int64 }, struct {
			A int64 `json:",string"`
		}](t), "E@1: .A was: number; it is: string"},
		"a form of its own":          {lost[struct{ A cents }, struct{ A struct{ N int64 } }](t), "E@1: .A was: number; it is: object"},
		"anything becomes something": {lost[struct{ A any }, struct{ A string }](t), "E@1: .A was: any; it is: string"},
		"something becomes anything": {lost[struct{ A string }, struct{ A any }](t), "E@1: .A was: string; it is: any"},
		"embedded becomes a field":   {lost[struct{ line }, struct{ Line line }](t), "E@1: .Item is gone; it was: string"},
		"the whole event":            {lost[[]line, line](t), "E@1: . is gone; it was: array"},
		"of its own type, in the list": {lost[tree, struct {
			Name     string
			Children []struct{ Name int } `json:",omitempty"`
		}](t), "E@1: .Children[].Name was: string; it is: number"},
	} {
		t.Run(name, func(t *testing.T) { require.Contains(t, c.text, "\n\t"+c.want+"\n") })
	}
}

// What cannot be made up and is left out where it is zero would go unseen.
func TestAFieldThatMayBeAbsentAndCannotBeMadeUpNeedsAnExample(t *testing.T) {
	type (
		painted struct {
			Colour colour `json:",omitempty"`
		}
		priced struct {
			Price cents `json:",omitzero"`
		}
		shown struct {
			By interface{ Show() string } `json:",omitempty"`
		}
		coloured struct{ Colour colour }
		dear     struct {
			Price cents `json:",omitempty"`
		} // which a struct never is
	)
	for field, refused := range map[string]codec.Type{
		"painted.Colour": codec.Of[painted]("E"), "priced.Price": codec.Of[priced]("E"), "shown.By": codec.Of[shown]("E"),
	} {
		g := golden{filepath.Join(t.TempDir(), "events.json")}
		require.Contains(t, g.update(t, refused), field+" may be absent, and no value can be made up for it; give Golden an example that has it")
		require.NoFileExists(t, g.path)
	}
	newGolden(t, codec.Of[coloured]("E"), codec.Of[dear]("F"))

	path := filepath.Join(t.TempDir(), "events.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"E@1": {".Price": "number"}}`), 0o600))
	eventtest.Golden(t, codec.Must(codec.New[any](nil, codec.Of[priced]("E"))), path, any(priced{cents{1}}))
}
