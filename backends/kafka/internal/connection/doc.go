// Package connection is what the Kafka backend knows of Kafka itself: how its
// client must be set up, what its errors mean, which topics are fit for a store,
// and how far a log is acknowledged.
package connection
