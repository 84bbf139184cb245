package kafka_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAnIndexFileSavesTheFoldAndIsNeverTrustedBlindly(t *testing.T) {
	server := broker.Server(t)
	dir, elsewhere := t.TempDir(), t.TempDir()
	p, other := newPlace(t, server), newPlace(t, server)
	file, otherFile := filepath.Join(dir, p.store+".index"), filepath.Join(elsewhere, other.store+".index")
	fill := func(p place, dir string, n int) {
		_, store := p.open(t, kafka.Options{Index: dir})
		appendTo(t, store, "s", n)
		appendTo(t, store, "other-stream", 1)
		require.NoError(t, store.Close())
	}
	fill(p, dir, 80)
	fill(other, elsewhere, 90)
	older, err := os.ReadFile(file)
	require.NoError(t, err)
	fill(p, dir, 20)
	newest, err := os.ReadFile(file)
	require.NoError(t, err)
	foreign, err := os.ReadFile(otherFile)
	require.NoError(t, err)
	cold, store := p.open(t, kafka.Options{})
	_, want, _ := cold.Folded()
	require.NoError(t, store.Close())
	damaged := append([]byte(nil), newest...)
	damaged[len(damaged)/2] ^= 0x20
	restored := append([]byte(nil), newest...)
	restored[len("switchyard kafka index 1\n")] ^= 0x20 // of the sum of its log's last record
	for name, c := range map[string]struct {
		content []byte
		used    bool
	}{
		"the newest":           {newest, true},
		"an older one":         {older, true},
		"none":                 {nil, false},
		"an empty one":         {[]byte{}, false},
		"a torn one":           {newest[:len(newest)-100], false},
		"a damaged one":        {damaged, false},
		"one of another store": {foreign, false},
		"one of the same store with another last record": {restored, false},
		"something else":          {[]byte("hello"), false},
		"one with bytes after it": {append(append([]byte(nil), newest...), 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, p.store+".index")
			if c.content != nil {
				require.NoError(t, os.WriteFile(path, c.content, 0o600))
			}
			backend, store := p.open(t, kafka.Options{Index: dir})
			require.Equal(t, c.used, backend.Kept() > 0, "the log's beginning was not read")
			next, hash, counts := backend.Folded()
			require.EqualValues(t, 1+80+1+20+1, next)
			require.Equal(t, want, hash)
			require.EqualValues(t, 102, counts.Events)
			version, err := store.StreamVersion(t.Context(), "s")
			require.NoError(t, err)
			require.EqualValues(t, 100, version)
			read := 0
			for event, err := range store.ReadStream(t.Context(), "s", eventstore.ReadOptions{}) {
				require.NoError(t, err)
				read++
				require.EqualValues(t, read, event.Version)
			}
			require.Equal(t, 100, read)
			require.NoError(t, store.Close())
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.LessOrEqual(t, len(left), 1, "no temporary file is left")
		})
	}
	_, err = kafka.Open(t.Context(), p.brokers, p.store, &kafka.Options{Index: filepath.Join(dir, "missing")})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

func TestAnIndexFileOfALogThatWasReplacedIsOfNoUse(t *testing.T) {
	server := broker.Server(t)
	p, dir := newPlace(t, server), t.TempDir()
	_, store := p.open(t, kafka.Options{Index: dir})
	appendTo(t, store, "s", 5)
	require.NoError(t, store.Close())
	p2 := newPlace(t, server)
	require.NoError(t, os.Rename(filepath.Join(dir, p.store+".index"), filepath.Join(dir, p2.store+".index")))
	_, store = p2.open(t, kafka.Options{Index: dir})
	version, err := store.StreamVersion(t.Context(), "s")
	require.NoError(t, err)
	require.Zero(t, version)
}

func TestNobodyWaitsForTheIndexFile(t *testing.T) {
	p, dir := newPlace(t, broker.Server(t)), t.TempDir()
	backend, store := p.open(t, kafka.Options{Index: dir, Poll: 20 * time.Millisecond})
	_, other := p.open(t, kafka.Options{})
	writing, goOn := make(chan struct{}), make(chan struct{})
	reached, release := sync.OnceFunc(func() { close(writing) }), sync.OnceFunc(func() { close(goOn) })
	defer release()
	backend.HoldIndex(func() {
		reached()
		<-goOn
	})
	appendTo(t, store, "s", 1)
	<-writing
	appendTo(t, other, "s", 2)
	version, err := store.StreamVersion(t.Context(), "s") // what another has written, the tail has to fold
	require.NoError(t, err)
	require.EqualValues(t, 3, version)
	appendTo(t, store, "s", 1)
	release()
	require.NoError(t, store.Close())
	again, _ := p.open(t, kafka.Options{Index: dir})
	require.Positive(t, again.Kept(), "the log's beginning was not read")
	next, _, counts := again.Folded()
	require.EqualValues(t, 5, next)
	require.EqualValues(t, 4, counts.Events)
}
