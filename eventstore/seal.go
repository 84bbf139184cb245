package eventstore

import "context"

// Seal ends the store's growth: from the seal's place in the order every append,
// from every process, is refused with ErrSealed, which carries the reason. What
// was acknowledged lies before it, so whoever has read up to the head that Seal
// returns has everything. Reads, subscriptions, checkpoints and snapshots go on.
// Sealing a sealed store changes nothing and keeps the first reason.
//
// An error that is not ErrInvalid or ErrUnsupported leaves open whether the store is
// sealed: [Store.Info] tells, and sealing again is safe. So it is with Unseal.
//
// It needs the capability Seal. The reason is 1–1,024 bytes and is shown to
// everybody who appends, so it must hold no credential.
func (s *Store) Seal(ctx context.Context, reason string) (Info, error) {
	err := checkText("reason", reason, maxReasonBytes)
	if err != nil {
		return Info{}, opError("seal", "", err)
	}
	info, err := s.seal(ctx, SealRequest{Reason: reason})
	return info, opError("seal", "", err)
}

// Unseal lets the store grow again. An append that was refused stays refused. A
// store that is not sealed stays as it is.
func (s *Store) Unseal(ctx context.Context) (Info, error) {
	info, err := s.seal(ctx, SealRequest{Lift: true})
	return info, opError("unseal", "", err)
}

const maxReasonBytes = 1024

// seal may be repeated where its outcome is not known: it changes nothing then.
func (s *Store) seal(ctx context.Context, req SealRequest) (Info, error) {
	if err := s.ready(ctx); err != nil {
		return Info{}, err
	}
	if !s.caps.Seal.supported {
		return Info{}, s.unsupported("sealing", s.caps.Seal)
	}
	return again(ctx, s, func() (Info, error) { return s.backend.Seal(ctx, req) })
}
