package shred_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/shred"
)

// keyStores opens each kind of key store, as so many processes would.
func keyStores(t *testing.T) map[string]func(processes int) []shred.KeyStore {
	return map[string]func(int) []shred.KeyStore{
		"memory": func(n int) []shred.KeyStore {
			return repeat(n, func(keys shred.KeyStore) shred.KeyStore { return keys }, new(shred.MemoryKeys))
		},
		"caches": func(n int) []shred.KeyStore {
			return repeat(n, func(keys shred.KeyStore) shred.KeyStore { return shred.NewCache(keys, nil) }, new(shred.MemoryKeys))
		},
		"SQL": func(n int) []shred.KeyStore {
			path := filepath.Join(t.TempDir(), "keys.db")
			return repeat(n, func(shred.KeyStore) shred.KeyStore {
				db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, db.Close()) })
				keys, err := OpenSQLKeys(t.Context(), db)
				require.NoError(t, err)
				return keys
			}, nil)
		},
	}
}

func repeat(n int, open func(shred.KeyStore) shred.KeyStore, shared shred.KeyStore) []shred.KeyStore {
	var stores []shred.KeyStore
	for range n {
		stores = append(stores, open(shared))
	}
	return stores
}

func TestASubjectHasOneKeyAndAfterDeleteNone(t *testing.T) {
	for name, open := range keyStores(t) {
		t.Run(name, func(t *testing.T) {
			ctx, keys := t.Context(), open(1)[0]
			_, err := keys.Key(ctx, "a", false)
			require.ErrorIs(t, err, shred.ErrNoKey)
			made, err := keys.Key(ctx, "a", true)
			require.NoError(t, err)
			require.NotZero(t, [32]byte(made))
			for _, create := range []bool{true, false} {
				again, err := keys.Key(ctx, "a", create)
				require.NoError(t, err)
				require.Equal(t, made, again)
			}
			other, err := keys.Key(ctx, "b", true)
			require.NoError(t, err)
			require.NotEqual(t, made, other)
			for range 2 {
				require.NoError(t, keys.Delete(ctx, "a"))
				require.NoError(t, keys.Delete(ctx, "never had one"))
			}
			for _, subject := range []string{"a", "never had one"} {
				for _, create := range []bool{true, false, true} {
					_, err := keys.Key(ctx, subject, create)
					require.ErrorIs(t, err, shred.ErrShredded)
				}
			}
			still, err := keys.Key(ctx, "b", false)
			require.NoError(t, err)
			require.Equal(t, other, still)
		})
	}
}

// What each process is given before the key is deleted is the one key; afterwards it
// is given none.
func TestProcessesThatMakeAKeyAtOnceGetTheSameAndNoneAfterDelete(t *testing.T) {
	for name, open := range keyStores(t) {
		t.Run(name, func(t *testing.T) {
			stores := open(4)
			for round := range 20 {
				subject := fmt.Sprint("s", round)
				var mu sync.Mutex
				given := make(map[shred.Key]int)
				var refused []error
				var working sync.WaitGroup
				for i, keys := range stores {
					working.Go(func() {
						var deleted error
						if i == 0 && round%2 == 1 {
							deleted = keys.Delete(t.Context(), subject)
						}
						key, err := keys.Key(t.Context(), subject, true)
						mu.Lock()
						defer mu.Unlock()
						if err := errors.Join(deleted, err); err != nil {
							refused = append(refused, err)
						} else {
							given[key]++
						}
					})
				}
				working.Wait()
				for _, err := range refused {
					require.ErrorIs(t, err, shred.ErrShredded)
				}
				require.LessOrEqual(t, len(given), 1)
				if round%2 == 0 {
					require.Len(t, given, 1)
					require.Empty(t, refused)
					continue
				}
				_, err := stores[0].Key(t.Context(), subject, true)
				require.ErrorIs(t, err, shred.ErrShredded)
			}
		})
	}
}

// counted counts the questions that reach a key store.
type counted struct {
	shred.KeyStore
	asked  int
	before func() // the answer
	fail   error
}

func (c *counted) Key(ctx context.Context, subject string, create bool) (shred.Key, error) {
	c.asked++
	key, err := c.KeyStore.Key(ctx, subject, create)
	if c.before != nil {
		c.before()
	}
	return key, errors.Join(err, c.fail)
}

func TestACacheAsksAgainOnceItsAnswerHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, below := t.Context(), &counted{KeyStore: new(shred.MemoryKeys)}
		cache := shred.NewCache(below, &shred.CacheOptions{TTL: time.Minute})
		first, err := cache.Key(ctx, "a", true)
		require.NoError(t, err)
		<-time.After(time.Minute - 1)
		again, err := cache.Key(ctx, "a", false)
		require.NoError(t, err)
		require.Equal(t, first, again)
		require.Equal(t, 1, below.asked)
		require.NoError(t, below.Delete(ctx, "a"), "another process does")
		_, err = cache.Key(ctx, "a", true)
		require.NoError(t, err, "which is not noticed yet")
		<-time.After(1)
		for range 2 {
			_, err = cache.Key(ctx, "a", true)
			require.ErrorIs(t, err, shred.ErrShredded)
		}
		require.Equal(t, 2, below.asked, "that a key was deleted is held too")
	})
}

func TestACacheHoldsItsSizeAndNoFailures(t *testing.T) {
	ctx, below := t.Context(), &counted{KeyStore: new(shred.MemoryKeys)}
	cache := shred.NewCache(below, &shred.CacheOptions{Size: 2})
	ask := func(subject string) int {
		before := below.asked
		_, err := cache.Key(ctx, subject, true)
		require.NoError(t, err)
		return below.asked - before
	}
	require.Equal(t, []int{1, 1, 0, 1, 0, 1}, []int{ask("a"), ask("b"), ask("a"), ask("c"), ask("b"), ask("a")}, "the oldest went")
	for range 2 {
		_, err := cache.Key(ctx, "none", false)
		require.ErrorIs(t, err, shred.ErrNoKey)
	}
	_, err := cache.Key(ctx, "none", true)
	require.NoError(t, err, "that there was none was not held")
	below.fail = errors.New("away")
	_, err = cache.Key(ctx, "new", true)
	require.ErrorIs(t, err, below.fail)
	below.fail = nil
	require.Equal(t, 1, ask("new"))
}

func TestACacheDoesNotHoldWhatItAskedForBeforeADelete(t *testing.T) {
	ctx, below := t.Context(), &counted{KeyStore: new(shred.MemoryKeys)}
	cache := shred.NewCache(below, nil)
	below.before = func() { // the key is on its way; then it is deleted
		below.before = nil
		require.NoError(t, cache.Delete(ctx, "a"))
	}
	_, err := cache.Key(ctx, "a", true)
	require.NoError(t, err, "it was there when it was asked for")
	_, err = cache.Key(ctx, "a", true)
	require.ErrorIs(t, err, shred.ErrShredded)
}

func TestAKeyIsNotPrinted(t *testing.T) {
	key := shred.NewKey()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "key", key)
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", key)
	text := log.String() + fmt.Sprintf("%v %+v %#v %s %x %d %q", key, key, key, key, key, key, &key)
	require.NotContains(t, text, hex.EncodeToString(key[:4]))
	require.NotContains(t, text, fmt.Sprint(key[0], key[1])+" ")
	require.Contains(t, text, "[key]")
}
