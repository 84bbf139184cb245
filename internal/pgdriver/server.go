package pgdriver

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Server is what a server says about itself.
type Server struct {
	version                       int
	encoding                      string
	replica                       bool
	fsync, commit, fullPageWrites string
	settings
}

// settings are those that a role or a database can have defaults for, and that change
// what statements mean or how values are written as text.
type settings struct {
	catalogFirst                                      bool // names of the system's mean the system's
	standardStrings, arrayNulls, byteaText, dateStyle string
}

// Inspect asks the server for what the contract depends on, and refuses one that
// cannot keep it. Its errors are the driver's, or say what is wrong with the server.
func Inspect(ctx context.Context, pool *pgxpool.Pool) (Server, error) {
	var s Server
	err := pool.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_encoding'),
		pg_is_in_recovery(), current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
		coalesce((select schema from unnest(current_schemas(true)) schema where schema not like 'pg\_temp%' limit 1) = 'pg_catalog', false),
		current_setting('standard_conforming_strings'), current_setting('array_nulls'), current_setting('bytea_output'), current_setting('DateStyle')`).
		Scan(&s.version, &s.encoding, &s.replica, &s.fsync, &s.commit, &s.fullPageWrites,
			&s.catalogFirst, &s.standardStrings, &s.arrayNulls, &s.byteaText, &s.dateStyle)
	return s, err
}

// Check refuses a server that cannot keep the contract.
func (s Server) Check(asText bool) error {
	switch {
	case s.version < 130000:
		return fmt.Errorf("the server is PostgreSQL %d; version 13 or later is needed", s.version/10000)
	case s.encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s; create it with encoding UTF8", s.encoding)
	case s.replica:
		return fmt.Errorf("the server is a replica, which can show another order than its primary; connect to the primary (target_session_attrs=primary)")
	}
	return s.check(asText)
}

// check refuses settings under which a statement would mean something else, or a value
// would be read wrongly. Others cannot do that: the function that appends sets its own,
// and what is not sent as text has one form only.
func (s settings) check(asText bool) error {
	for _, setting := range []struct {
		name, is, needed string
		ok               bool
	}{
		{"search_path", "another schema before pg_catalog", "pg_catalog first, or not to name it", s.catalogFirst},
		{"array_nulls", s.arrayNulls, "on", s.arrayNulls == "on"},
		{"standard_conforming_strings", s.standardStrings, "on", s.standardStrings == "on"},
		{"bytea_output", s.byteaText, "hex where the driver's mode is exec or simple_protocol", s.byteaText == "hex" || !asText},
		{"DateStyle", s.dateStyle, "ISO where the driver's mode is exec or simple_protocol", strings.HasPrefix(s.dateStyle, "ISO") || !asText},
	} {
		if !setting.ok {
			return fmt.Errorf("the session's %s is %s; the store needs %s (look for it in ALTER ROLE … SET and ALTER DATABASE … SET)", setting.name, setting.is, setting.needed)
		}
	}
	return nil
}

// Durability is what a commit survives with these settings.
func (s Server) Durability() eventstore.Durability {
	switch {
	case s.commit == "off":
		return eventstore.SurvivesNothing // commits wait in the server's memory for up to 600 ms
	case s.fsync == "off", s.fullPageWrites == "off":
		return eventstore.SurvivesProcessCrash
	}
	return eventstore.SurvivesPowerLoss
}

// AfterLock begins a transaction that waits for a lock and then looks at what others have
// done before: each statement sees what was there when it began, whatever the role's
// default is.
func AfterLock() pgx.TxOptions { return pgx.TxOptions{IsoLevel: pgx.ReadCommitted} }

// InText tells whether the driver sends and reads values as text.
func InText(pool *pgxpool.Pool) bool {
	mode := pool.Config().ConnConfig.DefaultQueryExecMode
	return mode == pgx.QueryExecModeExec || mode == pgx.QueryExecModeSimpleProtocol
}
