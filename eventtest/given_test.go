package eventtest_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventtest"
)

// Event is one of a cart's.
type Event interface{ cart() }

type (
	Added struct {
		Item  string    `json:"item"`
		Tags  []string  `json:"tags"`
		At    time.Time `json:"at"`
		Notes map[string]string
		note  string // which no encoding has
	}
	Removed struct{ Item string }
	Counted struct{ N *int }
)

func (Added) cart()    {}
func (Removed) cart()  {}
func (*Counted) cart() {}

func cartEvents(t testing.TB, more ...codec.Type) *codec.Codec[Event] {
	t.Helper()
	c, err := codec.New[Event](nil, append([]codec.Type{codec.Of[Added]("CartItemAdded"), codec.Of[Removed]("CartItemRemoved"), codec.Of[*Counted]("CartCounted")}, more...)...)
	require.NoError(t, err)
	return c
}

// Cart has everything that can be shared.
type Cart struct {
	items  map[string]int
	order  []string
	notes  map[string]string
	last   *Added
	weight float64
	onDone func()
}

func evolve(c Cart, e Event) Cart {
	c.items = maps.Clone(c.items)
	if c.items == nil {
		c.items, c.weight = make(map[string]int), math.NaN()
	}
	switch e := e.(type) {
	case Added:
		c.items[e.Item]++
		c.order = append(slices.Clip(c.order), e.Item)
		c.last, c.onDone = &e, func() {}
	case Removed:
		delete(c.items, e.Item)
		c.order = slices.DeleteFunc(slices.Clone(c.order), func(item string) bool { return item == e.Item })
	}
	return c
}

func carts(t testing.TB, evolve func(Cart, Event) Cart, opts *decider.Options) *decider.Decider[Cart, Event] {
	t.Helper()
	d, err := decider.New(eventtest.NewStore(t), cartEvents(t), evolve, opts)
	require.NoError(t, err)
	return d
}

var errFull = errors.New("the cart is full")

func decided(events ...Event) func(Cart) ([]Event, error) {
	return func(Cart) ([]Event, error) { return events, nil }
}

func refused(err error) func(Cart) ([]Event, error) {
	return func(Cart) ([]Event, error) { return nil, err }
}

var several = []Event{Added{Item: "a"}, Added{Item: "b"}, &Counted{N: new(2)}, Added{Item: "c"}, Removed{Item: "a"}, Added{Item: "d"}}

func TestADecisionIsTestedByItsEvents(t *testing.T) {
	for _, opts := range []*decider.Options{nil, {CacheSize: 2}} {
		d := carts(t, evolve, opts)
		eventtest.For(t, d).When(decided(Removed{Item: "a"}, &Counted{N: new(1)})).Then(Removed{Item: "a"}, &Counted{N: new(1)})
		eventtest.For(t, d).Given(several...).When(decided(several...)).Then(several...)
		eventtest.For(t, d).Given(several...).When(decided()).Then()
		eventtest.For(t, d).Given(several...).When(refused(errFull)).ThenError(errFull)
		given := eventtest.For(t, d).Given(slices.Repeat(several, 30)...)
		given.When(func(c Cart) ([]Event, error) {
			require.Len(t, c.order, 3*30)
			c.onDone()
			return []Event{Added{Item: c.order[0]}}, nil
		}).Then(Added{Item: "b"})
		require.NotEmpty(t, failures(t, func(t testing.TB) { eventtest.For(t, d).When(decided()) }))
	}
}

func TestSpecsThatBeginAlikeShareNothing(t *testing.T) {
	items := func(c Cart) ([]Event, error) { return []Event{Removed{strings.Join(c.order, "")}}, nil }
	begun := eventtest.For(t, carts(t, evolve, nil)).Given(Added{Item: "a"}).Given(Added{Item: "b"}).Given(Added{Item: "c"})
	longer := begun.Given(Added{Item: "d"})
	begun.Given(Removed{"a"}) // which takes no place of another one's
	longer.When(items).Then(Removed{"abcd"})
}

