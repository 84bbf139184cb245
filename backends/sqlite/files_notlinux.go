//go:build !linux

package sqlite

import "io/fs"

// leadsTo tells whether a path leads to a file that is open.
func leadsTo(path string, opened fs.FileInfo) (bool, error) { return leadsToByStat(path, opened) }
