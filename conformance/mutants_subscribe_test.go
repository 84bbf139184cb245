package conformance_test

import (
	"bytes"
	"context"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
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
			r.resubscribe(false, func(last eventstore.Position) eventstore.Position {
				hi, lo := last.Words()
				return eventstore.NewPosition(max(hi, 1)-1, lo)
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
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				if hi, lo := req.After.Words(); hi%3 == 2 { // as if positions were those of batches
					req.After = eventstore.NewPosition(hi+1, lo)
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
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					if !yield(eventstore.Message{Kind: eventstore.MessageCaughtUp, Position: req.After}, nil) {
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
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: r.Backend.ReadAll, Poll: time.Hour})
			}
		}},
		{"hears only of its own handle's appends", []string{"subscription/sees-other-handles"}, func(r *reader) {
			var own eventstore.Hint
			r.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				defer own.Notify()
				return r.Backend.Append(ctx, req)
			}
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: r.Backend.ReadAll, Hint: &own, Poll: time.Hour})
			}
		}},
		{"declares a push and polls", []string{"subscription/live-push"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: r.Backend.ReadAll, Poll: 240 * time.Millisecond})
			}
		}},
		{"does not hear of a cancelled context while it waits", []string{"subscription/cancelled"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					for m, err := range r.Backend.Subscribe(ctx, req) {
						if err != nil {
							<-time.After(3500 * time.Millisecond)
						}
						if !yield(m, err) {
							return
						}
					}
				}
			}
		}},
		{"reads ahead without bound", []string{"subscription/bounded-memory"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					req.MaxEvents, req.MaxBytes = 1<<30, 1<<40
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
			r.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
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
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				r.data.mu.Lock() // it is atomic, and wrong
				defer r.data.mu.Unlock()
				if err := inner.Delete(ctx, c.Name); err != nil {
					return err
				}
				return inner.Save(ctx, c)
			}}
		}},
		{"compares a checkpoint before it takes the lock", []string{"checkpoint/concurrent-saves"}, func(r *reader) {
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				stored, ok, err := inner.Load(ctx, c.Name)
				if err != nil || ok && !stored.Position.Before(c.Position) {
					return err
				}
				roundTrip()
				r.data.mu.Lock()
				defer r.data.mu.Unlock()
				if err := inner.Delete(ctx, c.Name); err != nil {
					return err
				}
				return inner.Save(ctx, c)
			}}
		}},
		{"saves the head as the checkpoint, before the handler", []string{"durable/checkpoint-after-handler", "durable/crash", "checkpoint/round-trip"}, func(r *reader) {
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				c.Position = r.head(c.Position)
				return inner.Save(ctx, c)
			}}
		}},
		{"does not save checkpoints", []string{"durable/at-least-once", "durable/checkpoint-after-handler", "checkpoint/round-trip"}, func(r *reader) {
			r.checkpoints = savedCheckpoints{r.Backend.Checkpoints(), func(context.Context, eventstore.Checkpoint) error { return nil }}
		}},
		{"claims every checkpoint for its own store", []string{"durable/foreign-checkpoint"}, func(r *reader) {
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				page, err := r.Backend.ReadAll(ctx, eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
				if err != nil {
					return err
				}
				c.Store = page.Store
				return inner.Save(ctx, c)
			}}
		}},
		{"lets an older snapshot overwrite a newer one", []string{"snapshot/latest-wins", "snapshot/survives-reopening"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{Snapshots: inner, save: func(ctx context.Context, s eventstore.Snapshot) error {
				if err := inner.Delete(ctx, s.Stream, s.Type); err != nil {
					return err
				}
				return inner.Save(ctx, s)
			}}
		}},
		{"keeps one snapshot a stream, of whatever type", []string{"snapshot/keys-apart", "snapshot/absent"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{
				inner,
				func(ctx context.Context, s eventstore.Snapshot) error {
					s.Type = "one"
					return inner.Save(ctx, s)
				},
				func(ctx context.Context, stream, kind string) (eventstore.Snapshot, bool, error) {
					s, ok, err := inner.Load(ctx, stream, "one")
					s.Type = kind
					return s, ok, err
				},
			}
		}},
		{"cuts a snapshot at its first NUL", []string{"snapshot/round-trip"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{Snapshots: inner, save: func(ctx context.Context, s eventstore.Snapshot) error {
				s.Data, _, _ = bytes.Cut(s.Data, []byte{0})
				return inner.Save(ctx, s)
			}}
		}},
		{"stores snapshots as events", []string{"checkpoint/not-in-the-log"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{Snapshots: inner, save: func(ctx context.Context, s eventstore.Snapshot) error {
				_, err := r.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{
					Stream: "$snapshots", Expected: eventstore.Any(), Events: []eventstore.Event{{ID: uuid.New(), Type: s.Type}},
				}}})
				if err != nil {
					return err
				}
				return inner.Save(ctx, s)
			}}
		}},
	}
}
