package dynamodbtest_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// row is one thing that is so on DynamoDB, and must be so on the double. Its name
// begins with the design's row. Rows need no hooks, so that they can be run on
// any server.
type row struct {
	name string
	run  func(world)
}

func rows() []row {
	return slices.Concat(protocolRows(), limitRows(), valueRows(), expressionRows(), updateRows(),
		keyConditionRows(), pageRows(), capacityRows(), transactionRows(), tokenRows(), batchRows(), tableRows())
}

func TestTheDouble(t *testing.T) {
	srv := start(t, nil)
	for i, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.run(newWorld(t.Context(), t, srv.URL(), i))
		})
	}
}

// newWorld makes the table of the i-th row.
func newWorld(ctx context.Context, t require.TestingT, url string, i int) world {
	w := world{t: t, ctx: ctx, url: url, client: client(url), table: fmt.Sprintf("row-%d", i)}
	require.NoError(t, createTable(ctx, w.client, w.table))
	return w
}

func TestRowsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		require.False(t, seen[r.name], r.name)
		require.Regexp(t, `^D[1-9]\d? `, r.name)
		seen[r.name] = true
	}
}

// verdict runs a row where failing is no failure of the test: it returns what
// was wrong, "" for nothing.
func verdict(r row, world func(require.TestingT) world) string {
	rec := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(world(rec))
	}()
	<-done
	return strings.Join(rec.errors, "\n")
}

type recorder struct{ errors []string }

// Errorf implements require.TestingT.
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// FailNow implements require.TestingT.
func (r *recorder) FailNow() { runtime.Goexit() }

// post sends a request by hand.
func (w world) post(header http.Header, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.url, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header = header
	return http.DefaultClient.Do(req)
}
