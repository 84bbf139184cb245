package marten

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Lock takes, to the end of a transaction, the lock that Switchyard's handles append to
// the store of a schema under. Whoever writes to Marten's tables by hand, beside them,
// takes it first, and then takes no number in vain and holds no reader up: the .NET
// application does not take it, and need not.
func Lock(ctx context.Context, tx pgx.Tx, schema string) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1::bigint | `+literal(ident(schema, "mt_events"))+`::regclass::oid::bigint)`, int64(lockClass)<<32)
	return err
}
