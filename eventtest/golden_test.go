package eventtest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventtest"
)

// golden runs Golden with a file of its own, and returns what it fails with.
type golden struct{ path string }

func (g golden) check(t *testing.T, types ...codec.Type) string {
	t.Helper()
	c, err := codec.New[any](nil, types...)
	require.NoError(t, err)
	return failures(t, func(tb testing.TB) { eventtest.Golden(tb, c, g.path) })
}

func (g golden) update(t *testing.T, types ...codec.Type) string {
	t.Helper()
	require.NoError(t, flag.Set("update-events", "true"))
	defer func() { require.NoError(t, flag.Set("update-events", "false")) }()
	return g.check(t, types...)
}

func (g golden) text(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(g.path)
	require.NoError(t, err)
	return string(data)
}

func newGolden(t *testing.T, types ...codec.Type) golden {
	t.Helper()
	g := golden{filepath.Join(t.TempDir(), "testdata", "events.json")}
	require.Empty(t, g.update(t, types...))
	require.Empty(t, g.check(t, types...))
	return g
}

// The forms of a type as it is developed.
type (
	placed struct {
		Customer string `json:"customer"`
		Cents    int64  `json:"cents"`
	}
	placedMore struct {
		placed
		Note string `json:"note,omitempty"`
	}
	placedRenamed struct {
		Client string `json:"client"`
		Cents  int64  `json:"cents"`
	}
	placedRetyped struct {
		Customer string `json:"customer"`
		Cents    string `json:"cents"`
	}
	placedRemoved struct {
		Customer string `json:"customer"`
	}
)

func TestGoldenRefusesWhatCouldNotBeReadWhateverTheFlag(t *testing.T) {
	up := codec.Up(func(v placed) (placedRenamed, error) { return placedRenamed{v.Customer, v.Cents}, nil })
	before := []codec.Type{codec.Of[placedRenamed]("OrderPlaced", up, codec.Was("OrderMade")), codec.Of[half]("OrderHalved")}
	for name, c := range map[string]struct {
		now  []codec.Type
		text []string
	}{
		"a field is renamed": {
			[]codec.Type{codec.Of[placed]("OrderPlaced", codec.Up(func(v placed) (placed, error) { return v, nil }), codec.Was("OrderMade")), before[1]},
			[]string{"OrderMade@2: .client is gone; it was: string", "OrderPlaced@2: .client is gone; it was: string"},
		},
		"a field is removed": {
			[]codec.Type{codec.Of[placedRemoved]("OrderPlaced", codec.Up(func(placed) (placedRemoved, error) { return placedRemoved{}, nil }), codec.Was("OrderMade")), before[1]},
			[]string{"OrderPlaced@2: .cents is gone; it was: number"},
		},
		"a field is of another kind": {
			[]codec.Type{codec.Of[placedRenamed]("OrderPlaced", codec.Up(func(placedRetyped) (placedRenamed, error) { return placedRenamed{}, nil }), codec.Was("OrderMade")), before[1]},
			[]string{"OrderPlaced@1: .cents was: number; it is: string"},
		},
		"a version is gone": {
			[]codec.Type{codec.Of[placed]("OrderPlaced", codec.Was("OrderMade")), before[1]},
			[]string{"OrderPlaced@2 is gone", "OrderMade@2 is gone"},
		},
		"a type is gone": {before[:1], []string{"OrderHalved@1 is gone"}},
		"a type is renamed without its old name": {
			[]codec.Type{codec.Of[placedRenamed]("OrderCreated", up, codec.Was("OrderMade")), before[1]},
			[]string{"OrderPlaced@1 is gone", "OrderPlaced@2 is gone"},
		},
		"an old name is gone": {
			[]codec.Type{codec.Of[placedRenamed]("OrderPlaced", up), before[1]},
			[]string{"OrderMade@1 is gone", "OrderMade@2 is gone"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGolden(t, before...)
			text := g.text(t)
			for _, run := range []func(*testing.T, ...codec.Type) string{g.check, g.update, g.check} {
				failure := run(t, c.now...)
				require.Contains(t, failure, "stored events could not be read as they were written:")
				require.Contains(t, failure, "take it out of "+g.path+" by hand")
				for _, line := range c.text {
					require.Contains(t, failure, "\n\t"+line+"\n")
				}
				require.Equal(t, text, g.text(t), "the file stays as it is")
			}
		})
	}
}

func TestGoldenRefusesWhatIsNewUntilItIsUpdated(t *testing.T) {
	for name, c := range map[string]struct {
		now  []codec.Type
		text string
	}{
		"a field":   {[]codec.Type{codec.Of[placedMore]("OrderPlaced")}, "OrderPlaced@1: .note, string"},
		"a type":    {[]codec.Type{codec.Of[placed]("OrderPlaced"), codec.Of[half]("OrderHalved")}, "OrderHalved@1"},
		"a version": {[]codec.Type{codec.Of[placedRenamed]("OrderPlaced", codec.Up(func(placed) (placedRenamed, error) { return placedRenamed{}, nil }))}, "OrderPlaced@2"},
		"a name":    {[]codec.Type{codec.Of[placed]("OrderCreated", codec.Was("OrderPlaced"))}, "OrderCreated@1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGolden(t, codec.Of[placed]("OrderPlaced"))
			before := g.text(t)
			for range 2 {
				failure := g.check(t, c.now...)
				require.Equal(t, fmt.Sprintf("not in %s:\n\t%s\nRun the test with -update-events to write it there: what is stored so has to be read from then on.", g.path, c.text), failure)
			}
			require.Equal(t, before, g.text(t))
			require.Empty(t, g.update(t, c.now...))
			require.Empty(t, g.check(t, c.now...))
			require.NotEmpty(t, g.check(t, codec.Of[placedRemoved]("OrderPlaced")), "and stays from then on")
		})
	}
	missing := golden{filepath.Join(t.TempDir(), "none.json")}
	require.Contains(t, missing.check(t, codec.Of[placed]("OrderPlaced")), "not in "+missing.path)
	require.NoFileExists(t, missing.path)
}

