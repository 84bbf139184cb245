// Package adapter holds what adapters share and applications never see: the
// verdict on an append ([Judge]), room for the events of a page ([GrowPage]), subscriptions
// over pages ([Follow], [Hint]), the check of a place to resume from ([CheckPlace]), what is
// kept under a subscription's name ([Progress]), what an error means already ([IsContract]),
// and group commit ([GroupCommit]).
package adapter
