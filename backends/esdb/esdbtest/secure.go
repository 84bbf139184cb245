package esdbtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

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
	certPEM        []byte
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
	a.cert, a.certPEM, err = selfSigned(host)
	return a, err
}

// roles are the roles of the caller: nil without credentials.
func (a *auth) roles(ctx context.Context) ([]string, error) {
	header := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(header) == 0 {
		return nil, nil
	}
	refused := status.Error(codes.Unauthenticated, "Unauthenticated")
	scheme, encoded, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return nil, refused
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, refused
	}
	name, password, _ := strings.Cut(string(decoded), ":")
	user, ok := a.users[name]
	if !ok || subtle.ConstantTimeCompare([]byte(user.Password), []byte(password)) != 1 {
		return nil, refused
	}
	return append([]string{user.Name, roleAll}, user.Groups...), nil
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

// selfSigned makes a certificate for the local host, and for host if that is
// something else.
func selfSigned(host string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("esdbtest: key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "eventstoredb-node"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // so that it can be named as its own authority
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else if host != "" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("esdbtest: certificate: %w", err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certPEM, nil
}
