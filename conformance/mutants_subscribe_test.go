package conformance_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

func subscriptionMutants() []readMutant {
	return []readMutant{
		{"loses what is appended between the last page and CaughtUp", []string{"subscription/hand-over-forced"}, func(r *reader) {
			r.resubscribe(true, r.head)
		}},
		{"loses what is appended between CaughtUp and waiting", []string{"subscription/hand-over-forced", "subscription/hand-over-under-load"}, func(r *reader) {
			r.resubscribe(false, r.head)
		}},
		{"delivers the last stored event again when it goes live", []string{"subscription/hand-over-forced", "subscription/caught-up"}, func(r *reader) {
			r.resubscribe(false, func(last eventstore.Place) eventstore.Place {
				hi, lo := last.Position.Words()
				return eventstore.Place{Position: eventstore.NewPosition(max(hi, 1)-1, lo)}
			})
		}},
		{"delivers an event twice", []string{"subscription/from-the-start"}, func(r *reader) {
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				if m.Kind == eventstore.MessageEvent && m.Event.Version == 3 && !yield(m) {
					return false
				}
				return yield(m)
			})
		}},
		{"tears a batch when it resumes", []string{"subscription/from-any-position", "subscription/resume"}, func(r *reader) {
			r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				if hi, lo := req.After.Position.Words(); hi%3 == 2 { // as if positions were those of batches
					req.After = eventstore.Place{Position: eventstore.NewPosition(hi+1, lo)}
				}
				return r.Backend.Subscribe(ctx, req)
			}
		}},
		{"never makes progress when nothing matches", []string{"subscription/progress", "durable/filtered-progress"}, func(r *reader) {
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				return m.Kind == eventstore.MessageProgress || yield(m)
			})
		}},
		{"never says that it has caught up", []string{"subscription/caught-up"}, func(r *reader) {
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				return m.Kind == eventstore.MessageCaughtUp || yield(m)
			})
		}},
		{"says too early that it has caught up", []string{"subscription/caught-up"}, func(r *reader) {
			r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					if !yield(eventstore.Message{Kind: eventstore.MessageCaughtUp, Place: req.After}, nil) {
						return
					}
					for m, err := range r.Backend.Subscribe(ctx, req) {
						if (err != nil || m.Kind != eventstore.MessageCaughtUp) && !yield(m, err) {
							return
						}
					}
				}
			}
		}},
		{"needs notifications", []string{"subscription/without-hints"}, func(r *reader) {
			if r.Capabilities().LivePush.Supported() {
				return
			}
			r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return adapter.Follow(ctx, req, adapter.FollowSource{Page: r.Backend.ReadAll, Info: r.Backend.Info, Poll: time.Hour})
			}
		}},
		{"hears only of its own handle's appends", []string{"subscription/sees-other-handles"}, func(r *reader) {
			var own adapter.Hint
			r.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				defer own.Notify()
				return r.Backend.Append(ctx, req)
			}
			r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return adapter.Follow(ctx, req, adapter.FollowSource{Page: r.Backend.ReadAll, Info: r.Backend.Info, Hint: &own, Poll: time.Hour})
			}
		}},
		{"declares a push and polls", []string{"subscription/live-push"}, func(r *reader) {
			r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return adapter.Follow(ctx, req, adapter.FollowSource{Page: r.Backend.ReadAll, Info: r.Backend.Info, Poll: 240 * time.Millisecond})
			}
		}},
		{"does not hear of a cancelled context while it waits", []string{"subscription/cancelled"}, func(r *reader) {
			r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					for m, err := range r.Backend.Subscribe(ctx, req) {
						if err != nil {
							<-time.After(8 * time.Second)
						}
						if !yield(m, err) {
							return
						}
					}
				}
			}
		}},
		{"reads ahead without bound", []string{"subscription/bounded-memory"}, func(r *reader) {
			r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					req.MaxEvents, req.MaxBytes = 1<<30, math.MaxInt
					queue := make([]eventstore.Message, 0)
					for m, err := range r.Backend.Subscribe(ctx, req) {
						if err != nil {
							return
						}
						if queue = append(queue, m); m.Kind == eventstore.MessageCaughtUp {
							break
						}
					}
					for _, m := range queue {
						if !yield(m, nil) {
							return
						}
					}
				}
			}
		}},
		{"lets a slow subscriber hold up its writers", []string{"subscription/slow-consumer"}, func(r *reader) {
			r.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				r.data.lock.Lock()
				defer r.data.lock.Unlock()
				return r.Backend.Append(ctx, req)
			}
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				r.data.lock.RLock()
				defer r.data.lock.RUnlock()
				return yield(m)
			})
		}},
	}
}

