package fold

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The stream "s" is at version 2, "absent" has no events.
func TestAWriterSendsOnlyWhatCannotComeBackToLife(t *testing.T) {
	for _, c := range []struct {
		name  string
		parts []eventstore.StreamAppend
		want  Step
		err   error
	}{
		{"any version", []eventstore.StreamAppend{part("s", eventstore.Any(), "a")}, Send, nil},
		{"the right version", []eventstore.StreamAppend{part("s", eventstore.Exactly(2), "a")}, Send, nil},
		{"a stream that exists", []eventstore.StreamAppend{part("s", eventstore.StreamExists(), "a")}, Send, nil},
		{"a new stream", []eventstore.StreamAppend{part("absent", eventstore.NoStream(), "a")}, Send, nil},
		{"a version that has passed", []eventstore.StreamAppend{part("s", eventstore.Exactly(1), "a")}, Answer, eventstore.ErrConflict},
		{"a new stream that exists", []eventstore.StreamAppend{part("s", eventstore.NoStream(), "a")}, Answer, eventstore.ErrConflict},
		{"a version that is not reached", []eventstore.StreamAppend{part("s", eventstore.Exactly(3), "a")}, LookAgain, eventstore.ErrConflict},
		{"a stream that does not exist yet", []eventstore.StreamAppend{part("absent", eventstore.StreamExists(), "a")}, LookAgain, eventstore.ErrConflict},
		{"a repetition", []eventstore.StreamAppend{part("s", eventstore.Exactly(99), "s1", "s2")}, Answer, nil},
		{"a reused ID", []eventstore.StreamAppend{part("s", eventstore.Exactly(2), "s2", "a")}, Answer, eventstore.ErrEventIDReused},
		{"a repetition and a new part", []eventstore.StreamAppend{part("s", eventstore.NoStream(), "s1"), part("absent", eventstore.Any(), "a")}, Send, nil},
		{"a new part and a conflict", []eventstore.StreamAppend{part("absent", eventstore.Any(), "a"), part("s", eventstore.Exactly(1), "b")}, Answer, eventstore.ErrConflict},
		{"a new part and one not reached", []eventstore.StreamAppend{part("absent", eventstore.Any(), "a"), part("s", eventstore.Exactly(3), "b")}, LookAgain, eventstore.ErrConflict},
		{"a part after another of its stream", []eventstore.StreamAppend{part("s", eventstore.Exactly(2), "a"), part("s", eventstore.Exactly(3), "b")}, Send, nil},
		{"a part that another of its stream overtakes", []eventstore.StreamAppend{part("s", eventstore.Exactly(2), "a"), part("s", eventstore.Exactly(2), "b")}, Answer, eventstore.ErrConflict},
		{"a check that holds", []eventstore.StreamAppend{part("absent", eventstore.Any(), "a"), part("s", eventstore.Exactly(2))}, Send, nil},
		{"a check that has passed", []eventstore.StreamAppend{part("absent", eventstore.Any(), "a"), part("s", eventstore.Exactly(1))}, Answer, eventstore.ErrConflict},
		{"a check that is not reached", []eventstore.StreamAppend{part("absent", eventstore.Any(), "a"), part("s", eventstore.Exactly(3))}, LookAgain, eventstore.ErrConflict},
		{"a repetition with a check that has passed", []eventstore.StreamAppend{part("s", eventstore.Any(), "s1"), part("s", eventstore.NoStream())}, Answer, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := newLog(t)
			log.store("s", "s1", "s2")
			before := log.Hash()
			proposal := log.Check(request(t, "r", c.parts...))
			require.Equal(t, c.want, proposal.Step)
			if c.err == nil {
				require.NoError(t, proposal.Err)
			} else {
				require.ErrorIs(t, proposal.Err, c.err)
			}
			require.Equal(t, before, log.Hash())
			require.Equal(t, uint64(2), log.Counts().Events, "a look changes nothing")
			if c.want == Send {
				require.Equal(t, Accepted, log.fold(proposal.Frame(now)).Outcome)
			}
		})
	}
}

func TestASealIsLookedForInTheWholeLogBeforeItIsTheAnswer(t *testing.T) {
	log := newLog(t)
	log.store("s", "s1")
	log.seal()
	for _, c := range []struct {
		name string
		part eventstore.StreamAppend
		want Step
		err  error
	}{
		{"a new event", part("s", eventstore.Any(), "a"), LookAgain, eventstore.ErrSealed},
		{"a conflict", part("s", eventstore.NoStream(), "a"), LookAgain, eventstore.ErrSealed},
		{"a version that is not reached", part("s", eventstore.Exactly(9), "a"), LookAgain, eventstore.ErrSealed},
		{"a reused ID", part("s", eventstore.Any(), "s1", "a"), Answer, eventstore.ErrEventIDReused},
		{"a repetition", part("s", eventstore.NoStream(), "s1"), Answer, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			proposal := log.Check(request(t, "r", c.part))
			require.Equal(t, c.want, proposal.Step)
			require.ErrorIs(t, proposal.Err, c.err)
		})
	}
}
