package transfer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// randomDirty is a source with some of everything that a target may refuse.
func randomDirty(r *rand.Rand) *filled {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	like := otherName("b\t", 255)
	streams := []string{"a", "b\t", "c", "switchyard:d", strings.Repeat("e", 300), like, otherName(like, 255), "late", "nul\x00"}
	versions, ids := make(map[string]uint64), make(map[string][]uuid.UUID)
	for _, stream := range streams {
		if r.IntN(4) == 0 {
			versions[stream] = uint64(r.IntN(4))
		}
	}
	for range 5 + r.IntN(40) {
		stream := streams[r.IntN(len(streams))]
		versions[stream]++
		var e eventstore.Event
		switch r.IntN(12) {
		case 0:
			e.Data = []byte{}
		case 1:
			e.Data = []byte("\xef\xbb\xbf{}")
		case 2:
			e.Metadata = map[string]string{"": "x", "k\x01": "v\x00"}
		case 3:
			e.Type = "t\n"
		case 4:
			if n := len(ids[stream]); n > 0 {
				e.ID = ids[stream][r.IntN(n)]
			}
		case 5:
			e.Metadata = map[string]string{originalKey: fmt.Sprintf(`{"source":"switchyard:%s","remedies":["rename"],"stream":"z"}`, f.id)}
		case 6:
			e.ContentType, e.Data = "text/\x01", []byte("x")
		}
		f.add(stream, versions[stream], e)
		ids[stream] = append(ids[stream], f.events[len(f.events)-1].ID)
	}
	return f
}

// randomLines are n lines without versions, and how many of them are not repetitions.
func randomLines(r *rand.Rand) (text string, n, distinct int) {
	var lines []string
	seen, ids := make(map[string]bool), []string{uuid.NewString(), uuid.NewString()}
	for i := range 3 + r.IntN(25) {
		id := []string{uuid.NewString(), "X-" + uuid.NewString(), ids[0], ids[1]}[r.IntN(4)]
		stream := []string{"s", `s\t`, "switchyard:q", `n\u0000`, strings.Repeat("e", 300)}[r.IntN(5)]
		rest := []string{
			fmt.Sprintf(`"data":%d`, i), `"data_base64":""`, `"data":1,"metadata":"{\"\":\"x\"}"`,
			`"datacontenttype":"application/octet-stream","data_base64":"/w=="`,
		}[r.IntN(4)]
		line := fmt.Sprintf(`{"specversion":"1.0","source":"/shop","id":"%s","type":"%s","subject":"%s",%s}`, id, []string{"T", `T\n`}[r.IntN(2)], stream, rest)
		if r.IntN(12) == 0 {
			line = fmt.Sprintf("no event %d", r.IntN(3))
		}
		lines, seen[line] = append(lines, line), true
	}
	return strings.Join(lines, "\n") + "\n", len(lines), len(seen)
}

// randomLimits are those of some target.
func randomLimits(r *rand.Rand) func(*eventstore.Capabilities) {
	forgets, single, texts := r.IntN(3) == 0, r.IntN(2) == 0, r.IntN(3) == 0
	return func(caps *eventstore.Capabilities) {
		if forgets {
			caps.IdempotencyWindow = 2
		}
		if single {
			caps.MultiStreamAppend = eventstore.No("one at a time")
		}
		if texts {
			caps.BinaryData = eventstore.No("JSON alone")
		}
	}
}

// limited is a target's capabilities, for another backend.
type limited struct {
	change func(*eventstore.Capabilities)
}

func (l limited) Capabilities() eventstore.Capabilities {
	return strict{Backend: memory.New(), change: l.change}.Capabilities()
}

// anyRun makes six runs of a transfer that are each killed somewhere, or refused, with
// remedies of their own, and one with all, and returns the target.
func anyRun(t *testing.T, r *rand.Rand, run func(target *eventstore.Store, log *memory.Log, remedies []Remedy) error) *eventstore.Store {
	t.Helper()
	lists := [][]Remedy{{KeepBytes, Rename}, {Park}, {Skip}, {Rename, Park}, {KeepBytes, Skip}, {Rename, KeepBytes, Park, Skip}, {KeepBytes}, nil}
	log, limits := memory.NewLog(), randomLimits(r)
	var runs []string
	for range 6 {
		remedies, left := lists[r.IntN(len(lists))], r.IntN(30)
		runs = append(runs, fmt.Sprintf("%v, killed after %d", remedies, left))
		err := run(openFilled(t, struct {
			*stopping
			limited
		}{&stopping{Backend: log.Open(nil), left: left}, limited{limits}}), log, remedies)
		var refused *RefusedError
		require.True(t, err == nil || errors.Is(err, errKilled) || errors.As(err, &refused), "%v: %v", runs, err)
	}
	target := openFilled(t, strict{log.Open(nil), limits})
	require.NoError(t, run(target, log, []Remedy{Rename, KeepBytes, Park, Skip}), "%v", runs)
	t.Log(runs)
	return target
}

func TestAnyRunsOfATransferComeToTheSameEvents(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("copy ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			f := randomDirty(r)
			requireRestored(t, f, anyRun(t, r, func(target *eventstore.Store, log *memory.Log, remedies []Remedy) error {
				opts := &CopyOptions{OnRefused: remedies}
				if r.IntN(2) == 0 {
					opts.Checkpoints = log.Open(nil).Records().Checkpoints
				}
				_, err := Copy(t.Context(), openFilled(t, f), target, opts)
				return err
			}))
		})
		t.Run(fmt.Sprint("import of an export ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			f := randomDirty(r)
			text := export(t, openFilled(t, f))
			target := anyRun(t, r, func(target *eventstore.Store, _ *memory.Log, remedies []Remedy) error {
				_, err := Import(t.Context(), target, strings.NewReader(text), &ImportOptions{OnRefused: remedies})
				return err
			})
			requireRestored(t, f, target)
		})
		t.Run(fmt.Sprint("import ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			text, n, distinct := randomLines(r)
			target := anyRun(t, r, func(target *eventstore.Store, _ *memory.Log, remedies []Remedy) error {
				result, err := Import(t.Context(), target, strings.NewReader(text), &ImportOptions{OnRefused: remedies})
				if err == nil {
					require.Equal(t, n, result.Read)
				}
				return err
			})
			require.Len(t, all(t, target), distinct, text)
		})
	}
}
