package fold

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// now is the writers' clock of the tests.
var now = time.Date(2026, 11, 25, 12, 0, 0, 123456789, time.UTC)

// idOf makes the same ID for the same name.
func idOf(name string) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)) }

// event makes an event whose ID is that of its name.
func event(name string) eventstore.Event {
	return eventstore.Event{
		ID: idOf(name), Type: "Happened", ContentType: "text/plain",
		Data: []byte(name), Metadata: map[string]string{"by": "test"},
	}
}

// part makes a part with events of these names.
func part(stream string, expected eventstore.ExpectedVersion, names ...string) eventstore.StreamAppend {
	p := eventstore.StreamAppend{Stream: stream, Expected: expected}
	for _, name := range names {
		p.Events = append(p.Events, event(name))
	}
	return p
}

func request(t testing.TB, name string, parts ...eventstore.StreamAppend) *Request {
	t.Helper()
	r, err := NewRequest(idOf("request "+name), parts)
	require.NoError(t, err)
	return r
}

// appendLog is a log and what it means.
type appendLog struct {
	t testing.TB
	*State
	frames [][]byte
}

func newLog(t testing.TB) *appendLog {
	t.Helper()
	log := &appendLog{t: t, State: New()}
	require.Equal(t, Accepted, log.fold(Genesis(idOf("genesis"), idOf("store"))).Outcome)
	return log
}

// fold adds a record to the log.
func (l *appendLog) fold(frame []byte) Verdict {
	l.t.Helper()
	verdict, err := l.Fold(l.Next(), frame)
	require.NoError(l.t, err)
	l.frames = append(l.frames, frame)
	return verdict
}

// upTo is the state of a writer that has folded so many records.
func (l *appendLog) upTo(records int) *State {
	l.t.Helper()
	s := New()
	for i := range records {
		_, err := s.Fold(int64(i), l.frames[i])
		require.NoError(l.t, err)
	}
	return s
}

// propose sends a request as a writer does that knows all of the log.
func (l *appendLog) propose(name string, parts ...eventstore.StreamAppend) Verdict {
	l.t.Helper()
	return l.fold(frameOf(l.t, l.State, request(l.t, name, parts...)))
}

// frameOf is what a writer with this state sends.
func frameOf(t testing.TB, s *State, r *Request) []byte {
	t.Helper()
	proposal := s.Check(r)
	require.NoError(t, proposal.Err)
	require.Equal(t, Send, proposal.Step)
	return proposal.Frame(now)
}

// store appends events one by one, so that a stream is at a version.
func (l *appendLog) store(stream string, names ...string) {
	l.t.Helper()
	for _, name := range names {
		require.Equal(l.t, Accepted, l.propose(fmt.Sprint("store ", stream, name), part(stream, eventstore.Any(), name)).Outcome)
	}
}