// level refuses to encode what is none of its values.
type level string

func (l level) MarshalText() ([]byte, error) {
	if l != "high" && l != "low" {
		return nil, errors.New("no such level")
	}
	return []byte(l), nil
}

// grade accepts its zero value alone of what is made up.
type grade string

func (g grade) MarshalText() ([]byte, error) {
	if g == "x" {
		return nil, errors.New("no such grade")
	}
	return []byte(g), nil
}

// embedded is not exported, and its fields are part of who embeds it.
type embedded struct{ Inner int }

// everything has fields of every kind.
type everything struct {
	embedded
	Text     string `json:"text,omitempty"`
	Flag     *bool  `json:",omitempty"`
	Small    uint8
	Float    float32
	Quoted   int `json:",string"`
	Bytes    []byte
	Lines    []placed `json:"lines"`
	Matrix   [2][]int
	ByName   map[string]placed
	ByNumber map[int]bool
	At       time.Time `json:"at,omitzero"`
	ID       uuid.UUID `json:",omitzero"`
	Raw      json.RawMessage
	Number   json.Number
	Grade    grade
	Any      any
	Hidden   string `json:"-"`
	private  string
}

func TestTheShapeOfATypeIsWhatItsJSONCanHave(t *testing.T) {
	g := newGolden(t, codec.Of[everything]("E"), codec.Of[string]("S"), codec.Of[[]placed]("L"), codec.Of[struct{}]("N"), codec.Of[*placed]("P"), codec.Of[tree]("T"))
	require.JSONEq(t, `{
		"E@1": {
			".Inner": "number", ".text": "string", ".Flag": "bool", ".Small": "number", ".Float": "number", ".Quoted": "string", ".Bytes": "string",
			".lines": "array", ".lines[]": "object", ".lines[].customer": "string", ".lines[].cents": "number",
			".Matrix": "array", ".Matrix[]": "array", ".Matrix[][]": "number",
			".ByName": "object", ".ByName.*": "object", ".ByName.*.customer": "string", ".ByName.*.cents": "number",
			".ByNumber": "object", ".ByNumber.1": "bool",
			".at": "string", ".ID": "string", ".Raw": "any", ".Number": "number", ".Grade": "string", ".Any": "any"
		},
		"S@1": {".": "string"},
		"L@1": {".": "array", "[]": "object", "[].customer": "string", "[].cents": "number"},
		"N@1": {},
		"P@1": {".customer": "string", ".cents": "number"},
		"T@1": {".Name": "string", ".Children": "array", ".Children[]": "object", ".Children[].Name": "string"}
	}`, g.text(t))
	_ = everything{}.private
}

type leveled struct {
	Level level `json:"level"`
	Any   any
	Names map[string]int
}

func (leveled) cart() {}

func TestAnExampleTellsWhatATypeDoesNot(t *testing.T) {
	c := codec.Must(codec.New[Event](nil, codec.Of[leveled]("Leveled")))
	path := filepath.Join(t.TempDir(), "events.json")
	require.Contains(t, failures(t, func(tb testing.TB) { eventtest.Golden(tb, c, path) }), "no such level; give Golden an example")
	require.Contains(t, failures(t, func(tb testing.TB) { eventtest.Golden(tb, c, path, Event(leveled{})) }), "Leveled@1: encode an example")
	require.Contains(t, failures(t, func(tb testing.TB) { eventtest.Golden(tb, c, path, Event(Removed{})) }), "an example is of the Go type eventtest_test.Removed, which the codec does not know")
	example := leveled{Level: "high", Any: map[string]int{"a": 1}}
	text := failures(t, func(tb testing.TB) { eventtest.Golden(tb, c, path, Event(example)) })
	require.Contains(t, text, "Leveled@1")

	d := codec.Must(codec.New[Event](nil, codec.Of[Added]("Added")))
	require.NoError(t, os.WriteFile(path, []byte(`{"Added@1": {".item": "string", ".tags": "array", ".tags[]": "string", ".at": "string", ".Notes": "object", ".Notes.*": "string"}}`), 0o600))
	eventtest.Golden(t, d, path, Event(Added{Notes: map[string]string{"k": "v"}}))
}

func TestAGoldenFileThatIsNoneFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.json")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	c := codec.Must(codec.New[any](nil, codec.Of[placed]("OrderPlaced")))
	require.Contains(t, failures(t, func(tb testing.TB) { eventtest.Golden(tb, c, path) }), "golden events: "+path+": unexpected end of JSON input")
	require.Contains(t, failures(t, func(tb testing.TB) { eventtest.Golden(tb, c, filepath.Dir(path)) }), "golden events: ")
}
