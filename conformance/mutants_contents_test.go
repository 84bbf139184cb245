package conformance_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// nameMutants break what checkpoints and snapshots are kept under and can hold.
func nameMutants() []classMutant {
	checkpoints := func(under func(string) string) func(*handle) {
		return func(h *handle) {
			h.OnCheckpoints = func() eventstore.Checkpoints { return keptCheckpoints{h.Backend.Records().Checkpoints, under} }
		}
	}
	snapshots := func(under func(stream, kind string) (string, string)) func(*handle) {
		return func(h *handle) {
			h.OnSnapshots = func() eventstore.Snapshots { return keptSnapshots{h.Backend.Records().Snapshots, under} }
		}
	}
	kinds := func(fold func(string) string) func(*handle) {
		return snapshots(func(stream, kind string) (string, string) { return stream, fold(kind) })
	}
	joined := func(joint string) func(*handle) {
		return snapshots(func(stream, kind string) (string, string) { return "snapshots", stream + joint + kind })
	}
	composed := strings.NewReplacer("e\u0301", "\u00e9", "u\u0308", "\u00fc", "A\u030a", "\u00c5")
	positions := func(change func(hi, lo uint64) (uint64, uint64)) func(*handle) {
		return func(h *handle) {
			h.OnCheckpoints = func() eventstore.Checkpoints {
				return savedCheckpoints{h.Backend.Records().Checkpoints, func(ctx context.Context, c eventstore.Checkpoint) error {
					c.Place.Position = eventstore.NewPosition(change(c.Place.Position.Words()))
					return h.Backend.Records().Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: c})
				}}
			}
		}
	}
	savedAs := func(change func(*eventstore.Snapshot)) func(*handle) {
		return func(h *handle) {
			h.OnSnapshots = func() eventstore.Snapshots {
				return savedSnapshots{Snapshots: h.Backend.Records().Snapshots, save: func(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
					change(&req.Snapshot)
					return h.Backend.Records().Snapshots.Save(ctx, req)
				}}
			}
		}
	}
	versions := func(change func(uint64) uint64) func(*handle) {
		return savedAs(func(s *eventstore.Snapshot) { s.Version = change(s.Version) })
	}
	schemas := func(change func(int) int) func(*handle) {
		return savedAs(func(s *eventstore.Snapshot) { s.SchemaVersion = change(s.SchemaVersion) })
	}
	return []classMutant{
		{"folds the case of checkpoints", "checkpoint/names-nearly-alike", "", checkpoints(strings.ToLower)},
		{"trims the end of checkpoints' names", "checkpoint/names-nearly-alike", "", checkpoints(func(s string) string { return strings.TrimRight(s, " ") })},
		{"composes checkpoints' names", "checkpoint/names-nearly-alike", "", checkpoints(composed.Replace)},
		{"cuts checkpoints' names at 254 bytes", "checkpoint/names-nearly-alike", "", checkpoints(func(s string) string { return s[:min(len(s), 254)] })},
		{"cuts checkpoints' names at 63 bytes", "checkpoint/names-nearly-alike", "", checkpoints(func(s string) string { return s[:min(len(s), 63)] })},
		{"keeps a position's high word", "checkpoint/every-position", "", positions(func(hi, _ uint64) (uint64, uint64) { return hi, 0 })},
		{"keeps positions as 32 bits", "checkpoint/every-position", "", positions(func(hi, lo uint64) (uint64, uint64) { return hi, lo & math.MaxUint32 })},
		{"keeps positions as signed numbers", "checkpoint/every-position", "", positions(func(hi, lo uint64) (uint64, uint64) { return min(hi, math.MaxInt64), min(lo, math.MaxInt64) })},
		{"keeps positions as floats", "checkpoint/every-position", "", positions(func(hi, lo uint64) (uint64, uint64) { return hi, uint64(float64(lo)) })},
		{"folds the case of snapshots' types", "snapshot/keys-nearly-alike", "", kinds(strings.ToLower)},
		{"trims snapshots' types", "snapshot/keys-nearly-alike", "", kinds(strings.TrimSpace)},
		{"cuts snapshots' types at 128 bytes", "snapshot/keys-nearly-alike", "", kinds(func(s string) string { return s[:min(len(s), 127)] })},
		{"folds the case of snapshots' streams", "snapshot/keys-nearly-alike", "", snapshots(func(stream, kind string) (string, string) { return strings.ToLower(stream), kind })},
		{"joins a snapshot's names", "snapshot/keys-of-two-names", "", joined("")},
		{"joins a snapshot's names with a dash", "snapshot/keys-of-two-names", "", joined("-")},
		{"joins a snapshot's names with a slash", "snapshot/keys-of-two-names", "", joined("/")},
		{"joins a snapshot's names with a bar", "snapshot/keys-of-two-names", "", joined("|")},
		{"keeps snapshots' versions as 32 bits", "snapshot/every-version", "", versions(func(v uint64) uint64 { return v & math.MaxUint32 })},
		{"keeps snapshots' schema versions as 32 bits", "snapshot/every-version", "", schemas(func(v int) int { return int(int32(v)) })},
		{"keeps snapshots' versions as floats", "snapshot/every-version", "", versions(func(v uint64) uint64 { return uint64(float64(v)) })},
	}
}

