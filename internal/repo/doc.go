// Package repo holds the tests of the repository itself: its files are of a
// readable size, its links lead somewhere, and it names nothing that exists on
// one machine only.
package repo
