package transfer

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func export(t *testing.T, store *eventstore.Store) string {
	t.Helper()
	var out bytes.Buffer
	n, err := Export(t.Context(), store, &out, nil)
	require.NoError(t, err)
	require.Equal(t, n, strings.Count(out.String(), "\n"))
	return out.String()
}

func TestWhatIsExportedIsImportedUnchanged(t *testing.T) {
	a, b := newStore(t, nil), newStore(t, nil)
	fill(t, a, 7, 2500)
	text := export(t, a)
	result, err := Import(t.Context(), b, strings.NewReader(text), nil)
	require.NoError(t, err)
	require.Equal(t, Result{Read: 2500, Stored: 2500}, result)
	requireSame(t, a, b)

	result, err = Import(t.Context(), b, strings.NewReader(text), nil)
	require.NoError(t, err)
	require.Equal(t, Result{Read: 2500, Duplicates: 2500}, result, "the second time changes nothing")
	requireSame(t, a, b)
}

// A time is kept or refused, whatever it is: that of year 1 is .NET's "none".
func TestAnImportKeepsEveryTimeOrRefusesTheLine(t *testing.T) {
	line := func(at string) string {
		return `{"specversion":"1.0","id":"` + uuid.NewString() + `","source":"/x","type":"T","subject":"s","time":"` + at + `","data":1}`
	}
	for _, at := range []string{"0001-01-01T00:00:00Z", "0001-01-01T02:00:00+02:00", "1583-10-05T06:07:08Z", "9999-12-31T23:59:59.999999999Z"} {
		store := newStore(t, nil)
		_, err := Import(t.Context(), store, strings.NewReader(line(at)), nil)
		require.NoError(t, err)
		want, err := time.Parse(time.RFC3339Nano, at)
		require.NoError(t, err)
		require.Equal(t, want.UTC(), all(t, store)[0].RecordedAt)
	}
	recent := newStore(t, since1970{memory.New()})
	_, err := Import(t.Context(), recent, strings.NewReader(line("2000-01-01T00:00:00Z")+"\n"+line("0001-01-01T00:00:00Z")), nil)
	var wrong *LineError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, 2, wrong.Line)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.Len(t, all(t, recent), 1)
}

// since1970 is a memory store that keeps no earlier record time.
type since1970 struct{ *memory.Backend }

func (s since1970) Capabilities() eventstore.Capabilities {
	caps := s.Backend.Capabilities()
	caps.Earliest = new(time.Unix(0, 0).UTC())
	return caps
}

func TestAnImportGoesOnWhereTheLastOneEnded(t *testing.T) {
	a := newStore(t, nil)
	fill(t, a, 7, 3000)
	text := export(t, a)
	for name, backend := range map[string]func() eventstore.Backend{
		"into a store with everything":                  func() eventstore.Backend { return memory.New() },
		"into a store that recognises recent IDs alone": func() eventstore.Backend { return forgetful{memory.New()} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newStore(t, backend())
			part := text[:len(text)*2/5]
			cut, err := Import(t.Context(), b, strings.NewReader(part), nil)
			var line *LineError
			require.ErrorAs(t, err, &line)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.ErrorContains(t, err, "it is cut off")
			require.Equal(t, strings.Count(part, "\n")+1, line.Line)
			require.Equal(t, line.Line-1, cut.Stored, "every line before it is stored")

			rest, err := Import(t.Context(), b, strings.NewReader(text), nil)
			require.NoError(t, err)
			require.Equal(t, Result{Read: 3000, Stored: 3000 - cut.Stored, Duplicates: cut.Stored}, rest)
			report, err := Verify(t.Context(), a, b, nil)
			require.NoError(t, err)
			require.True(t, report.Equal())
		})
	}
}