// contentMutants break contents, bounds and loops.
func contentMutants() []classMutant {
	stored := func(change func(*eventstore.Event)) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				for i := range req.Parts {
					for j := range req.Parts[i].Events {
						change(&req.Parts[i].Events[j])
					}
				}
				return h.Backend.Append(ctx, req)
			}
		}
	}
	// compared takes an event for the stored one where change makes them alike.
	compared := func(change func(*eventstore.Event)) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				for j, e := range req.Parts[0].Events {
					h.data.remember(func(kept map[string]any) {
						before, ok := kept[req.Parts[0].Stream+e.ID.String()].(eventstore.Event)
						if !ok {
							kept[req.Parts[0].Stream+e.ID.String()] = e
							return
						}
						a, b := before, e
						a.Metadata, b.Metadata = maps.Clone(a.Metadata), maps.Clone(b.Metadata)
						change(&a)
						change(&b)
						if a.SameContent(b) {
							req.Parts[0].Events[j] = before
						}
					})
				}
				return h.Backend.Append(ctx, req)
			}
		}
	}
	isText := func(e *eventstore.Event, names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(strings.ToLower(e.ContentType), name) })
	}
	versioned := func(change func(req *eventstore.ReadStreamRequest)) func(*handle) {
		return func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				change(&req)
				return h.Backend.ReadStream(ctx, req)
			}
		}
	}
	return []classMutant{
		{"keeps text as UTF-8", "contents/media-types", "", stored(func(e *eventstore.Event) {
			if isText(e, "text/") {
				e.Data = bytes.ToValidUTF8(e.Data, []byte("\ufffd"))
			}
		})},
		{"changes line ends of text", "contents/media-types", "", stored(func(e *eventstore.Event) {
			if isText(e, "text/plain") {
				e.Data = bytes.ReplaceAll(e.Data, []byte("\r\n"), []byte("\n"))
			}
		})},
		{"compacts what ends in +json", "contents/media-types", "", stored(func(e *eventstore.Event) {
			if strings.Contains(e.ContentType, "+json") {
				e.Data = bytes.TrimSpace(e.Data)
			}
		})},
		{"drops a byte order mark of XML", "contents/media-types", "", stored(func(e *eventstore.Event) {
			if strings.Contains(e.ContentType, "xml") {
				e.Data = bytes.TrimPrefix(e.Data, []byte("\ufeff"))
			}
		})},
		{"compares the first 4 KiB of data", "contents/one-byte-apart", "under its ID", compared(func(e *eventstore.Event) { e.Data = e.Data[:min(len(e.Data), 4096)] })},
		{"compares data by length and ends", "contents/one-byte-apart", "under its ID", compared(func(e *eventstore.Event) {
			if n := len(e.Data); n > 2000 {
				e.Data = slices.Concat(e.Data[:1000], make([]byte, n-2000), e.Data[n-1000:])
			}
		})},
		{"compares types but for their last byte", "contents/one-byte-apart", "under its ID", compared(func(e *eventstore.Event) { e.Type = e.Type[:min(len(e.Type), 254)] })},
		{"compares the first 256 bytes of metadata values", "contents/one-byte-apart", "under its ID", compared(func(e *eventstore.Event) {
			for k, v := range e.Metadata {
				e.Metadata[k] = v[:min(len(v), 256)]
			}
		})},
		{"compares content types without their ends", "contents/one-byte-apart", "under its ID", compared(func(e *eventstore.Event) { e.ContentType = e.ContentType[:min(len(e.ContentType), 200)] })},
		{"keeps the first 15 bytes of IDs apart", "contents/ids-one-byte-apart", "", stored(func(e *eventstore.Event) { e.ID[15] = 0 })},
		{"makes IDs of version 4", "contents/ids-one-byte-apart", "", stored(func(e *eventstore.Event) { e.ID[6] = e.ID[6]&0x0f | 0x40 })},
		{"keeps 256 keys of metadata", "contents/many-metadata-keys", "", stored(func(e *eventstore.Event) {
			if keys := slices.Sorted(maps.Keys(e.Metadata)); len(keys) > 256 {
				for _, key := range keys[256:] {
					delete(e.Metadata, key)
				}
			}
		})},
		{"compares 1,000 keys of metadata", "contents/many-metadata-keys", "another metadata key", compared(func(e *eventstore.Event) {
			for i, key := range slices.Sorted(maps.Keys(e.Metadata)) {
				if i > 1000 {
					delete(e.Metadata, key)
				}
			}
		})},
		{"reads bounds as 32 bits", "bounds/stream-versions", "", versioned(func(req *eventstore.ReadStreamRequest) { req.After &= math.MaxUint32; req.Before &= math.MaxUint32 })},
		{"adds one to the highest bound", "bounds/stream-versions", "", versioned(func(req *eventstore.ReadStreamRequest) {
			if req.After == math.MaxInt64 {
				req.After = 0
			}
		})},
		{"reads nothing before a bound beyond 2^53", "bounds/stream-versions", "", versioned(func(req *eventstore.ReadStreamRequest) {
			if req.Before > 1<<53 {
				req.Before = 1
			}
		})},
		{"reads positions as signed numbers", "bounds/positions", "", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				if hi, lo := req.Before.Words(); hi > math.MaxInt64 {
					req.Before = eventstore.NewPosition(1, lo)
				}
				return h.Backend.ReadAll(ctx, req)
			}
		}},
		{"reads the high word of an upper bound alone", "bounds/positions", "", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				hi, _ := req.Before.Words()
				req.Before = eventstore.NewPosition(hi, 0)
				return h.Backend.ReadAll(ctx, req)
			}
		}},
		{"takes a lower bound between two events for the later one", "bounds/positions", "", func(h *handle) {
			h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				if hi, lo := req.After.Position.Words(); lo > 0 && hi < math.MaxUint64 {
					req.After = eventstore.Place{Position: eventstore.NewPosition(hi+1, 0)}
				}
				return h.Backend.ReadAll(ctx, req)
			}
		}},
		{"expects versions as 32 bits", "bounds/expected-versions", "an append that expects", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if version, exact := req.Parts[0].Expected.Exact(); exact {
					req.Parts[0].Expected = eventstore.Exactly(version & math.MaxUint32)
				}
				return h.Backend.Append(ctx, req)
			}
		}},
		{"takes an expected version beyond 2^62 for any", "bounds/expected-versions", "an append that expects", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if version, exact := req.Parts[0].Expected.Exact(); exact && version > 1<<62 {
					req.Parts[0].Expected = eventstore.Any()
				}
				return h.Backend.Append(ctx, req)
			}
		}},
		{"keeps a lock when a subscription is left at its fifth message", "iterator/left-anywhere", "within", func(h *handle) {
			left := make(chan struct{}, 1)
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					n := 0
					for m, err := range h.Backend.Subscribe(ctx, req) {
						if n++; !yield(m, err) {
							if n == 5 {
								left <- struct{}{}
							}
							return
						}
					}
				}
			}
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				select {
				case left <- struct{}{}:
					<-left
				case <-ctx.Done():
					return eventstore.Page{}, ctx.Err()
				}
				return h.Backend.ReadStream(ctx, req)
			}
		}},
		{"waits in Close for its subscriptions", "close/anywhere-in-a-loop", "within", func(h *handle) {
			var open sync.WaitGroup
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					open.Add(1)
					defer open.Done()
					h.Backend.Subscribe(ctx, req)(yield)
				}
			}
			h.OnClose = func() error {
				closed := make(chan struct{})
				go func() {
					defer close(closed)
					open.Wait()
				}()
				select {
				case <-closed:
				case <-time.After(5 * time.Second): // so that the test ends
				}
				return h.Backend.Close()
			}
		}},
		{"says what its driver says when it is closed", "close/anywhere-in-a-loop", "broken pipe", func(h *handle) {
			h.OnClose = func() error { return errors.Join(h.Backend.Close(), errors.New("write: broken pipe")) }
		}},
	}
}
