package kafkaclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/segmentio/kafka-go"
)

// Remedy says what would help against an error of authentication or encryption,
// which is before any request: nothing was done, and waiting does not help. It names
// the parameter of a URL that is to be changed. It is empty for any other error.
func Remedy(err error) string {
	var code kafka.Error
	if errors.As(err, &code) {
		switch code { //nolint:exhaustive // authentication only
		case kafka.SASLAuthenticationFailed:
			return "correct the user or the password, or choose the mechanism (sasl=) that they are for"
		case kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
			return "choose a SASL mechanism that the listener has (sasl=), or none"
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
		return "name the certificate authority of the brokers (ca=FILE)"
	case errors.As(err, &host):
		return "use the host names that the brokers' certificates are for, in the address and in advertised.listeners of the brokers"
	case errors.As(err, &invalid), errors.As(err, &verification):
		return "the brokers' certificate does not hold: renew it, or set this machine's clock"
	case errors.As(err, &header):
		return "the listener does not speak TLS: turn TLS off (tls=off), or use another port"
	case errors.As(err, &alert) && alert.Op == "remote error": // a TLS alert
		return "the brokers refuse the TLS handshake: a client certificate may be missing, or be of an authority that they do not know (cert=FILE, key=FILE)"
	case err != nil && strings.Contains(err.Error(), "broker appears to be expecting TLS"): // it has no type
		return "the listener speaks TLS: turn TLS on (tls=on)"
	}
	return ""
}

// hinted adds to the error of a connection that a broker has closed without a word what
// may be behind it. That is how Kafka answers a client that shows no user where one is
// asked for, and one that speaks TLS where the listener does not; but a broker that ends
// does so, too.
func (c *Client) hinted(err error) error {
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case !closed || Remedy(err) != "":
		return err
	case c.transport.TLS != nil:
		return fmt.Errorf("%w: the broker has closed the connection: if its listener does not speak TLS, turn TLS off (tls=off)", err)
	case c.transport.SASL == nil:
		return fmt.Errorf("%w: the broker has closed the connection: if its listener asks for a user, name one and how to show it (sasl=)", err)
	}
	return err
}
