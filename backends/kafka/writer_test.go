package kafka_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// writerVariable makes this test binary a process that writes: it is given a URL and
// a seed, writes until SIGTERM, and says on its standard output what it was told.
const writerVariable = "SWITCHYARD_KAFKA_WRITER"

const (
	writersEach = 6  // goroutines of a process
	hotStreams  = 10 // that all of them write to
)

// said is a line of a writer's journal.
type said struct {
	// Part of an append, and what came of it: "stored" with where its events are, or
	// "refused" for ever, or "unknown" because the writer gave up.
	Part   *writtenPart `json:",omitempty"`
	Stale  string       `json:",omitempty"` // a read that did not see what was acknowledged before it
	Failed string       `json:",omitempty"` // an error that should not be
	Final  *finalState  `json:",omitempty"`
}

type writtenPart struct {
	Outcome   string
	Stream    string
	Expected  *uint64 `json:",omitempty"` // nil is any version
	IDs       []uuid.UUID
	First     uint64 // version
	Positions []eventstore.Position
	Duplicate bool
	Attempts  int // calls of the Store
}

// finalState is what a writer comes to when it is told to end.
type finalState struct {
	Next       int64
	Hash       string
	Delivered  []eventstore.Position // to a subscription from the beginning
	Goroutines int                   // more than before it opened the store
}

// journal prints lines, each at once and whole.
type journal struct {
	mu  sync.Mutex
	out io.Writer
}

func (j *journal) say(line said) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.out.Write(append(text, '\n'))
}

func playWriter() int {
	j := &journal{out: os.Stdout}
	seed, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err == nil {
		err = writeUntilTold(j, os.Args[1], seed)
	}
	if err != nil {
		j.say(said{Failed: err.Error()})
		return 1
	}
	return 0
}

func writeUntilTold(j *journal, rawURL string, seed uint64) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	before := runtime.NumGoroutine()
	var stores [2]*eventstore.Store
	var backends [2]*kafka.Backend
	for i := range stores {
		u, err := url.Parse(rawURL)
		if err != nil {
			return err
		}
		for deadline := time.Now().Add(time.Minute); ; wait(ctx, 100*time.Millisecond) {
			if backends[i], err = kafka.OpenURL(context.Background(), u); err == nil {
				break
			}
			if !errors.Is(err, eventstore.ErrUnavailable) || time.Now().After(deadline) {
				return err
			}
		}
		logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
		if stores[i], err = eventstore.New(backends[i], &eventstore.Options{RetryFor: 30 * time.Second, Logger: logger}); err != nil {
			return err
		}
	}
	var working sync.WaitGroup
	following, endFollowing := context.WithCancel(context.Background())
	defer endFollowing()
	var delivered []eventstore.Position
	var mu sync.Mutex
	working.Go(func() {
		for message, err := range stores[1].Subscribe(following, eventstore.SubscribeOptions{}) {
			if following.Err() != nil {
				return
			}
			if err != nil {
				j.say(said{Failed: "subscription: " + err.Error()})
				return
			}
			if message.Kind == eventstore.MessageEvent {
				mu.Lock()
				delivered = append(delivered, message.Event.Position)
				mu.Unlock()
			}
		}
	})
	known := &knownVersions{versions: map[string]uint64{}}
	var writing sync.WaitGroup
	for i := range writersEach {
		w := &writer{j: j, stores: stores, known: known, random: rand.New(rand.NewPCG(seed, uint64(i)))}
		writing.Go(func() {
			for ctx.Err() == nil {
				w.write(ctx)
			}
		})
	}
	writing.Wait()
	final := finalState{}
	info, err := stores[0].Info(context.Background())
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		mu.Lock()
		n := len(delivered)
		done := n > 0 && !delivered[n-1].Before(info.Head.Position)
		mu.Unlock()
		if done || time.Now().After(deadline) {
			break
		}
		wait(context.Background(), 10*time.Millisecond)
	}
	endFollowing()
	working.Wait()
	final.Delivered = delivered
	next, hash, _ := backends[0].Folded()
	final.Next, final.Hash = next, hex.EncodeToString(hash[:])
	for _, store := range stores {
		if err := store.Close(); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && runtime.NumGoroutine() > before+1; {
		wait(context.Background(), 10*time.Millisecond)
	}
	final.Goroutines = runtime.NumGoroutine() - before
	j.say(said{Final: &final})
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// knownVersions are those that a process has heard of, so that most expectations of
// its writers are right.
type knownVersions struct {
	mu       sync.Mutex
	versions map[string]uint64
}

func (k *knownVersions) get(stream string) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.versions[stream]
}

