// Package pgdriver is what the backends on PostgreSQL share of reaching it: URLs,
// what a server says about itself, and what its errors mean. It knows no schema.
package pgdriver
