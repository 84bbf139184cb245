package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// machine is a computer with a store's file on its disk, that can crash. A crash
// leaves what is on the disk: the file and its log, but no handle, no lock and
// nothing of the shared memory. The handles of before get no answer any more.
type machine struct {
	dir string

	mu    sync.Mutex
	boots int
	path  string
	off   chan struct{} // closed when the machine of this boot crashes
}

func newMachine(dir string) *machine {
	m := &machine{dir: dir}
	m.boot()
	return m
}

func (m *machine) boot() {
	m.boots++
	m.path = filepath.Join(m.dir, fmt.Sprintf("boot-%d.db", m.boots))
	m.off = make(chan struct{})
}

func (m *machine) open(ctx context.Context, opts *sqlite.Options) (eventstore.Backend, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	backend, err := sqlite.Open(ctx, m.path, opts)
	if err != nil {
		return nil, err
	}
	return &process{Backend: backend, off: m.off}, nil
}

// crash copies the disk's content at one moment, which holding the write lock
// makes it, to where the next handles will open it.
func (m *machine) crash(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	conn, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	before := m.path
	close(m.off)
	m.boot()
	return runChild(ctx, "copy", before, m.path)
}

// holdWriter appends to a new stream with its own transaction, which has its
// positions and is not committed until release.
func (m *machine) holdWriter(ctx context.Context, part eventstore.StreamAppend) (release func() (eventstore.AppendResult, error), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	conn, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	result := eventstore.AppendResult{}
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, event := range part.Events {
		result.Version++
		metadata, err := json.Marshal(event.Metadata)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		inserted, err := conn.ExecContext(ctx, `INSERT INTO events (stream, version, id, type, content_type, data, metadata, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			part.Stream, result.Version, event.ID[:], event.Type, event.ContentType, event.Data, string(metadata), now.UnixMicro())
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		position, err := inserted.LastInsertId()
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		result.Position = eventstore.NewPosition(uint64(position), 0)
		result.Events = append(result.Events, eventstore.RecordedEvent{
			Event: event, Stream: part.Stream, Version: result.Version, Position: result.Position, RecordedAt: now,
		})
	}
	return func() (eventstore.AppendResult, error) {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
		return result, errors.Join(err, conn.Close())
	}, nil
}

// lock takes the file's write lock on a connection of its own.
func (m *machine) lock(ctx context.Context) (*lockedConn, error) {
	db, err := sql.Open("sqlite", "file:"+m.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c := &lockedConn{conn, db}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// lockedConn is a connection in a transaction. Closing it rolls back.
type lockedConn struct {
	*sql.Conn
	db *sql.DB
}

func (c *lockedConn) Close() error {
	return errors.Join(c.Conn.Close(), c.db.Close())
}

// process is a handle that dies with its machine: whatever it answers after the
// crash is not heard.
type process struct {
	eventstore.Backend
	off <-chan struct{}
}

func (p *process) dead() bool {
	select {
	case <-p.off:
		return true
	default:
		return false
	}
}

func (p *process) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	results, err := p.Backend.Append(ctx, req)
	if p.dead() {
		return nil, fmt.Errorf("%w: the machine crashed", eventstore.ErrUnknownOutcome)
	}
	return results, err
}

func (p *process) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	page, err := p.Backend.ReadStream(ctx, req)
	return page, p.unavailable(err)
}

func (p *process) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	page, err := p.Backend.ReadAll(ctx, req)
	return page, p.unavailable(err)
}

func (p *process) Info(ctx context.Context) (eventstore.Info, error) {
	info, err := p.Backend.Info(ctx)
	return info, p.unavailable(err)
}

func (p *process) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	info, err := p.Backend.Seal(ctx, req)
	return info, p.unavailable(err)
}

func (p *process) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		for message, err := range p.Backend.Subscribe(ctx, req) {
			if err = p.unavailable(err); !yield(message, err) || err != nil {
				return
			}
		}
	}
}

func (p *process) unavailable(err error) error {
	if p.dead() {
		return fmt.Errorf("%w: the machine crashed", eventstore.ErrUnavailable)
	}
	return err
}
