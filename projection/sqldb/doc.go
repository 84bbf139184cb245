// Package sqldb keeps read models in SQLite or PostgreSQL through database/sql, with
// whichever driver the application has. See package projection.
package sqldb