func TestAWrongLineEndsAnImportAndEveryLineBeforeItIsStored(t *testing.T) {
	a := newStore(t, nil)
	fill(t, a, 3, 1500)
	good := strings.SplitAfter(export(t, a), "\n")
	edit := func(from, to string) func(string) string {
		return func(line string) string {
			require.Contains(t, line, from)
			return strings.Replace(line, from, to, 1)
		}
	}
	for name, test := range map[string]struct {
		line   int
		edit   func(string) string
		want   string
		stored int
	}{
		"text": {7, func(string) string { return "hello\n" }, "line 7: it is not JSON", 6},
		"a gap": {
			1203, edit(`"version":"401"`, `"version":"409"`),
			"line 1203: version 409 of stream \"counter-2\" is to be stored, but the target has 400 events", 1202,
		},
		"a version again": {
			1203, edit(`"version":"401"`, `"version":"4"`),
			"line 1203: the target has another event at version 4", 1202,
		},
		"an ID again": {
			1203, func(line string) string { return line[:27] + good[1199][27:63] + line[63:] },
			"line 1203: append to several streams: event ID", 1202,
		},
		"an invalid name": {
			1203, edit(`"type":"Counted"`, `"type":"\u0000"`),
			"line 1203: append to several streams: invalid events[0].type: control character", 1202,
		},
		"another line again, which is stored once": {
			1201, func(string) string { return good[1197] },
			"line 1204: version 402 of stream \"counter-0\" is to be stored, but the target has 400 events", 1202,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newStore(t, nil)
			lines := append([]string(nil), good...)
			lines[test.line-1] = test.edit(lines[test.line-1])
			result, err := Import(t.Context(), b, strings.NewReader(strings.Join(lines, "")), nil)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.stored, result.Stored)
			require.Len(t, all(t, b), test.stored)
		})
	}
}

func TestALineWithoutAVersionGoesToTheEndOfItsStreamOnce(t *testing.T) {
	store := newStore(t, nil)
	var text strings.Builder
	for range 20 {
		text.WriteString(`{"specversion":"1.0","id":"` + uuid.NewString() + `","source":"/shop","type":"T","subject":"order-1","data":{}}` + "\n\n")
	}
	for _, want := range []Result{{Read: 20, Stored: 20}, {Read: 20, Duplicates: 20}} {
		result, err := Import(t.Context(), store, strings.NewReader(text.String()), nil)
		require.NoError(t, err)
		require.Equal(t, want, result)
	}
	for i, event := range all(t, store) {
		require.EqualValues(t, i+1, event.Version)
		require.Equal(t, "/shop", event.Metadata["source"])
	}
}

func TestAnImportEndsWhenItsContextDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	input, output := io.Pipe()
	t.Cleanup(func() { _ = output.Close() })
	store, done := newStore(t, nil), make(chan error)
	go func() {
		_, err := Import(ctx, store, input, nil)
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestALineOfAnyLengthIsRead(t *testing.T) {
	store := newStore(t, nil)
	long := strings.Repeat("x", 1<<20)
	text := `{"specversion":"1.0","id":"` + uuid.NewString() + `","type":"T","subject":"s","data":"` + long + `"}`
	_, err := Import(t.Context(), store, strings.NewReader(text), nil)
	require.NoError(t, err, "also without a line break at its end")
	require.Len(t, all(t, store)[0].Data, 1<<20+2)

	small := newStore(t, small{memory.New()})
	most := longestLine(small.Limits())
	endless := io.MultiReader(strings.NewReader(text+"\n"), io.LimitReader(zeros{}, int64(2*most)))
	_, err = Import(t.Context(), small, endless, nil)
	require.ErrorContains(t, err, fmt.Sprintf("line 2: it has more than %d bytes", most))
}

// small is a memory store that takes events of 2 MiB.
type small struct{ *memory.Backend }

func (s small) Capabilities() eventstore.Capabilities {
	caps := s.Backend.Capabilities()
	caps.Limits.MaxEventBytes = 2 << 20
	return caps
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestATextThatIsNoLinesIsRefusedAsAWhole(t *testing.T) {
	good := `{"specversion":"1.0","id":"` + uuid.NewString() + `","type":"T","subject":"s","data":1}`
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := io.WriteString(w, good+"\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for name, text := range map[string]string{
		"gzip":   zipped.String() + "\n",
		"zstd":   "\x28\xb5\x2f\xfd\n\n",
		"UTF-16": "\xff\xfe{\x00\n\x00",
	} {
		store := newStore(t, nil)
		_, err := Import(t.Context(), store, strings.NewReader(text), &ImportOptions{OnRefused: []Remedy{Park, Skip}})
		require.ErrorContains(t, err, "line 1: it is no JSON, for the text is ")
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "--on-refused")
		require.Empty(t, all(t, store), "nothing of it is parked")
	}

	store := newStore(t, nil)
	result, err := Import(t.Context(), store, strings.NewReader("\ufeff"+good+"\r\n"), nil)
	require.NoError(t, err, "a byte order mark, as Windows programs write it")
	require.Equal(t, Result{Read: 1, Stored: 1}, result)
	result, err = Import(t.Context(), store, strings.NewReader("\ufeff"), nil)
	require.NoError(t, err)
	require.Equal(t, Result{}, result)
}
