// Package pgxdb keeps read models in PostgreSQL through pgx. See package projection.
package pgxdb
