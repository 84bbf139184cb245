// Package adapter holds what the authors of backends share and applications
// never see. An application reads package eventstore.
package adapter
