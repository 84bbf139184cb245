//go:build !linux

package sqlite_test

import "errors"

func childFillsDisk(string, string) error {
	return errors.New("full disks are tested on Linux")
}
