// Package adapter holds what adapters share and applications never see: the
// verdict on an append ([Judge]), subscriptions over pages ([Follow], [Hint]), the
// check of a place to resume from ([CheckPlace]), and group commit.
package adapter
