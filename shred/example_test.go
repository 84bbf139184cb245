package shred_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	_ "modernc.org/sqlite"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/shred"
)

// Event is one of Registered and Ordered.
type Event interface{ customer() }

type (
	Registered struct {
		Customer string `json:"customer"`
		Name     string `json:"name"`
		Email    string `json:"email,omitempty"`
	}
	Ordered struct {
		Cents int64 `json:"cents"`
	}
)

func (Registered) customer() {}
func (Ordered) customer()    {}

func customers(keys shred.KeyStore) *codec.Codec[Event] {
	whose := func(e Registered) string { return e.Customer }
	return codec.Must(codec.New[Event](nil,
		codec.Of[Registered]("CustomerRegistered", codec.Through(shred.Fields(keys, whose, "name", "email"))),
		codec.Of[Ordered]("CustomerOrdered"),
	))
}

func Example() {
	ctx := context.Background()
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	keys := new(shred.MemoryKeys)
	events := customers(keys)

	registered, err := events.Encode(ctx, uuid.Nil, Registered{Customer: "c-7", Name: "Ada", Email: "ada@example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ordered, err := events.Encode(ctx, uuid.Nil, Ordered{Cents: 500})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Append(ctx, "customer-7", eventstore.NoStream(), registered, ordered); err != nil {
		fmt.Println(err)
		return
	}
	show := func() {
		for e, err := range events.Each(ctx, store.ReadStream(ctx, "customer-7", eventstore.ReadOptions{})) {
			fmt.Printf("%d %+v %v\n", e.Recorded.Version, e.Value, err)
		}
	}
	show()
	fmt.Println(keys.Delete(ctx, "c-7"))
	show()
	// Output:
	// 1 {Customer:c-7 Name:Ada Email:ada@example.com} <nil>
	// 2 {Cents:500} <nil>
	// <nil>
	// 1 {Customer:c-7 Name: Email:} <nil>
	// 2 {Cents:500} <nil>
}

// SQLKeys is a key store in a table of any SQL database; here in SQLite's spelling.
type SQLKeys struct{ db *sql.DB }

func OpenSQLKeys(ctx context.Context, db *sql.DB) (SQLKeys, error) {
	_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS subject_keys (subject TEXT PRIMARY KEY, key BLOB)`)
	return SQLKeys{db}, err
}

func (s SQLKeys) Key(ctx context.Context, subject string, create bool) (shred.Key, error) {
	var stored []byte
	err := s.db.QueryRowContext(ctx, `SELECT key FROM subject_keys WHERE subject = ?`, subject).Scan(&stored)
	if errors.Is(err, sql.ErrNoRows) {
		if !create {
			return shred.Key{}, shred.ErrNoKey
		}
		key := shred.NewKey() // of several processes the first one's is inserted, and all read that
		if _, err := s.db.ExecContext(ctx, `INSERT INTO subject_keys VALUES (?, ?) ON CONFLICT DO NOTHING`, subject, key[:]); err != nil {
			return shred.Key{}, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
		}
		err = s.db.QueryRowContext(ctx, `SELECT key FROM subject_keys WHERE subject = ?`, subject).Scan(&stored)
	}
	switch {
	case err != nil:
		return shred.Key{}, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
	case stored == nil: // the row stays, so that nobody inserts another key
		return shred.Key{}, shred.ErrShredded
	case len(stored) != len(shred.Key{}):
		return shred.Key{}, fmt.Errorf("subject %q: a key of %d bytes is stored; it has %d", subject, len(stored), len(shred.Key{}))
	}
	return shred.Key(stored), nil
}

func (s SQLKeys) Delete(ctx context.Context, subject string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO subject_keys VALUES (?, NULL) ON CONFLICT (subject) DO UPDATE SET key = NULL`, subject)
	return err
}

// A key store of the application's own: about 40 lines.
func ExampleKeyStore() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:keys?mode=memory&_pragma=secure_delete(1)") // or what is deleted stays in the file
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	keys, err := OpenSQLKeys(ctx, db)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = keys.Key(ctx, "c-7", true)
	fmt.Println(err)
	fmt.Println(keys.Delete(ctx, "c-7"))
	_, err = keys.Key(ctx, "c-7", true)
	fmt.Println(errors.Is(err, shred.ErrShredded))
	// Output:
	// <nil>
	// <nil>
	// true
}

func ExampleNewCache() {
	ctx := context.Background()
	keys := shred.NewCache(new(shred.MemoryKeys), &shred.CacheOptions{Size: 1000})
	key, err := keys.Key(ctx, "c-7", true) // asks the other store once a minute
	fmt.Println(key, err)
	// Output: [key] <nil>
}

func ExampleFields() {
	_, err := customers(nil).Encode(context.Background(), uuid.Nil, Registered{Customer: "c-7", Name: "Ada"})
	fmt.Println(err)
	// Output: encode event of type "CustomerRegistered": invalid filter: its keys or its subject are nil, or it names no field; give Fields all three
}

func ExampleNewKey() {
	fmt.Printf("%x\n", shred.NewKey()) // no verb shows it
	// Output: [key]
}

func ExampleMemoryKeys() {
	var keys shred.MemoryKeys
	_, err := keys.Key(context.Background(), "c-7", false)
	fmt.Println(err)
	// Output: the subject has no key
}
