package esdbtest

import (
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// signedRevision is a revision as the server keeps it, in a signed number. The
// largest unsigned one is -1, and it throws at the others below zero.
func signedRevision(revision uint64) (int64, error) {
	if revision == math.MaxUint64 {
		return -1, nil // no stream where it is expected, and the end where a read begins
	}
	if revision > math.MaxInt64 {
		return 0, handlerError()
	}
	return int64(revision), nil
}

func appendExpectation(options *streams.AppendReq_Options) (int64, error) {
	switch e := options.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_Revision:
		return signedRevision(e.Revision)
	case *streams.AppendReq_Options_NoStream:
		return expectNoStream, nil
	case *streams.AppendReq_Options_Any:
		return expectAny, nil
	case *streams.AppendReq_Options_StreamExists:
		return expectStreamExists, nil
	}
	return 0, notOneOf("AppendReq+Types+Options+ExpectedStreamRevision")
}

func deleteExpectation(options *streams.DeleteReq_Options) (int64, error) {
	switch e := options.GetExpectedStreamRevision().(type) {
	case *streams.DeleteReq_Options_Revision:
		return signedRevision(e.Revision)
	case *streams.DeleteReq_Options_NoStream:
		return expectNoStream, nil
	case *streams.DeleteReq_Options_Any:
		return expectAny, nil
	case *streams.DeleteReq_Options_StreamExists:
		return expectStreamExists, nil
	}
	return 0, notOneOf("DeleteReq+Types+Options+ExpectedStreamRevision")
}

func tombstoneExpectation(options *streams.TombstoneReq_Options) (int64, error) {
	switch e := options.GetExpectedStreamRevision().(type) {
	case *streams.TombstoneReq_Options_Revision:
		return signedRevision(e.Revision)
	case *streams.TombstoneReq_Options_NoStream:
		return expectNoStream, nil
	case *streams.TombstoneReq_Options_Any:
		return expectAny, nil
	case *streams.TombstoneReq_Options_StreamExists:
		return expectStreamExists, nil
	}
	return 0, notOneOf("TombstoneReq+Types+Options+ExpectedStreamRevision")
}
