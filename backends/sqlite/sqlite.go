package sqlite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Options configures a backend. The zero value, like nil, means the defaults.
type Options struct {
	// Poll is how often a subscription looks for the events of other processes
	// and handles; 0 means 100 ms. Events of this handle are delivered at once.
	Poll time.Duration
	// BusyTimeout is how long a write waits for another process that holds the
	// file's write lock, before it fails with ErrUnavailable; 0 means 5 s.
	BusyTimeout time.Duration
	// Readers is how many reads may run at once; 0 means 4. Each has a connection,
	// opened when it is first needed, with up to 2 MiB of cache.
	Readers int
	// NoCreate refuses a path at which there is no store, instead of making one.
	// A file that this process may not write is then opened for reading, where
	// SQLite can: writes, checkpoints among them, are refused with fs.ErrPermission.
	NoCreate bool
}

// Backend is a handle on a store in a file; it implements [eventstore.Backend].
type Backend struct {
	files *files
	opts  Options
	id    uuid.UUID

	committer *adapter.GroupCommit
	writer    chan *writer // holds the one writer while nobody writes
	readers   chan *conn   // holds the idle readers; nil is one not yet opened
	hint      adapter.Hint
	closing   sync.Once
	closed    chan struct{}
	closeErr  error
}

var _ eventstore.Backend = (*Backend)(nil)

// Open opens the store in the file at path, and makes the file if there is
// none, unless [Options].NoCreate is set.
// Its directory must exist. Several processes, and several handles of one
// process, may have the same file open.
//
// Errors: ErrInvalid for a bad path or option; ErrUnavailable where the file is
// locked for longer than [Options].BusyTimeout or the disk fails; the context's
// error; fs.ErrPermission where it cannot be written; otherwise the file is
// not a Switchyard store, or one with a newer schema.
func Open(ctx context.Context, path string, opts *Options) (*Backend, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := &Backend{closed: make(chan struct{})}
	if opts != nil {
		b.opts = *opts
	}
	if err := b.opts.complete(); err != nil {
		return nil, err
	}
	var err error
	if b.files, err = findFiles(path); err != nil {
		return nil, err
	}
	if b.opts.NoCreate && b.files.isEmpty() {
		return nil, errNoStore(b.files.path)
	}
	w := &writer{files: b.files, busyTimeout: b.opts.BusyTimeout}
	b.id, err = w.initialise(ctx)
	if refused := (*refusedError)(nil); b.opts.NoCreate && errors.As(err, &refused) {
		b.id, err = w.readOnly(ctx, refused)
	}
	if err != nil {
		return nil, mapError("open", errors.Join(err, w.close()))
	}
	b.files.store = b.id
	b.writer = make(chan *writer, 1)
	b.writer <- w
	b.readers = make(chan *conn, b.opts.Readers)
	for range b.opts.Readers {
		b.readers <- nil
	}
	b.committer = adapter.NewGroupCommit(b.flush, adapter.GroupCommitOptions{CallerFlushes: true})
	return b, nil
}

func errNoStore(path string) error {
	return &eventstore.InvalidError{Field: "path", Reason: fmt.Sprintf("%q holds no store; check the name, or make one first (switchyard init)", path)}
}

func (o *Options) complete() error {
	switch {
	case o.Poll < 0:
		return &eventstore.InvalidError{Field: "option Poll", Reason: fmt.Sprintf("%s is negative", o.Poll)}
	case o.BusyTimeout < 0:
		return &eventstore.InvalidError{Field: "option BusyTimeout", Reason: fmt.Sprintf("%s is negative", o.BusyTimeout)}
	case o.Readers < 0:
		return &eventstore.InvalidError{Field: "option Readers", Reason: fmt.Sprintf("%d is negative", o.Readers)}
	}
	if o.Poll == 0 {
		o.Poll = 100 * time.Millisecond
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	return nil
}

// Subscribe implements [eventstore.Backend].
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: b.ReadAll, Info: b.Info, Hint: &b.hint, Poll: b.opts.Poll})
}

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{b}, Snapshots: snapshots{b}}
}

// Close waits for the appends under way and closes the file. The last handle to
// close it moves the write-ahead log into it.
func (b *Backend) Close() error {
	b.closing.Do(func() {
		close(b.closed)
		b.hint.Notify() // so that this handle's subscriptions notice
		b.committer.Close()
		var errs []error
		for range cap(b.readers) {
			if c := <-b.readers; c != nil {
				errs = append(errs, c.Close())
			}
		}
		errs = append(errs, (<-b.writer).close())
		b.closeErr = mapError("close", errors.Join(errs...))
	})
	return b.closeErr
}

func (b *Backend) ready(ctx context.Context) error {
	select {
	case <-b.closed:
		return eventstore.ErrClosed
	default:
		return ctx.Err()
	}
}
