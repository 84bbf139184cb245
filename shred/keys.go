package shred

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

var (
	// ErrShredded says that a subject's key was deleted. Opening an event never fails
	// with it, for its fields are then absent; sealing one does.
	ErrShredded = errors.New("the subject's key was deleted")
	// ErrNoKey says that a subject has no key and that none was deleted either: the key
	// store is another one than sealed the data, or lost it.
	ErrNoKey = errors.New("the subject has no key")
)

// KeyStore keeps one key for each subject. Methods are called by many goroutines and
// processes at once. It is to be kept apart from the events: a backup that holds both
// brings back what was erased.
type KeyStore interface {
	// Key returns the subject's key. With create, a subject that has none is given a
	// [NewKey], which is durable before it is returned; of callers in several processes
	// at once all get the same.
	//
	// Errors: ErrShredded after Delete, also with create, so that no subject is given a
	// second key; ErrNoKey for a subject that has none, without create. A database that
	// is away should match eventstore.ErrUnavailable, so that subscriptions wait for it.
	Key(ctx context.Context, subject string, create bool) (Key, error)
	// Delete destroys the subject's key and remembers that it did, also where there is
	// no key yet. Deleting again is no error.
	Delete(ctx context.Context, subject string) error
}

// Key is a subject's key: 32 random bytes. It prints and logs as "[key]".
type Key [32]byte

// NewKey makes a random key.
func NewKey() Key {
	var key Key
	_, _ = rand.Read(key[:]) // it never fails
	return key
}

// Format implements [fmt.Formatter]: no verb shows the key.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hiddenKey) }

// LogValue implements [slog.LogValuer].
func (Key) LogValue() slog.Value { return slog.StringValue(hiddenKey) }

const hiddenKey = "[key]"

// MemoryKeys is a [KeyStore] in this process's memory, for tests: with it everything
// that its keys sealed is lost. The zero value is empty and ready for use.
type MemoryKeys struct {
	mu   sync.Mutex
	keys map[string]*Key // nil for a deleted one
}

// Key implements [KeyStore].
func (m *MemoryKeys) Key(_ context.Context, subject string, create bool) (Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key, found := m.keys[subject]
	switch {
	case found && key == nil:
		return Key{}, ErrShredded
	case found:
		return *key, nil
	case !create:
		return Key{}, ErrNoKey
	}
	made := NewKey()
	m.set(subject, &made)
	return made, nil
}

// Delete implements [KeyStore].
func (m *MemoryKeys) Delete(_ context.Context, subject string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(subject, nil)
	return nil
}

func (m *MemoryKeys) set(subject string, key *Key) {
	if m.keys == nil {
		m.keys = make(map[string]*Key)
	}
	m.keys[subject] = key
}
