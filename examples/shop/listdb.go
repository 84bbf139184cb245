package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/switchyard-dev/switchyard/examples/shop/orderlist"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// openList opens the order list in the database that a URL names.
func openList(ctx context.Context, address string) (*orderlist.List, func(), error) {
	db, dialect, err := openDatabase(address)
	if err != nil {
		return nil, nil, err
	}
	list, err := orderlist.Open(ctx, db, dialect)
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return list, func() { _ = db.Close() }, nil
}

func openDatabase(address string) (*sql.DB, sqldb.Dialect, error) {
	scheme, file, _ := strings.Cut(address, ":")
	switch scheme {
	case "postgres", "postgresql":
		db, err := sql.Open("pgx", address)
		return db, sqldb.PostgreSQL, err
	case "sqlite":
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
		if err == nil && file == ":memory:" {
			db.SetMaxOpenConns(1) // each connection would have a database of its own
		}
		return db, sqldb.SQLite, err
	}
	return nil, 0, fmt.Errorf("-list starts with %q; give sqlite:FILE or postgres://USER@HOST/DATABASE", scheme)
}
