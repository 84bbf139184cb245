package esdbtest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// role is what the node is in its cluster.
type role struct {
	mu      sync.Mutex
	ready   bool
	leader  *endpoint // nil: the node itself
	members []Member  // nil: the node, and its leader if it has one
}

type endpoint struct {
	host string
	port uint16
}

// State is what a cluster member is.
type State int

// The states a client picks its node from, and two which it does not.
const (
	Leader State = iota
	Follower
	ReadOnlyReplica
	CatchingUp
	Shutdown
)

// Member is a node as gossip shows it.
type Member struct {
	Address string // host:port
	State   State
	Dead    bool
}

// SetReady false makes the server answer every read and write with Unavailable,
// "Server Is Not Ready", as a node does while it starts or elects a leader.
func (s *Server) SetReady(ready bool) {
	s.role.mu.Lock()
	defer s.role.mu.Unlock()
	s.role.ready = ready
}

// FollowLeader makes the server a follower of the node at address, host:port:
// writes, and reads that require the leader, are answered with not-leader and
// that address. Nothing is replicated. An empty address makes it the leader
// again.
func (s *Server) FollowLeader(address string) error {
	var leader *endpoint
	if address != "" {
		var err error
		if leader, err = parseEndpoint(address); err != nil {
			return err
		}
	}
	s.role.mu.Lock()
	defer s.role.mu.Unlock()
	s.role.leader = leader
	return nil
}

// SetMembers replaces what gossip tells of the cluster. Without members it is
// the node itself, and its leader if it follows one.
func (s *Server) SetMembers(members ...Member) error {
	for _, m := range members {
		if _, err := parseEndpoint(m.Address); err != nil {
			return err
		}
	}
	s.role.mu.Lock()
	defer s.role.mu.Unlock()
	s.role.members = members
	return nil
}

func parseEndpoint(address string) (*endpoint, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("esdbtest: address %q: %w", address, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("esdbtest: address %q: %w", address, err)
	}
	return &endpoint{host, uint16(number)}, nil
}

// admit refuses calls which the node in its present role does not serve.
func (s *Server) admit(ctx context.Context, write bool) error {
	s.role.mu.Lock()
	defer s.role.mu.Unlock()
	if !s.role.ready {
		return status.Error(codes.Unavailable, "Server Is Not Ready")
	}
	if s.role.leader == nil {
		return nil
	}
	required := metadata.ValueFromIncomingContext(ctx, "requires-leader")
	if write || (len(required) > 0 && required[0] == "true") {
		return notLeaderFault(s.role.leader.host, s.role.leader.port)
	}
	return nil
}

// members is what gossip tells.
func (s *Server) members() []Member {
	s.role.mu.Lock()
	defer s.role.mu.Unlock()
	switch {
	case s.role.members != nil:
		return s.role.members
	case s.role.leader != nil:
		leader := net.JoinHostPort(s.role.leader.host, strconv.Itoa(int(s.role.leader.port)))
		return []Member{{Address: s.endpoint(), State: Follower}, {Address: leader}}
	default:
		return []Member{{Address: s.endpoint()}}
	}
}

func (state State) proto() gossip.MemberInfo_VNodeState {
	switch state {
	case Leader:
		return gossip.MemberInfo_Leader
	case Follower:
		return gossip.MemberInfo_Follower
	case ReadOnlyReplica:
		return gossip.MemberInfo_ReadOnlyReplica
	case CatchingUp:
		return gossip.MemberInfo_CatchingUp
	case Shutdown:
		return gossip.MemberInfo_Shutdown
	default:
		return gossip.MemberInfo_Unknown
	}
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
