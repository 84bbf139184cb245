package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// server is what the server says about itself.
type server struct {
	version                       int
	encoding                      string
	replica                       bool
	fsync, commit, fullPageWrites string
}

// inspect asks the server for what the contract depends on, and refuses one that
// cannot keep it.
func inspect(ctx context.Context, pool *pgxpool.Pool) (server, error) {
	var s server
	err := pool.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_encoding'),
		pg_is_in_recovery(), current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')`).
		Scan(&s.version, &s.encoding, &s.replica, &s.fsync, &s.commit, &s.fullPageWrites)
	switch {
	case err != nil:
		return s, readError(ctx, err)
	case s.version < 130000:
		return s, fmt.Errorf("the server is PostgreSQL %d; version 13 or later is needed", s.version/10000)
	case s.encoding != "UTF8":
		return s, fmt.Errorf("the database's encoding is %s; create it with encoding UTF8", s.encoding)
	case s.replica:
		return s, fmt.Errorf("the server is a replica, which can show another order than its primary; connect to the primary (target_session_attrs=primary)")
	}
	return s, nil
}

// durability is what a commit survives with these settings.
func (s server) durability() eventstore.Durability {
	switch {
	case s.commit == "off":
		return eventstore.SurvivesNothing // commits wait in the server's memory for up to 600 ms
	case s.fsync == "off", s.fullPageWrites == "off":
		return eventstore.SurvivesProcessCrash
	}
	return eventstore.SurvivesPowerLoss
}
