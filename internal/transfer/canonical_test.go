package transfer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestEqualJSONHasOneForm(t *testing.T) {
	for _, equal := range [][]string{
		{`{"a":1,"b":2}`, `{ "b": 2, "a": 1 }`, `{"a":7,"b":2,"a":1}`},
		{`110`, `1.10e2`, `11e1`, `110.0`, `1100E-1`},
		{`0`, `-0`, `0.0`, `0e9`},
		{`9007199254740993`, `9007199254740993.0`},
		{`"é<"`, `"\u00e9\u003c"`},
		{`[1,{"x":null}]`, `[ 1.0, {"x" : null} ]`},
	} {
		for _, text := range equal {
			require.Equal(t, string(canonicalJSON([]byte(equal[0]))), string(canonicalJSON([]byte(text))), text)
		}
	}
	for _, different := range [][2]string{
		{`9007199254740993`, `9007199254740992`}, {`[1,2]`, `[2,1]`}, {`"1"`, `1`}, {`{"a":1}`, `{"a":1,"b":null}`}, {`1e1`, `1e2`}, {`-1`, `1`}, {`"\ue000"`, `"e"`},
	} {
		require.NotEqual(t, string(canonicalJSON([]byte(different[0]))), string(canonicalJSON([]byte(different[1]))))
	}
}

func TestAnEventWithoutAContentTypeIsJSON(t *testing.T) {
	none := eventstore.RecordedEvent{Event: eventstore.Event{Type: "T", Data: []byte("1")}}
	says, bytes := none, none
	says.ContentType, bytes.ContentType = eventstore.JSONContentType, "application/octet-stream"
	require.Empty(t, Difference(none, says, false))
	require.Equal(t, eventDigest(none, false), eventDigest(says, false))
	require.Equal(t, "content type", Difference(none, bytes, false))
	require.NotEqual(t, eventDigest(none, false), eventDigest(bytes, false))
}

// jsonOnly is a store that keeps JSON and not its bytes.
type jsonOnly struct{ eventstore.Backend }

func (j jsonOnly) Capabilities() eventstore.Capabilities {
	caps := j.Backend.Capabilities()
	caps.ExactData = eventstore.No("this double keeps JSON")
	return caps
}

func TestStoresOfWhichOneKeepsJSONAreComparedAsJSON(t *testing.T) {
	for name, test := range map[string]struct {
		one, other string
		equal      bool
	}{
		"other bytes":  {`{"a": 1.0, "b": 2}`, `{"b":2,"a":1}`, true},
		"other values": {`{"a": 1}`, `{"a":2}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			id := newStore(t, nil)
			inexact, err := eventstore.New(jsonOnly{memory.New()}, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, inexact.Close()) })
			event := eventstore.Event{ID: [16]byte{1}, Type: "T", Data: []byte(test.one)}
			_, err = id.Append(t.Context(), "a", eventstore.NoStream(), event)
			require.NoError(t, err)
			event.Data = []byte(test.other)
			_, err = inexact.Append(t.Context(), "a", eventstore.NoStream(), event)
			require.NoError(t, err)
			report, err := Verify(t.Context(), id, inexact, nil)
			require.NoError(t, err)
			require.True(t, report.AsJSON)
			require.Equal(t, test.equal, report.Equal())
			require.Equal(t, test.equal, report.A.Digest == report.B.Digest)
			if !test.equal {
				require.Equal(t, "data", report.First.Field)
			}
		})
	}
}
