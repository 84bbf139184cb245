package esdbtest

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// featuresService tells clients what the server can do. Like gossip it asks for
// no credentials.
type featuresService struct {
	serverfeatures.UnimplementedServerFeaturesServer
	opts *Options
}

// GetSupportedMethods implements ServerFeatures. BatchAppend is not named, so
// that clients which know it use Append.
func (f *featuresService) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	if f.opts.NoServerFeatures {
		return nil, status.Error(codes.Unimplemented, "unknown service event_store.client.server_features.ServerFeatures")
	}
	methods := &serverfeatures.SupportedMethods{EventStoreServerVersion: f.opts.Version}
	add := func(service string, names ...string) {
		for _, name := range names {
			methods.Methods = append(methods.Methods, &serverfeatures.SupportedMethod{ServiceName: service, MethodName: name})
		}
	}
	add("event_store.client.streams.streams", "append", "read", "delete", "tombstone")
	add("event_store.client.gossip.gossip", "read")
	add("event_store.client.server_features.serverfeatures", "getsupportedmethods")
	return methods, nil
}

type gossipService struct {
	gossip.UnimplementedGossipServer
	srv *Server
}

// Read implements Gossip.
func (g *gossipService) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	info := &gossip.ClusterInfo{}
	for _, m := range g.srv.members() {
		at, err := parseEndpoint(m.Address)
		if err != nil {
			return nil, err
		}
		info.Members = append(info.Members, &gossip.MemberInfo{
			// A node keeps its id for life; derived from the address, so does this.
			InstanceId:   structuredUUID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(m.Address))),
			TimeStamp:    g.srv.opts.Now().UnixNano() / 100,
			State:        m.State.proto(),
			IsAlive:      !m.Dead,
			HttpEndPoint: &gossip.EndPoint{Address: at.host, Port: uint32(at.port)},
		})
	}
	return info, nil
}