func TestADecisionThatIsNotAsWantedFails(t *testing.T) {
	for name, c := range map[string]struct {
		check func(eventtest.Spec[Cart, Event])
		text  string
	}{
		"another event": {
			func(s eventtest.Spec[Cart, Event]) {
				s.When(decided(Removed{"a"}, Removed{"b"})).Then(Removed{"a"}, Removed{"c"})
			},
			`decided were:
	eventtest_test.Removed{Item:"a"}
	eventtest_test.Removed{Item:"b"}
wanted were:
	eventtest_test.Removed{Item:"a"}
	eventtest_test.Removed{Item:"c"}
They differ in event 2, at .Item.`,
		},
		"another type": {
			func(s eventtest.Spec[Cart, Event]) { s.When(decided(Removed{"a"})).Then(Added{Item: "a"}) },
			"They differ in event 1, at the whole.",
		},
		"one too many": {
			func(s eventtest.Spec[Cart, Event]) { s.When(decided(Removed{"a"}, Removed{"b"})).Then(Removed{"a"}) },
			"decided were:\n\teventtest_test.Removed{Item:\"a\"}\n\teventtest_test.Removed{Item:\"b\"}\nwanted were:\n\teventtest_test.Removed{Item:\"a\"}",
		},
		"none": {
			func(s eventtest.Spec[Cart, Event]) { s.When(decided()).Then(Removed{"a"}) },
			"decided were:\n\tno events\nwanted were:\n\teventtest_test.Removed{Item:\"a\"}",
		},
		"an error": {
			func(s eventtest.Spec[Cart, Event]) { s.When(refused(errFull)).Then() },
			"the decision failed: the cart is full\nwanted were:\n\tno events",
		},
		"no error": {
			func(s eventtest.Spec[Cart, Event]) { s.When(decided(&Counted{})).ThenError(errFull) },
			"wanted was the error: the cart is full\ndecided were:\n\t&eventtest_test.Counted{N:(*int)(nil)}",
		},
		"another error": {
			func(s eventtest.Spec[Cart, Event]) { s.When(refused(errors.New("no"))).ThenError(errFull) },
			"wanted was the error: the cart is full\nthe decision failed with another one: no",
		},
		"what was not checked": {
			func(s eventtest.Spec[Cart, Event]) { s.When(decided(Removed{"a"})) },
			"a When was not checked: call Then or ThenError on what it returns",
		},
		"an event that the codec does not know": {
			func(s eventtest.Spec[Cart, Event]) { s.When(decided(nil)).Then() },
			"the event is nil",
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := failures(t, func(tb testing.TB) { c.check(eventtest.For(tb, carts(t, evolve, nil)).Given(several...)) })
			require.Contains(t, text, c.text)
		})
	}
}

func TestACodecThatLosesSomethingFails(t *testing.T) {
	d := carts(t, evolve, nil)
	now := time.Now()
	for name, c := range map[string]struct {
		event Event
		path  string
	}{
		"a field that is not encoded":     {Added{Item: "a", note: "n"}, "at .note:"},
		"an empty slice that becomes nil": {Added{Item: "a", Tags: []string{}}, ""}, // it does not: JSON has both
		"a time with the machine's clock": {Added{At: now}, "at .At."},
		"a time of UTC without clock":     {Added{At: now.UTC()}, ""},
		"a text that is no UTF-8":         {Added{Item: "\xff"}, "at .Item:"},
		"a map within":                    {Added{Notes: map[string]string{"k": "\xff"}}, "at .Notes[k]:"},
		"a pointer to another number":     {&Counted{N: new(3)}, ""},
		"everything that an encoding has": {Added{Item: "a", Tags: []string{"x"}, Notes: map[string]string{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			given := failures(t, func(tb testing.TB) { eventtest.For(tb, d).Given(Removed{"x"}, c.event).When(decided()).Then() })
			when := failures(t, func(tb testing.TB) { eventtest.For(tb, d).Given(Removed{"x"}).When(decided(c.event)).Then(c.event) })
			if c.path == "" {
				require.Empty(t, given+when)
				return
			}
			require.Contains(t, given, "event 2 that was given is not what was stored of it, "+c.path)
			require.Contains(t, when, "event 1 that was decided is not what was stored of it, "+c.path)
			require.Contains(t, when, "The codec loses something")
		})
	}
}

// half is an event that knows how to write itself, and does it wrongly.
type half struct{ A, B string }

func (half) cart() {}

func (h half) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]string{"A": h.A}) }

func TestACodecThatIgnoresWhatItWritesFails(t *testing.T) {
	c := codec.Must(codec.New[Event](nil, codec.Of[half]("Half")))
	d, err := decider.New(eventtest.NewStore(t), c, evolve, nil)
	require.NoError(t, err)
	require.Contains(t, failures(t, func(tb testing.TB) { eventtest.For(tb, d).Given(half{"a", "b"}).When(decided()).Then() }), "at .B:\n\t")
	require.Empty(t, failures(t, func(tb testing.TB) { eventtest.For(tb, d).Given(half{A: "a"}).When(decided()).Then() }))
}

