package conformance_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// TestAStoreOfUUIDStreamsRunsTheWholeSuite: every stream ID of every check comes
// from the harness.
func TestAStoreOfUUIDStreamsRunsTheWholeSuite(t *testing.T) {
	h := classHarness("whose streams are UUIDs", func(h *handle) {
		h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
			for _, part := range req.Parts {
				if _, err := uuid.Parse(part.Stream); err != nil {
					return nil, fmt.Errorf("stream %q is not a UUID", part.Stream)
				}
			}
			return h.Backend.Append(ctx, req)
		}
		h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
			if _, err := uuid.Parse(req.Stream); err != nil {
				return eventstore.Page{}, fmt.Errorf("stream %q is not a UUID", req.Stream)
			}
			return h.Backend.ReadStream(ctx, req)
		}
	})
	h.StreamID = func(category string, number int) string {
		return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d", category, number)).String()
	}
	report, err := conformance.RunAll(t.Context(), h, conformance.Options{Parallel: 4})
	require.NoError(t, err)
	for _, result := range report.Results {
		assert.NotEqual(t, conformance.Failed, result.Status, "%s: %.400s", result.Check, result.Failure)
	}
}
