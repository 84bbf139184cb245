package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	// An index file is written after so many events, or a quarter of all where that is
	// more, and after so much time where there are any.
	indexEvery      = 100_000
	indexEveryTime  = 5 * time.Minute
	indexShare      = 4
	indexHeader     = "switchyard kafka index 1\n"
	indexPermission = 0o600
)

// indexFile keeps the fold of a store's log in a file. It is a cache: what it says
// is held against the log, and where anything is wrong the log is folded anew. A nil
// indexFile keeps nothing.
type indexFile struct {
	path   string
	logger *slog.Logger
	write  func(path string, data []byte) error // writeFile; another one in tests

	mu     sync.Mutex // held while the file is written, too
	events uint64     // in the file
	offset int64
	at     time.Time
}

// savedState is a state from an index file, and the last record that it has folded.
type savedState struct {
	*fold.State
	last connection.Record
}

func openIndex(opts Options, store string) (*indexFile, error) {
	if opts.Index == "" {
		return nil, nil //nolint:nilnil // a nil indexFile keeps nothing
	}
	if info, err := os.Stat(opts.Index); err != nil || !info.IsDir() {
		return nil, &eventstore.InvalidError{Field: "option Index", Reason: fmt.Sprintf("%q is not a folder; make it first", opts.Index)}
	}
	return &indexFile{path: filepath.Join(opts.Index, store+".index"), logger: opts.Logger, write: writeFile, at: time.Now()}, nil
}

// load returns the state of the file where it fits the log; nil where the log is to
// be folded from the beginning.
func (f *indexFile) load(ctx context.Context, b *Backend) (*savedState, error) {
	if f == nil {
		return nil, nil //nolint:nilnil // said above
	}
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // said above
	}
	var state *fold.State
	var sum []byte
	if err == nil {
		state, sum, err = parseIndex(data)
	}
	if err != nil {
		f.discard(ctx, err)
		return nil, nil //nolint:nilnil // said above
	}
	saved, err := b.verifyIndex(ctx, state, sum)
	if errors.Is(err, errUnfit) {
		f.discard(ctx, err)
		return nil, nil //nolint:nilnil // said above
	}
	if err == nil {
		f.events, f.offset = saved.Counts().Events, saved.Next()
	}
	return saved, err
}

func parseIndex(data []byte) (state *fold.State, sum []byte, err error) {
	rest, ok := bytes.CutPrefix(data, []byte(indexHeader))
	if !ok || len(rest) < sha256.Size {
		return nil, nil, errors.New("it is not an index file of this version")
	}
	state, err = fold.Restore(rest[sha256.Size:])
	return state, rest[:sha256.Size], err
}

// errUnfit says that an index file is of another log.
var errUnfit = errors.New("it does not fit the log")

// verifyIndex holds a state against the log: its first record, and the last one that
// it has folded.
func (b *Backend) verifyIndex(ctx context.Context, state *fold.State, sum []byte) (*savedState, error) {
	read := func(offset int64) (value []byte, err error) {
		err = b.conn.Again(ctx, readWithin, func() error {
			value, err = b.fetchOne(ctx, offset)
			return err
		})
		if errors.Is(err, errNoRecord) || (err != nil && connection.OfRead(err).Class == connection.Truncated) {
			err = fmt.Errorf("%w: offset %d is not there", errUnfit, offset)
		}
		return value, err
	}
	first, err := read(0)
	if err != nil {
		return nil, err
	}
	var genesis fold.Record
	if err := genesis.Decode(first); err != nil || genesis.Store != state.Store() {
		return nil, fmt.Errorf("%w: it is of another store", errUnfit)
	}
	last := connection.Record{Offset: state.Next() - 1}
	if last.Value, err = read(last.Offset); err != nil {
		return nil, err
	}
	if found := sha256.Sum256(last.Value); !bytes.Equal(found[:], sum) {
		return nil, fmt.Errorf("%w: another record is at offset %d", errUnfit, last.Offset)
	}
	return &savedState{State: state, last: last}, nil
}

func (f *indexFile) discard(ctx context.Context, why error) {
	f.logger.WarnContext(ctx, "kafka: the index file is of no use; the log is folded from its beginning", "file", f.path, "reason", why)
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.logger.WarnContext(ctx, "kafka: the index file cannot be removed", "file", f.path, "error", err)
	}
}

// note has the file written when it is time. Nobody waits for that: not the tail, for
// which views wait.
func (f *indexFile) note(log *folded, background *sync.WaitGroup) {
	if f == nil || !f.mu.TryLock() { // it is being written
		return
	}
	log.mu.RLock()
	events, next := log.state.Counts().Events, log.state.Next()
	log.mu.RUnlock()
	if events-f.events >= max(indexEvery, events/indexShare) || (next > f.offset && time.Since(f.at) >= indexEveryTime) {
		background.Go(func() {
			defer f.mu.Unlock()
			f.saveLocked(log)
		})
		return
	}
	f.mu.Unlock()
}

func (f *indexFile) save(log *folded) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saveLocked(log)
}

// saveLocked writes the file beside the old one, and puts it in its place. What fails
// is logged: the file is a cache.
func (f *indexFile) saveLocked(log *folded) {
	f.at = time.Now()
	image, last, counts := log.image(f.offset)
	if image == nil {
		return
	}
	sum := sha256.Sum256(last.Value)
	data := append(make([]byte, 0, 64<<10), indexHeader...)
	data = image.Append(append(data, sum[:]...))
	if err := f.write(f.path, data); err != nil {
		f.logger.Warn("kafka: the index file was not written", "file", f.path, "error", err)
		return
	}
	f.events, f.offset = counts.Events, last.Offset+1
}

// image returns what the fold is now, and the last record in it; nil where nothing was
// folded beyond an offset, and for a halted log.
func (l *folded) image(beyond int64) (*fold.Image, connection.Record, fold.Counts) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	last, ok := l.recent.last()
	if !ok || l.halted != nil || l.state.Next() <= beyond {
		return nil, connection.Record{}, fold.Counts{}
	}
	return l.state.Image(), last, l.state.Counts()
}

// writeFile replaces a file by another one, whole or not at all.
func writeFile(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Chmod(indexPermission)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
