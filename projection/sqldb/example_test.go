package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	_ "modernc.org/sqlite"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// open makes a target in a file, which is removed with its folder.
func open(ctx context.Context) (*sql.DB, *sqldb.Target, func(), error) {
	dir, err := os.MkdirTemp("", "readmodels")
	if err != nil {
		return nil, nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "models.db")+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
	if err != nil {
		remove()
		return nil, nil, nil, err
	}
	closeAll := func() { _ = db.Close(); remove() }
	target, err := sqldb.Open(ctx, db, sqldb.SQLite)
	if err != nil {
		closeAll()
		return nil, nil, nil, err
	}
	return db, target, closeAll, nil
}

// checkpoint is what Store.Run hands over with a batch of events.
func checkpoint(name string, position uint64) eventstore.Checkpoint {
	return eventstore.Checkpoint{Name: name, Store: uuid.UUID{1}, Place: eventstore.Place{
		Position: eventstore.NewPosition(position, 0), Stream: "customer-ann", Version: position, ID: uuid.UUID{2},
	}}
}

func ExampleOpen() {
	ctx := context.Background()
	_, target, done, err := open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	list, err := target.List(ctx, eventstore.ListCheckpointsRequest{Limit: 10})
	fmt.Println(len(list.Checkpoints), err)
	// Output: 0 <nil>
}

func ExampleTarget_Update() {
	ctx := context.Background()
	db, target, done, err := open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	if _, err := db.ExecContext(ctx, `CREATE TABLE paid (cents INTEGER)`); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 { // the second time it is stored already
		err := target.Update(ctx, checkpoint("paid-v1", 1), func(ctx context.Context, tx *sql.Tx, _ eventstore.Position) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO paid VALUES (500)`)
			return err
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	var rows int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM paid`).Scan(&rows)
	fmt.Println(rows, err)
	// Output: 1 <nil>
}

func ExampleTarget_Swap() {
	ctx := context.Background()
	db, target, done, err := open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	if _, err := db.ExecContext(ctx, `
		CREATE TABLE paid_v1 (cents INTEGER); CREATE TABLE paid_v2 (cents INTEGER, currency TEXT);
		CREATE VIEW paid AS SELECT cents FROM paid_v1`); err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"paid-v1", "paid-v2"} { // as their runs would
		if err := target.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint(name, 1)}); err != nil {
			fmt.Println(err)
			return
		}
	}

	err = target.Swap(ctx, "paid-v1", "paid-v2", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DROP VIEW IF EXISTS paid; CREATE VIEW paid AS SELECT cents, currency FROM paid_v2`)
		return err
	})
	fmt.Println(err)
	rows, err := db.QueryContext(ctx, `SELECT currency FROM paid`)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rows.Close()
	fmt.Println(rows.Next(), rows.Err())
	// Output:
	// <nil>
	// false <nil>
}

func ExampleTarget_Moved() {
	ctx := context.Background()
	_, target, done, err := open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	moved := target.Moved("paid-v1")
	err = target.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint("paid-v1", 1)})
	<-moved
	fmt.Println("moved", err)
	// Output: moved <nil>
}

func ExampleDialect_String() {
	fmt.Println(sqldb.SQLite, sqldb.PostgreSQL)
	// Output: SQLite PostgreSQL
}
