package esdbtest

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// featuresService tells clients what the server can do. Like gossip it asks for
// no credentials.
type featuresService struct {
	serverfeatures.UnimplementedServerFeaturesServer
	opts *Options
}

// supported is what a server lists: every method in lower case, some with
// features. It is the server's list and not the double's, which serves four of the
// services. A client that asks for another is told Unimplemented; one that did not
// find it here would try the HTTP interface, which is not there at all.
func supported() []*serverfeatures.SupportedMethod {
	var methods []*serverfeatures.SupportedMethod
	add := func(service string, features []string, names ...string) {
		for _, name := range names {
			methods = append(methods, &serverfeatures.SupportedMethod{
				ServiceName: "event_store.client." + service, MethodName: name, Features: features,
			})
		}
	}
	add("persistent_subscriptions.persistentsubscriptions", []string{"stream", "all"},
		"create", "update", "delete", "read", "getinfo", "replayparked", "list", "restartsubsystem")
	add("streams.streams", []string{"position", "events"}, "read")
	add("streams.streams", []string{"deadline_duration"}, "batchappend")
	add("streams.streams", nil, "append", "delete", "tombstone")
	add("gossip.gossip", nil, "read")
	add("monitoring.monitoring", nil, "stats")
	add("operations.operations", nil, "mergeindexes", "resignnode", "restartpersistentsubscriptions",
		"setnodepriority", "shutdown", "startscavenge", "stopscavenge")
	add("redaction.redaction", nil, "geteventpositions", "switchchunks")
	add("server_features.serverfeatures", nil, "getsupportedmethods")
	add("users.users", nil, "changepassword", "create", "delete", "details", "disable", "enable",
		"resetpassword", "update")
	return methods
}

// GetSupportedMethods implements ServerFeatures.
func (f *featuresService) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	if f.opts.NoServerFeatures {
		return nil, status.Error(codes.Unimplemented, "unknown service event_store.client.server_features.ServerFeatures")
	}
	return &serverfeatures.SupportedMethods{EventStoreServerVersion: f.opts.Version, Methods: supported()}, nil
}
