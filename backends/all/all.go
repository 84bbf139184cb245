// Package all lists every backend that Switchyard ships, and links them all with
// their drivers. It is for programs that leave the choice to their users; one
// that knows what it may open names a [backends.Set] of its own, and is smaller.
package all

import (
	"context"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Set returns the set of all backends: a new one is one line here.
func Set() backends.Set {
	return backends.Set{
		memory.Scheme(),
		sqlite.Scheme(),
		postgres.Scheme(),
		esdb.Scheme(),
		marten.Scheme(),
		kafka.Scheme(),
		dynamodb.Scheme(),
	}
}

// Open opens the store at a URL, as [backends.Set.Open] does:
//
//	memory:             a new store in this process's memory
//	sqlite:orders.db    a file; see package sqlite
//	postgres://…        a schema of a PostgreSQL database; see package postgres
//	esdb://…            an EventStoreDB server; see package esdb
//	marten://…          the tables of a .NET application that uses Marten; see package marten
//	kafka://…           a topic of an Apache Kafka cluster; see package kafka
//	dynamodb://…        a DynamoDB table; see package dynamodb
func Open(ctx context.Context, rawURL string, opts *eventstore.Options) (*eventstore.Store, error) {
	return Set().Open(ctx, rawURL, opts)
}

// OpenConfig opens the store that a config file names, as
// [backends.Set.OpenConfig] does.
func OpenConfig(ctx context.Context, path, name string, opts *eventstore.Options) (*eventstore.Store, error) {
	return Set().OpenConfig(ctx, path, name, opts)
}
