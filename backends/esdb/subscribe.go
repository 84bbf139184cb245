package esdb

import (
	"context"
	"iter"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Subscribe implements [eventstore.Backend]: pages of ReadAll, and at the end of the
// log what the handle's shared subscription has.
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	source := adapter.FollowSource{Page: b.ReadAll, Info: b.Info, Hint: &b.shared.hint, Poll: b.options.Poll}
	if b.options.NoPush {
		return adapter.Follow(ctx, req, source)
	}
	return func(yield func(eventstore.Message, error) bool) {
		page, leave := b.shared.follow()
		defer leave()
		source.Page = page
		adapter.Follow(ctx, req, source)(yield)
	}
}
