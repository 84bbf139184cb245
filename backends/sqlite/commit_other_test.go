//go:build !linux

package sqlite_test

import (
	"context"
	"errors"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func childCommits(context.Context, *eventstore.Store, string) error {
	return errors.New("limits on the size of files are tested on Linux")
}
