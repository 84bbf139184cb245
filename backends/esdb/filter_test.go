package esdb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// What a filter of the server's lets through too much is passed over here, so no result
// shows it, and the server sends all of it.
func TestTheServerSendsWhatAFilterSelectsAndNoMore(t *testing.T) {
	streams := []string{
		"Cafe-1", "Cafe", "Cafe\u0301-1", "Ca\u00adfe-1", "cafe-1", "Cafes-1", "xCafe-1", "x-Cafe-1",
		"a.b-1", "aXb-1", "xa.b-1", `a|b(c)[d]*+?^${}\-1`, "a", "a b#c-1", "ab", "\U0001f600-1",
	}
	types := []string{"T.p", "Txp", "T.pe", "xT.p", "T|p", "T", "p"}
	for _, namespace := range []string{"", "shop"} {
		_, b := openDouble(t, nil, "&namespace="+namespace)
		type sent struct{ stream, eventType string }
		var all []sent
		for i, stream := range streams {
			event := proposed{eventType: types[i%len(types)], data: []byte("{}")}
			// Another namespace's name ends as this one's does.
			for _, name := range []string{b.names.prefix() + stream, "x" + b.names.prefix() + stream} {
				_, _, err := b.conn.appendTo(t.Context(), name, anyVersion, []proposed{event})
				require.NoError(t, err)
				all = append(all, sent{name, event.eventType})
			}
		}
		filters := []eventstore.Filter{{Categories: []string{"a"}, StreamPrefixes: []string{"b"}}, {Types: types[:3]}}
		for _, stream := range streams {
			category := eventstore.Category(stream)
			filters = append(filters, eventstore.Filter{StreamPrefixes: []string{stream}}, eventstore.Filter{StreamPrefixes: []string{category}},
				eventstore.Filter{Categories: []string{category}}, eventstore.Filter{Categories: []string{category, "Cafe"}, StreamPrefixes: []string{stream, "Ca"}})
		}
		for _, eventType := range types {
			filters = append(filters, eventstore.Filter{Types: []string{eventType}})
		}
		for _, filter := range filters {
			var want, got []sent
			for _, event := range all {
				stream, ok := b.names.visible(event.stream)
				if len(filter.Types) > 0 { // the server takes one kind of filter, so types are of all namespaces
					stream, ok = event.stream, true
				}
				if ok && filter.Match(stream, event.eventType) {
					want = append(want, event)
				}
			}
			err := b.conn.readAll(t.Context(), eventstore.Position{}, false, b.names.filter(filter), 1000, func(read *recorded) bool {
				if read.stream != b.names.identity() {
					got = append(got, sent{read.stream, read.eventType})
				}
				return true
			})
			require.NoError(t, err)
			require.Equal(t, want, got, "namespace %q, filter %+v", namespace, filter)
		}
	}
}
