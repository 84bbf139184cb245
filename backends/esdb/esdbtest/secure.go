package esdbtest

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What a new secure server knows.
const (
	adminName       = "admin"
	opsName         = "ops"
	defaultPassword = "changeit"
	roleAdmins      = "$admins"
	roleOps         = "$ops"
	roleAll         = "$all"
)

// auth is what a secure server has and an insecure one has not.
type auth struct {
	cert           tls.Certificate
	authorityPEM   []byte
	users          map[string]User
	allowAnonymous bool
}

func newAuth(o Options, host string) (*auth, error) {
	a := &auth{users: make(map[string]User), allowAnonymous: o.AllowAnonymous}
	a.users[adminName] = User{Name: adminName, Password: defaultPassword, Groups: []string{roleAdmins}}
	a.users[opsName] = User{Name: opsName, Password: defaultPassword, Groups: []string{roleOps}}
	for _, u := range o.Users {
		a.users[u.Name] = u
	}
	var err error
	a.cert, a.authorityPEM, err = newCertificate(host)
	return a, err
}

// roles are the roles of the caller: nil without credentials, or with some of
// another kind than the server knows.
func (a *auth) roles(ctx context.Context) ([]string, error) {
	header := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(header) == 0 {
		return nil, nil
	}
	refused := status.Error(codes.Unauthenticated, "Unauthenticated")
	scheme, encoded, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return nil, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		// The server answers with HTTP's 500 and not with a status; this is what
		// a client makes of it.
		return nil, status.Error(codes.Unknown, "Received HTTP status code 500")
	}
	name, password, _ := strings.Cut(string(decoded), ":")
	user, ok := a.users[name]
	if !ok || subtle.ConstantTimeCompare([]byte(user.Password), []byte(password)) != 1 {
		return nil, refused
	}
	return append([]string{user.Name, roleAll}, user.Groups...), nil
}

// authenticate refuses a call with wrong credentials, whatever it asks for.
func (s *Server) authenticate(ctx context.Context) error {
	if s.auth == nil {
		return nil
	}
	_, err := s.auth.roles(ctx)
	return err
}

func (s *Server) authenticateUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, serve grpc.UnaryHandler) (any, error) {
	if err := s.authenticate(ctx); err != nil {
		return nil, err
	}
	return serve(ctx, req)
}

func (s *Server) authenticateStream(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, serve grpc.StreamHandler) error {
	if err := s.authenticate(stream.Context()); err != nil {
		return err
	}
	return serve(service, stream)
}

// right is something an access control list grants, by its name there.
type right string

const (
	rightRead      right = "$r"
	rightWrite     right = "$w"
	rightDelete    right = "$d"
	rightMetaRead  right = "$mr"
	rightMetaWrite right = "$mw"
)

func aclOf(role string) map[string][]string {
	acl := make(map[string][]string)
	for _, r := range []right{rightRead, rightWrite, rightDelete, rightMetaRead, rightMetaWrite} {
		acl[string(r)] = []string{role}
	}
	return acl
}

// authorize refuses a call whose caller lacks the right on the stream. An
// insecure server lets everybody do everything.
func (s *Server) authorize(ctx context.Context, stream string, want right) error {
	if s.auth == nil {
		return nil
	}
	roles, err := s.auth.roles(ctx)
	if err != nil {
		return err
	}
	if roles == nil {
		if !s.auth.allowAnonymous {
			return accessDeniedFault()
		}
		roles = []string{roleAll}
	}
	if isMetastream(stream) {
		stream = originalOf(stream)
		switch want {
		case rightRead:
			want = rightMetaRead
		case rightWrite:
			want = rightMetaWrite
		default: // nobody deletes a metastream
			return accessDeniedFault()
		}
	}
	if stream == streamAll && (want == rightWrite || want == rightDelete) {
		return accessDeniedFault()
	}
	if slices.Contains(roles, roleAdmins) {
		return nil
	}
	for _, role := range s.store.acl(stream)[string(want)] {
		if slices.Contains(roles, role) {
			return nil
		}
	}
	return accessDeniedFault()
}

// acl is the stream's access control list: the one in its metadata where that
// says something, else the default.
func (s *store) acl(stream string) map[string][]string {
	acl := aclOf(roleAll)
	if strings.HasPrefix(stream, "$") {
		acl = aclOf(roleAdmins)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for right, roles := range s.metadataOf(stream).acl {
		acl[right] = roles
	}
	return acl
}
