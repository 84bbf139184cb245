package conformance_test

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// unsealed appends around the log's seal, as a write does that the seal does not reach.
func (h *handle) unsealed(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	h.data.sealing.Lock()
	defer h.data.sealing.Unlock()
	around := h.data.log.Open(nil)
	info, err := around.Info(ctx)
	if err != nil || !info.Sealed {
		return h.Backend.Append(ctx, req)
	}
	if _, err := around.Seal(ctx, eventstore.SealRequest{Lift: true}); err != nil {
		return nil, err
	}
	results, err := h.Backend.Append(ctx, req)
	_, sealed := around.Seal(ctx, eventstore.SealRequest{Reason: info.SealReason})
	return results, errors.Join(err, sealed)
}

// sealMutants break promise 23.
func sealMutants() []classMutant {
	// refused breaks what becomes of an append that the seal refuses.
	refused := func(change func(ctx context.Context, h *handle, req eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error)) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := h.Backend.Append(ctx, req)
				var sealed *eventstore.SealedError
				if errors.As(err, &sealed) {
					return change(ctx, h, req, sealed)
				}
				return results, err
			}
		}
	}
	// under breaks every append that finds the store sealed.
	under := func(change func(ctx context.Context, h *handle, req eventstore.AppendRequest, info eventstore.Info) ([]eventstore.PartResult, error)) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if info, err := h.Backend.Info(ctx); err == nil && info.Sealed {
					return change(ctx, h, req, info)
				}
				return h.Backend.Append(ctx, req)
			}
		}
	}
	sealing := func(change func(ctx context.Context, h *handle, req eventstore.SealRequest) (eventstore.Info, error)) func(*handle) {
		return func(h *handle) {
			h.OnSeal = func(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
				return change(ctx, h, req)
			}
		}
	}
	signals := func(change func(m eventstore.Message, yield func(eventstore.Message) bool) bool) func(*handle) {
		return func(h *handle) {
			h.messages(func(context.Context, eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					if m.Kind == eventstore.MessageSealed {
						return change(m, yield)
					}
					return yield(m)
				}
			})
		}
	}
	// refusedRecord is the answer on what is kept beside the events, under a seal.
	refusedRecord := func(ctx context.Context, h *handle) error {
		if info, err := h.Backend.Info(ctx); err != nil || info.Sealed {
			return errors.Join(err, &eventstore.SealedError{Reason: info.SealReason})
		}
		return nil
	}
	return []classMutant{
		{"knows the seal in the handle that sealed", "seal/refuses-appends", "through handle 2", under(func(ctx context.Context, h *handle, req eventstore.AppendRequest, _ eventstore.Info) ([]eventstore.PartResult, error) {
			if h.number == 0 {
				return h.Backend.Append(ctx, req)
			}
			return h.unsealed(ctx, req)
		})},
		{"refuses new streams alone", "seal/refuses-appends", "got no error", under(func(ctx context.Context, h *handle, req eventstore.AppendRequest, _ eventstore.Info) ([]eventstore.PartResult, error) {
			if req.Parts[0].Expected == eventstore.NoStream() {
				return h.Backend.Append(ctx, req)
			}
			return h.unsealed(ctx, req)
		})},
		{"loses the reason", "seal/refuses-appends", "with the reason", refused(func(context.Context, *handle, eventstore.AppendRequest, *eventstore.SealedError) ([]eventstore.PartResult, error) {
			return nil, &eventstore.SealedError{Reason: "sealed"}
		})},
		{"names a stream in the store's seal", "seal/refuses-appends", "with the reason", refused(func(_ context.Context, _ *handle, req eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error) {
			return nil, &eventstore.SealedError{Stream: req.Parts[0].Stream, Reason: sealed.Reason}
		})},
		{"does not know whether it was written", "seal/refuses-appends", "unknown outcome", refused(func(_ context.Context, _ *handle, _ eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error) {
			return nil, errors.Join(sealed, eventstore.ErrUnknownOutcome)
		})},
		{"writes what it refuses", "seal/refuses-appends", "too many|and no other", refused(func(ctx context.Context, h *handle, req eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error) {
			_, err := h.unsealed(ctx, req)
			return nil, errors.Join(err, sealed)
		})},
		{"reads nothing under a seal", "seal/refuses-appends", "append is refused|sealed", func(h *handle) {
			h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				if info, err := h.Backend.Info(ctx); err == nil && info.Sealed {
					return eventstore.Page{}, &eventstore.SealedError{Reason: info.SealReason}
				}
				return h.Backend.ReadStream(ctx, req)
			}
		}},
		{"does not show the seal in Info", "seal/refuses-appends", "seal as handle 1 sees it", func(h *handle) {
			h.OnInfo = func(ctx context.Context) (eventstore.Info, error) {
				info, err := h.Backend.Info(ctx)
				info.Sealed, info.SealReason = false, ""
				return info, err
			}
		}},
		{"checks the seal before it takes the lock", "seal/exact-under-writers", "event in a sealed store", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if info, err := h.Backend.Info(ctx); err == nil && info.Sealed {
					return h.Backend.Append(ctx, req)
				}
				roundTrip()
				return h.unsealed(ctx, req)
			}
		}},
		{"returns the head from before the seal", "seal/exact-under-writers", "event in a sealed store", sealing(func(ctx context.Context, h *handle, req eventstore.SealRequest) (eventstore.Info, error) {
			before, err := h.Backend.Info(ctx)
			if err != nil {
				return before, err
			}
			roundTrip()
			info, err := h.Backend.Seal(ctx, req)
			info.Head = before.Head
			return info, err
		})},
		{"refuses what it has stored under a seal", "seal/exact-under-writers", "events of a sealed store: expected the", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				results, err := h.Backend.Append(ctx, req)
				roundTrip()
				if info, infoErr := h.Backend.Info(ctx); err == nil && infoErr == nil && info.Sealed {
					return nil, &eventstore.SealedError{Reason: info.SealReason}
				}
				return results, err
			}
		}},
		{"refuses repetitions under a seal", "seal/order-of-judgement", "in a sealed store", under(func(_ context.Context, _ *handle, _ eventstore.AppendRequest, info eventstore.Info) ([]eventstore.PartResult, error) {
			return nil, &eventstore.SealedError{Reason: info.SealReason}
		})},
		{"judges the seal before a reused ID", "seal/order-of-judgement", "a reused ID in a sealed store", under(func(ctx context.Context, h *handle, req eventstore.AppendRequest, info eventstore.Info) ([]eventstore.PartResult, error) {
			results, err := h.Backend.Append(ctx, req)
			if errors.Is(err, eventstore.ErrEventIDReused) {
				err = &eventstore.SealedError{Reason: info.SealReason}
			}
			return results, err
		})},
		{"judges the expectation before the seal", "seal/order-of-judgement", "whose expectation does not hold", refused(func(ctx context.Context, h *handle, req eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error) {
			for _, part := range req.Parts {
				if current := h.version(ctx, part.Stream); !part.Expected.Allows(current) {
					return nil, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: current}
				}
			}
			return nil, sealed
		})},
		{"takes an append for a repetition where one part is", "seal/several-streams", "an append to several streams of a sealed store", refused(func(ctx context.Context, h *handle, req eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error) {
			for i := range req.Parts {
				alone := eventstore.AppendRequest{Parts: req.Parts[i : i+1]}
				if _, err := h.Backend.Append(ctx, alone); err == nil && len(req.Parts[i].Events) > 0 {
					return h.unsealed(ctx, req)
				}
			}
			return nil, sealed
		})},
		{"judges the checks of a repetition under a seal", "seal/several-streams", "a repetition beside a check", under(func(ctx context.Context, h *handle, req eventstore.AppendRequest, info eventstore.Info) ([]eventstore.PartResult, error) {
			for _, part := range req.Parts {
				if current := h.version(ctx, part.Stream); len(part.Events) == 0 && !part.Expected.Allows(current) {
					return nil, &eventstore.SealedError{Reason: info.SealReason}
				}
			}
			return h.Backend.Append(ctx, req)
		})},
		{"keeps the last reason", "seal/keeps-the-first-reason", "reason that every Seal returns|seal as handle", sealing(func(ctx context.Context, h *handle, req eventstore.SealRequest) (eventstore.Info, error) {
			if _, err := h.Backend.Seal(ctx, eventstore.SealRequest{Lift: true}); err != nil {
				return eventstore.Info{}, err
			}
			return h.Backend.Seal(ctx, req)
		})},
		{"returns the reason that was given", "seal/keeps-the-first-reason", "reason that every Seal returns", sealing(func(ctx context.Context, h *handle, req eventstore.SealRequest) (eventstore.Info, error) {
			info, err := h.Backend.Seal(ctx, req)
			info.SealReason = req.Reason
			return info, err
		})},
		{"refuses to seal twice", "seal/keeps-the-first-reason", "sealed", sealing(func(ctx context.Context, h *handle, req eventstore.SealRequest) (eventstore.Info, error) {
			if info, err := h.Backend.Info(ctx); err != nil || info.Sealed && !req.Lift {
				return info, errors.Join(err, &eventstore.SealedError{Reason: info.SealReason})
			}
			return h.Backend.Seal(ctx, req)
		})},
		{"forgets the seal when it is opened again", "seal/survives-reopening", "sealed store that was opened again", func(h *handle) {
			if h.number > 0 {
				_, _ = h.Backend.Seal(context.Background(), eventstore.SealRequest{Lift: true})
			}
		}},
		{"stores what was refused when the seal is lifted", "seal/lifted", "after the seal was lifted", func(h *handle) {
			refused(func(_ context.Context, h *handle, req eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error) {
				h.data.remember(func(kept map[string]any) { kept["refused"] = req })
				return nil, sealed
			})(h)
			sealing(func(ctx context.Context, h *handle, seal eventstore.SealRequest) (eventstore.Info, error) {
				info, err := h.Backend.Seal(ctx, seal)
				h.data.remember(func(kept map[string]any) {
					if req, ok := kept["refused"].(eventstore.AppendRequest); ok && seal.Lift {
						_, late := h.Backend.Append(ctx, req)
						err = errors.Join(err, late)
						delete(kept, "refused")
					}
				})
				return info, err
			})(h)
		}},
		{"remembers the IDs that it refused", "seal/lifted", "append what was refused under the seal", func(h *handle) {
			refused(func(_ context.Context, h *handle, req eventstore.AppendRequest, sealed *eventstore.SealedError) ([]eventstore.PartResult, error) {
				h.data.remember(func(kept map[string]any) { kept[req.Parts[0].Events[0].ID.String()] = true })
				return nil, sealed
			})(h)
			inner := h.OnAppend
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				met := false
				h.data.remember(func(kept map[string]any) { met = kept[req.Parts[0].Events[0].ID.String()] != nil })
				if met {
					return nil, &eventstore.EventIDReusedError{Stream: req.Parts[0].Stream, ID: req.Parts[0].Events[0].ID}
				}
				return inner(ctx, req)
			}
		}},
		{"lifts a seal once", "seal/lifted", "not sealed", sealing(func(ctx context.Context, h *handle, req eventstore.SealRequest) (eventstore.Info, error) {
			if info, err := h.Backend.Info(ctx); err != nil || !info.Sealed && req.Lift {
				return info, errors.Join(err, errors.New("the store is not sealed"))
			}
			return h.Backend.Seal(ctx, req)
		})},
		{"never says that the last event was delivered", "seal/subscriptions-say-so", "the signal that the last event was delivered in time", signals(func(eventstore.Message, func(eventstore.Message) bool) bool { return true })},
		{"says twice that the last event was delivered", "seal/subscriptions-say-so", "expected 1, got [2-9]", signals(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
			more := yield(m)
			return more && yield(m)
		})},
		{"says at a seal no place", "seal/subscriptions-say-so", "place of the signal", signals(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
			m.Place = eventstore.Place{}
			return yield(m)
		})},
		{"ends its subscriptions at a seal", "seal/subscriptions-say-so", "after the seal was lifted", func(h *handle) {
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					for m, err := range h.Backend.Subscribe(ctx, req) {
						if !yield(m, err) || err != nil {
							return
						}
						if m.Kind == eventstore.MessageSealed {
							<-ctx.Done()
							yield(eventstore.Message{}, ctx.Err())
							return
						}
					}
				}
			}
		}},
		{"says at the first page that the last event was delivered", "seal/subscriptions-say-so", "place of the signal", func(h *handle) {
			h.messages(func(ctx context.Context, req eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				info, err := h.Backend.Info(ctx)
				early := err == nil && info.Sealed
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					if early {
						early = false
						if !yield(eventstore.Message{Kind: eventstore.MessageSealed, Place: req.After}) {
							return false
						}
					}
					return yield(m)
				}
			})
		}},
		{"says of a seal only to who was there", "seal/subscriptions-say-so", "the signal that the last event was delivered in time", func(h *handle) {
			h.messages(func(ctx context.Context, _ eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				info, err := h.Backend.Info(ctx)
				late := err == nil && info.Sealed
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					return late && m.Kind == eventstore.MessageSealed || yield(m)
				}
			})
		}},
		{"says of a seal only where nothing is filtered", "seal/subscriptions-say-so", "the signal that the last event was delivered in time", func(h *handle) {
			h.messages(func(_ context.Context, req eventstore.SubscribeRequest) func(eventstore.Message, func(eventstore.Message) bool) bool {
				return func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
					return !req.Filter.IsZero() && m.Kind == eventstore.MessageSealed || yield(m)
				}
			})
		}},
		{"keeps no checkpoints under a seal", "seal/records-go-on", "save a checkpoint in a sealed store", func(h *handle) {
			h.OnCheckpoints = func() eventstore.Checkpoints {
				inner := h.Backend.Records().Checkpoints
				return progressWith{Checkpoints: inner, save: func(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
					return cmp.Or(refusedRecord(ctx, h), inner.Save(ctx, req))
				}}
			}
		}},
		{"gives no leases under a seal", "seal/records-go-on", "run a subscription in a sealed store", func(h *handle) {
			h.OnCheckpoints = func() eventstore.Checkpoints {
				inner := h.Backend.Records().Checkpoints
				return progressWith{Checkpoints: inner, swap: func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
					if err := refusedRecord(ctx, h); err != nil {
						return eventstore.SwapLeaseResult{}, err
					}
					return inner.SwapLease(ctx, req)
				}}
			}
		}},
		{"keeps no snapshots under a seal", "seal/records-go-on", "save a snapshot in a sealed store", func(h *handle) {
			h.OnSnapshots = func() eventstore.Snapshots {
				inner := h.Backend.Records().Snapshots
				return savedSnapshots{Snapshots: inner, save: func(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
					return cmp.Or(refusedRecord(ctx, h), inner.Save(ctx, req))
				}}
			}
		}},
	}
}

// version reads a stream's version beside the append.
func (h *handle) version(ctx context.Context, stream string) uint64 {
	page, err := h.Backend.ReadStream(ctx, eventstore.ReadStreamRequest{Stream: stream, Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	if err != nil || len(page.Events) == 0 {
		return 0
	}
	return page.Events[0].Version
}