func progressMutants() []readMutant {
	return []readMutant{
		{"moves a checkpoint back", []string{"checkpoint/forward-only", "checkpoint/survives-reopening"}, func(r *reader) {
			r.keeps(overwritten{Checkpoints: r.Backend.Records().Checkpoints, data: r.data})
		}},
		{"compares a checkpoint before it takes the lock", []string{"checkpoint/concurrent-saves"}, func(r *reader) {
			r.keeps(overwritten{Checkpoints: r.Backend.Records().Checkpoints, data: r.data, before: func(stored, saved eventstore.Checkpoint) bool {
				return !stored.Place.Position.Before(saved.Place.Position)
			}})
		}},
		{"saves the head as the checkpoint, before the handler", []string{"durable/checkpoint-after-handler", "durable/crash", "checkpoint/round-trip"}, func(r *reader) {
			inner := r.Backend.Records().Checkpoints
			r.keeps(savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				c.Place = r.head(c.Place)
				return inner.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: c})
			}})
		}},
		{"does not save checkpoints", []string{"durable/at-least-once", "durable/checkpoint-after-handler", "checkpoint/round-trip"}, func(r *reader) {
			r.keeps(savedCheckpoints{r.Backend.Records().Checkpoints, func(context.Context, eventstore.Checkpoint) error { return nil }})
		}},
		{"claims every checkpoint for its own store", []string{"durable/foreign-checkpoint"}, func(r *reader) {
			inner := r.Backend.Records().Checkpoints
			r.keeps(savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				info, err := r.Backend.Info(ctx)
				if err != nil {
					return err
				}
				c.Store = info.ID
				return inner.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: c})
			}})
		}},
		{"lets an older snapshot overwrite a newer one", []string{"snapshot/latest-wins", "snapshot/survives-reopening"}, func(r *reader) {
			inner := r.Backend.Records().Snapshots
			r.keepsSnapshots(savedSnapshots{Snapshots: inner, save: func(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
				if err := inner.Delete(ctx, eventstore.DeleteSnapshotRequest{Stream: req.Snapshot.Stream, Type: req.Snapshot.Type}); err != nil {
					return err
				}
				return inner.Save(ctx, req)
			}})
		}},
		{"keeps one snapshot a stream, of whatever type", []string{"snapshot/keys-apart", "snapshot/absent"}, func(r *reader) {
			inner := r.Backend.Records().Snapshots
			r.keepsSnapshots(savedSnapshots{
				Snapshots: inner,
				save: func(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
					req.Snapshot.Type = "one"
					return inner.Save(ctx, req)
				},
				load: func(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
					found, err := inner.Load(ctx, eventstore.LoadSnapshotRequest{Stream: req.Stream, Type: "one"})
					found.Snapshot.Type = req.Type
					return found, err
				},
			})
		}},
		{"cuts a snapshot at its first NUL", []string{"snapshot/round-trip"}, func(r *reader) {
			inner := r.Backend.Records().Snapshots
			r.keepsSnapshots(savedSnapshots{Snapshots: inner, save: func(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
				req.Snapshot.Data, _, _ = bytes.Cut(req.Snapshot.Data, []byte{0})
				return inner.Save(ctx, req)
			}})
		}},
		{"compares a snapshot before it takes the lock", []string{"snapshot/concurrent-saves"}, func(r *reader) {
			inner := r.Backend.Records().Snapshots
			r.keepsSnapshots(savedSnapshots{Snapshots: inner, save: func(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
				key := eventstore.LoadSnapshotRequest{Stream: req.Snapshot.Stream, Type: req.Snapshot.Type}
				first, slow := req.Snapshot.Version <= 4, req.Snapshot.Version%2 == 1
				if first && !slow { // the slow ones compare before the others begin
					<-time.After(20 * time.Millisecond)
				}
				stored, err := inner.Load(ctx, key)
				if err != nil || stored.Snapshot.Version > req.Snapshot.Version {
					return err
				}
				if first && slow { // and save when the others are done
					<-time.After(60 * time.Millisecond)
				}
				if err := inner.Delete(ctx, eventstore.DeleteSnapshotRequest(key)); err != nil {
					return err
				}
				return inner.Save(ctx, req)
			}})
		}},
		{"deletes a stream's other snapshot too", []string{"snapshot/delete"}, func(r *reader) {
			inner := r.Backend.Records().Snapshots
			r.keepsSnapshots(savedSnapshots{Snapshots: inner, erase: func(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
				return errors.Join(inner.Delete(ctx, req), inner.Delete(ctx, eventstore.DeleteSnapshotRequest{Stream: req.Stream, Type: "Other"}))
			}})
		}},
		{"deletes snapshots through one handle alone", []string{"snapshot/delete"}, func(r *reader) {
			if r.handle > 0 {
				r.keepsSnapshots(savedSnapshots{Snapshots: r.Backend.Records().Snapshots, erase: func(context.Context, eventstore.DeleteSnapshotRequest) error { return nil }})
			}
		}},
		{"stores snapshots as events", []string{"checkpoint/not-in-the-log"}, func(r *reader) {
			inner := r.Backend.Records().Snapshots
			r.keepsSnapshots(savedSnapshots{Snapshots: inner, save: func(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
				_, err := r.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{
					Stream: "$snapshots", Expected: eventstore.Any(), Events: []eventstore.Event{{ID: uuid.New(), Type: req.Snapshot.Type}},
				}}})
				if err != nil {
					return err
				}
				return inner.Save(ctx, req)
			}})
		}},
	}
}
