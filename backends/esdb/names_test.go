package esdb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAStoreWithoutANamespaceHidesWhatIsNotItsOwn(t *testing.T) {
	all, err := newNames("")
	require.NoError(t, err)
	test, err := newNames(testPrefix + "1")
	require.NoError(t, err)
	for name, shown := range map[string]bool{
		"order-1":                   true,
		"orders:order-1":            true, // another namespace
		"switchyard-1":              true,
		"$stats":                    false,
		"switchyard::identity":      false,
		"switchyard-test-1:order-1": false,
	} {
		_, ok := all.visible(name)
		require.Equal(t, shown, ok, name)
		_, err := all.writable(name)
		if shown {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, eventstore.ErrInvalid, name)
		}
	}
	stream, ok := test.visible("switchyard-test-1:order-1")
	require.True(t, ok, "a conformance run sees its own")
	require.Equal(t, "order-1", stream)
	name, err := test.writable("switchyard-test-1:x")
	require.NoError(t, err)
	require.Equal(t, "switchyard-test-1:switchyard-test-1:x", name)
}
