package esdb

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// settings are a configuration of the client's, as the connection uses it.
type settings struct {
	seeds   []string // the one host, or where to ask for the cluster's leader
	gossips bool
	options []grpc.DialOption

	attempts      int // rounds of all seeds in one search
	pause         time.Duration
	gossipTimeout time.Duration
	writeTimeout  time.Duration
}

// Bounds of the transport. A stream's window is what the server may send ahead of
// a reader; it is fixed, because gRPC would else let it grow to 16 MiB.
const (
	streamWindow = 256 << 10
	connWindow   = 1 << 20
	maxMessage   = 17 << 20 // above the server's limit of one message

	firstPause, longestPause = 50 * time.Millisecond, time.Second
	connectTimeout           = 5 * time.Second
	defaultWriteTimeout      = 10 * time.Second
	defaultGossipTimeout     = 5 * time.Second
	defaultAttempts          = 10
)

// newSettings checks a configuration. Its errors never show a credential.
func newSettings(config *client.Configuration) (settings, error) {
	if config == nil {
		return settings{}, invalidConfig("it is nil; make one with esdb.ParseConnectionString")
	}
	s := settings{
		attempts:      cmp.Or(config.MaxDiscoverAttempts, defaultAttempts),
		pause:         cmp.Or(time.Duration(config.DiscoveryInterval)*time.Millisecond, firstPause),
		gossipTimeout: cmp.Or(time.Duration(config.GossipTimeout)*time.Second, defaultGossipTimeout),
		writeTimeout:  defaultWriteTimeout,
	}
	if config.DefaultDeadline != nil {
		s.writeTimeout = *config.DefaultDeadline
	}
	s.gossips = config.DnsDiscover || len(config.GossipSeeds) > 0
	for _, seed := range config.GossipSeeds {
		s.seeds = append(s.seeds, net.JoinHostPort(seed.Host, strconv.Itoa(int(seed.Port))))
	}
	if config.Address != "" && len(s.seeds) == 0 {
		s.seeds = []string{config.Address}
	}
	switch {
	case len(s.seeds) == 0:
		return settings{}, invalidConfig("it names no host")
	case config.DisableTLS && config.Username != "":
		return settings{}, invalidConfig("it has a user and no TLS, without which no password is sent; use TLS (tls=true) or leave the user out")
	case config.NodePreference != "" && config.NodePreference != client.NodePreferenceLeader:
		return settings{}, invalidConfig("its node preference is %q, and reads from other nodes than the leader may be older than acknowledged appends; leave it out", config.NodePreference)
	case s.attempts < 0 || s.pause < 0 || s.gossipTimeout < 0 || s.writeTimeout <= 0:
		return settings{}, invalidConfig("an attempt count or a time is negative")
	}
	transport, err := transportCredentials(config)
	if err != nil {
		return settings{}, invalidConfig("%s", err)
	}
	s.options = []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDisableServiceConfig(), // no record in a DNS may have writes retried
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestPause},
			MinConnectTimeout: connectTimeout,
		}),
	}
	if config.Username != "" {
		s.options = append(s.options, grpc.WithPerRPCCredentials(user{config.Username, config.Password}))
	}
	if config.KeepAliveInterval >= 0 {
		s.options = append(s.options, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: config.KeepAliveInterval, Timeout: config.KeepAliveTimeout, PermitWithoutStream: true,
		}))
	}
	return s, nil
}

func invalidConfig(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "esdb configuration", Reason: fmt.Sprintf(format, args...)}
}

func transportCredentials(config *client.Configuration) (credentials.TransportCredentials, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.DisableTLS {
		return insecure.NewCredentials(), nil
	}
	c := &tls.Config{
		RootCAs:            config.RootCAs,
		InsecureSkipVerify: config.SkipCertificateVerification, //nolint:gosec // the caller asks for it by name (tlsVerifyCert=false)
		MinVersion:         tls.VersionTLS12,
	}
	if config.UserCertFile != "" {
		pair, err := tls.LoadX509KeyPair(config.UserCertFile, config.UserKeyFile)
		if err != nil {
			return nil, fmt.Errorf("load the user's certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(c), nil
}

// user is who the caller is, which TLS alone may carry.
type user struct{ name, password string }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (u user) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(u.name+":"+u.password))}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (user) RequireTransportSecurity() bool { return true }

// discover asks the seeds, in changing order, for the cluster's leader.
func (s *settings) discover(ctx context.Context) (address string, err error) {
	pause := s.pause
	for attempt := range s.attempts {
		if attempt > 0 {
			if err := sleep.For(ctx, pause*3/4+rand.N(pause/2+1)); err != nil { //nolint:gosec // not a secret: it spreads callers out
				return "", err
			}
			pause = min(2*pause, max(longestPause, s.pause))
		}
		for _, i := range rand.Perm(len(s.seeds)) { //nolint:gosec // as above
			if address, err = s.leader(ctx, s.seeds[i]); err == nil || ctx.Err() != nil {
				return address, err
			}
		}
	}
	return "", fmt.Errorf("%w: no leader was found: %w", eventstore.ErrUnavailable, err)
}

// leader asks one node.
func (s *settings) leader(ctx context.Context, seed string) (string, error) {
	conn, err := grpc.NewClient(seed, s.options...)
	if err != nil {
		return "", fmt.Errorf("ask %q: %w", seed, err)
	}
	defer func() { _ = conn.Close() }() // nothing else uses it
	ctx, cancel := context.WithTimeout(ctx, s.gossipTimeout)
	defer cancel()
	cluster, err := gossip.NewGossipClient(conn).Read(ctx, &shared.Empty{})
	if err != nil {
		return "", fmt.Errorf("ask %q: %w", seed, err)
	}
	for _, member := range cluster.GetMembers() {
		if at := member.GetHttpEndPoint(); member.GetIsAlive() && member.GetState() == gossip.MemberInfo_Leader && at.GetAddress() != "" {
			return net.JoinHostPort(at.GetAddress(), strconv.Itoa(int(at.GetPort()))), nil
		}
	}
	return "", fmt.Errorf("ask %q: %w", seed, errNoLeader)
}

var errNoLeader = errors.New("no member of the cluster is its leader")
