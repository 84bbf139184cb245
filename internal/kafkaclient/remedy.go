package kafkaclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/segmentio/kafka-go"
)

// Remedy says what would help against an error of authentication or encryption,
// which is before any request: nothing was done, and waiting does not help. It is
// empty for any other error.
func Remedy(err error) string {
	var code kafka.Error
	if errors.As(err, &code) {
		switch code { //nolint:exhaustive // authentication only
		case kafka.SASLAuthenticationFailed:
			return "correct the user or the password"
		case kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
			return "choose a SASL mechanism that the listener has, or none"
		}
		return ""
	}
	return ofTLS(err)
}

// ofTLS knows the errors of a handshake.
func ofTLS(err error) (remedy string) {
	unknown, invalid, host := x509.UnknownAuthorityError{}, x509.CertificateInvalidError{}, x509.HostnameError{}
	verification, header := (*tls.CertificateVerificationError)(nil), tls.RecordHeaderError{}
	alert := (*net.OpError)(nil)
	switch {
	case errors.As(err, &unknown):
		return "name the certificate authority of the brokers"
	case errors.As(err, &host):
		return "use the host names that the brokers' certificates are for"
	case errors.As(err, &invalid), errors.As(err, &verification):
		return "the brokers' certificate does not hold: renew it, or set this machine's clock"
	case errors.As(err, &header):
		return "the listener does not speak TLS: turn TLS off, or use another port"
	case errors.As(err, &alert) && alert.Op == "remote error": // a TLS alert
		return "the brokers refuse the TLS handshake: a client certificate may be missing"
	case err != nil && strings.Contains(err.Error(), "broker appears to be expecting TLS"): // it has no type
		return "the listener speaks TLS: turn TLS on"
	}
	return ""
}
