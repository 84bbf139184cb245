// Package kafkaclient is what everything that speaks to Kafka shares: how the client
// must be set up, which of its errors are about reaching the brokers, and how a URL
// names them.
package kafkaclient