func (k *knownVersions) hear(stream string, version uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.versions[stream] = max(k.versions[stream], version)
}

type writer struct {
	j      *journal
	stores [2]*eventstore.Store
	known  *knownVersions
	random *rand.Rand
}

// part makes a part to append: with seven in ten it expects an exact version.
func (w *writer) part(not string) eventstore.StreamAppend {
	stream := not
	for stream == not {
		stream = fmt.Sprintf("hot-%d", w.random.IntN(hotStreams))
	}
	part := eventstore.StreamAppend{Stream: stream, Expected: eventstore.Any()}
	if w.random.IntN(10) < 7 {
		part.Expected = eventstore.Exactly(w.known.get(stream))
	}
	for range 1 + w.random.IntN(3) {
		part.Events = append(part.Events, eventstore.Event{ID: uuid.New(), Type: "Written", ContentType: "application/octet-stream", Data: make([]byte, 150)})
	}
	return part
}

// write makes one append and settles it: of one part or of two, one in five abandoned
// at first, and then repeated as it was, or its parts alone and in other company.
func (w *writer) write(ctx context.Context) {
	parts := []eventstore.StreamAppend{w.part("")}
	if w.random.IntN(4) == 0 {
		parts = append(parts, w.part(parts[0].Stream))
	}
	if w.random.IntN(5) == 0 {
		abandoned, cancel := context.WithTimeout(context.Background(), time.Duration(1+w.random.IntN(8))*time.Millisecond)
		results, err := w.stores[0].AppendStreams(abandoned, parts...)
		cancel()
		if !errors.Is(err, eventstore.ErrUnknownOutcome) {
			w.tell(parts, results, err, 1)
			return
		}
		if w.random.IntN(2) == 0 {
			// Each alone or in other company. What one call refuses is refused.
			for i := range parts {
				company := []eventstore.StreamAppend{parts[i]}
				if w.random.IntN(2) == 0 {
					other := w.part(parts[i].Stream)
					other.Expected = eventstore.Any()
					company = append(company, other)
				}
				w.settle(ctx, company, 2)
			}
			return
		}
	}
	w.settle(ctx, parts, 2)
}

// settle appends until the outcome is known, or the process has to end.
func (w *writer) settle(ctx context.Context, parts []eventstore.StreamAppend, attempts int) {
	for {
		results, err := w.stores[0].AppendStreams(context.Background(), parts...)
		if ctx.Err() == nil && (errors.Is(err, eventstore.ErrUnknownOutcome) || errors.Is(err, eventstore.ErrUnavailable)) {
			attempts++
			continue
		}
		w.tell(parts, results, err, attempts)
		return
	}
}

// tell writes down what came of an append, and looks for it through another handle.
func (w *writer) tell(parts []eventstore.StreamAppend, results []eventstore.AppendResult, err error, attempts int) {
	conflict := (*eventstore.ConflictError)(nil)
	outcome := "stored"
	switch {
	case err == nil:
	case errors.As(err, &conflict):
		outcome = "refused"
		w.known.hear(conflict.Stream, conflict.Actual)
	case errors.Is(err, eventstore.ErrUnknownOutcome), errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		outcome = "unknown" // for an earlier attempt may be in doubt, too
	default:
		w.j.say(said{Failed: err.Error()})
		return
	}
	for i, part := range parts {
		told := &writtenPart{Outcome: outcome, Stream: part.Stream, Attempts: attempts}
		if version, ok := part.Expected.Exact(); ok {
			told.Expected = &version
		}
		for _, event := range part.Events {
			told.IDs = append(told.IDs, event.ID)
		}
		if outcome == "stored" {
			told.Duplicate = results[i].Duplicate
			told.First = results[i].Events[0].Version
			for _, event := range results[i].Events {
				told.Positions = append(told.Positions, event.Position)
			}
			w.known.hear(part.Stream, results[i].Version)
		}
		w.j.say(said{Part: told})
	}
	if outcome == "stored" && w.random.IntN(4) == 0 {
		w.look(parts[0].Stream, results[0].Version)
	}
}

// look reads what was acknowledged through the process's other handle.
func (w *writer) look(stream string, version uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	current, err := w.stores[1].StreamVersion(ctx, stream)
	switch {
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
	case err != nil:
		w.j.say(said{Failed: "look: " + err.Error()})
	case current < version:
		w.j.say(said{Stale: fmt.Sprintf("stream %s is at %d, and version %d was acknowledged before", stream, current, version)})
	}
}
