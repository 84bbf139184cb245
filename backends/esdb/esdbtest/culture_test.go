package esdbtest

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/stretchr/testify/require"
)

// The first rows were recorded from a real server; see testdata/README.md.
func TestPrefixesAreComparedByCulture(t *testing.T) {
	for _, row := range []struct {
		text, prefix string
		want         bool
	}{
		{"Cafe-1", "Cafe", true},
		{"Caf\u00e9-1", "Cafe", false},
		{"Cafe\u0301-1", "Cafe", false},
		{"Cafe\u0301-1", "Caf", true},
		{"Cafe\u0301-1", "Caf\u00e9", true},
		{"Caf\u00e9-1", "Cafe\u0301", true},
		{"Cafe\u200d-1", "Cafe-", true},
		{"Caf\u00ade-1", "Cafe", true},
		{"Cafe-1", "Caf\u00ade", true},
		{"Cafe\u0000-1", "Cafe-", true},
		{"CAFE-1", "Cafe", false},
		{"Ca-fe", "Cafe", false},
		{"Ca-fe", "Caf", false},
		{"Cafe-1", "", true},
		{"e\u0301", "\u00ad", true}, // nothing to see in the prefix
		{"Cafe", "Cafe\u00ad", true},
		{"Cafe\n1", "Cafe1", false}, // white space is seen
		{"\u0928\u0947-1", "\u0928", false},
		{"Caf", "Cafe", false},
		{"Cafe", "Cafe", true},
		{"Cafe\u0301", "Cafe\u0301", true},
		{"C\u00adafe-1", "Cab", false},
	} {
		prefix := newCulturalPrefix(row.prefix)
		require.Equal(t, row.want, prefix.begins(row.text), "%q begins with %q", row.text, row.prefix)
	}
}

func TestPrefixesAreComparedByBytesWhereTheServerHasNoCultures(t *testing.T) {
	for ordinal, want := range map[bool]bool{false: false, true: true} {
		srv := &Server{opts: Options{OrdinalPrefixes: ordinal}}
		f, err := srv.parseFilter(&streams.ReadReq_Options{FilterOption: &streams.ReadReq_Options_Filter{
			Filter: &streams.ReadReq_Options_FilterOptions{
				Filter: &streams.ReadReq_Options_FilterOptions_StreamIdentifier{
					StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"Cafe"}},
				},
				Window: &streams.ReadReq_Options_FilterOptions_Max{Max: 1},
			},
		}})
		require.NoError(t, err)
		require.Equal(t, want, f.matches(&record{stream: "Cafe\u0301"}))
		require.True(t, f.matches(&record{stream: "Cafe-1"}))
	}
}
