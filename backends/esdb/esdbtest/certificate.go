package esdbtest

import (
	"crypto/tls"

	"github.com/switchyard-dev/switchyard/internal/certificates"
)

// newCertificate makes an authority and a certificate of it for the local host,
// and for host if that is something else.
func newCertificate(host string) (cert tls.Certificate, authorityPEM []byte, err error) {
	authority, err := certificates.NewAuthority("esdbtest authority")
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if host != "" {
		hosts = append(hosts, host)
	}
	cert, err = certificates.Issue(authority, "eventstoredb-node", hosts...)
	return cert, certificates.PEM(authority), err
}