func TestAnEvolveThatChangesItsStateFails(t *testing.T) {
	start := func(c Cart) Cart {
		if c.items == nil {
			c.items = make(map[string]int)
		}
		return c
	}
	for name, c := range map[string]struct {
		evolve func(Cart, Event) Cart
		text   string
	}{
		"a map": {func(c Cart, e Event) Cart {
			c = start(c)
			if added, ok := e.(Added); ok {
				c.items[added.Item]++
			}
			return c
		}, "evolve changes the state that it is given, at .items, with event 2"},
		"a map's member": {func(c Cart, _ Event) Cart {
			c = start(c)
			c.items["n"]++
			return c
		}, "at .items[n], with event 2"},
		"a map that came with an event": {func(c Cart, e Event) Cart {
			if added, ok := e.(Added); ok && added.Notes != nil {
				c.notes = added.Notes
			}
			if _, ok := e.(Removed); ok && c.notes != nil {
				c.notes["removed"] = "yes"
			}
			return c
		}, "at .notes"},
		"an element of a slice": {func(c Cart, e Event) Cart {
			switch e := e.(type) {
			case Added:
				c.order = append(slices.Clip(c.order), e.Item)
			case Removed:
				c.order[0] = "removed"
			}
			return c
		}, "at .order[0]"},
		"a slice with room, by appending": {func(c Cart, e Event) Cart {
			if added, ok := e.(Added); ok {
				c.order = append(c.order, added.Item)
			}
			return c
		}, "append to slices.Clip of it"},
		"what a pointer points to": {func(c Cart, e Event) Cart {
			if added, ok := e.(Added); ok {
				if c.last == nil {
					c.last = &added
				}
				c.last.Item = added.Item
			}
			return c
		}, "at .last.Item"},
		"with randomness": {func(c Cart, _ Event) Cart {
			c.weight = rand.Float64()
			return c
		}, "evolve makes two states of the same events, which differ at .weight, with event 1"},
	} {
		t.Run(name, func(t *testing.T) {
			history := func() []Event {
				return append([]Event{Added{Item: "x", Notes: map[string]string{"a": "b"}}}, several...)
			}
			text := failures(t, func(tb testing.TB) {
				eventtest.For(tb, carts(t, c.evolve, nil)).Given(history()...).When(decided()).Then()
			})
			require.Contains(t, text, c.text)
			text = failures(t, func(tb testing.TB) {
				eventtest.For(tb, carts(t, c.evolve, nil)).When(decided(history()...)).Then(history()...)
			})
			require.Contains(t, text, c.text, "of what was decided too")
		})
	}
}

func TestADecisionThatChangesItsStateFails(t *testing.T) {
	d := carts(t, evolve, nil)
	for what, decide := range map[string]func(Cart) ([]Event, error){
		".items":       func(c Cart) ([]Event, error) { delete(c.items, "b"); return nil, nil },
		".order[0]":    func(c Cart) ([]Event, error) { slices.Reverse(c.order); return []Event{Removed{"b"}}, nil },
		".last.Notes[": func(c Cart) ([]Event, error) { c.last.Notes["x"] = "y"; return nil, errFull },
	} {
		text := failures(t, func(tb testing.TB) {
			eventtest.For(tb, d).Given(append(several, Added{Item: "e", Notes: map[string]string{"x": "z"}})...).When(decide).ThenError(errFull)
		})
		require.Contains(t, text, "decide changes the state that it is given, at "+what)
	}
}

// Ring is a state that contains itself.
type Ring struct {
	next *Ring
	any  any
	n    int
}

func TestAStateMayContainItself(t *testing.T) {
	d, err := decider.New(eventtest.NewStore(t), cartEvents(t), func(r Ring, _ Event) Ring {
		ring := &Ring{n: r.n + 1}
		ring.next, ring.any = ring, []any{ring, map[string]any{"ring": ring}}
		return *ring
	}, nil)
	require.NoError(t, err)
	eventtest.For(t, d).Given(several...).When(func(r Ring) ([]Event, error) { return []Event{&Counted{N: &r.n}}, nil }).Then(&Counted{N: new(len(several))})
}

// parts has two slices of one array.
type parts struct{ First, All []string }

func (parts) cart() {}

func partsOf(all ...string) parts { return parts{First: all[:1], All: all} }

func TestASliceIsComparedAlsoAfterItsBeginning(t *testing.T) {
	c := codec.Must(codec.New[Event](nil, codec.Of[parts]("Parts")))
	d, err := decider.New(eventtest.NewStore(t), c, evolve, nil)
	require.NoError(t, err)
	require.Contains(t, failures(t, func(tb testing.TB) {
		eventtest.For(tb, d).When(decided(partsOf("a", "b"))).Then(partsOf("a", "c"))
	}), ".All[1]")
}
