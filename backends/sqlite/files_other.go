//go:build !unix

package sqlite

import (
	"io/fs"
	"math"
)

// longestPath is no limit of ours: the system has its own.
const longestPath = math.MaxInt

// links returns how many names a file has. Where that takes opening the file it
// is not asked for.
func links(fs.FileInfo) uint64 { return 1 }

// mayNotWrite and mayNotRead are for systems that tell without trying.
func mayNotWrite(string) error { return nil }

func mayNotRead(string) error { return nil }

// privateModel is for systems on which a file's mode says who may read it.
func privateModel(string) (path string, remove func(), err error) { return "", func() {}, nil }
