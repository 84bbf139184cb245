package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/segmentio/kafka-go/sasl"

	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
)

// access is how a URL says to reach the brokers: whom to be, and whom to trust.
type access struct {
	user              *url.Userinfo
	mechanism         string
	password          *string // of a file
	tls               bool
	authorities       *x509.CertPool
	certFile, keyFile string
}

func (a *access) setPasswordFile(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return withoutPath(file, err)
	}
	password := strings.TrimRight(string(data), "\r\n")
	a.password = &password
	return nil
}

func (a *access) setAuthorities(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return withoutPath(file, err)
	}
	a.authorities = x509.NewCertPool()
	if !a.authorities.AppendCertsFromPEM(pem) {
		return fmt.Errorf("file %q has no PEM certificate", file)
	}
	return nil
}

// withoutPath says which file cannot be read, once.
func withoutPath(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("file %q cannot be read: %w", file, err)
}

// credentials come from the URL, else from a file, else from the environment.
func (a *access) credentials() (user, password string) {
	user = a.user.Username()
	if user == "" {
		user = os.Getenv(kafkaclient.UserVariable)
	}
	written, ok := a.user.Password()
	switch {
	case a.password != nil:
		password = *a.password
	case ok:
		password = written
	default:
		password = os.Getenv(kafkaclient.PasswordVariable)
	}
	return user, password
}

func (a *access) sasl() (sasl.Mechanism, error) {
	if a.mechanism == "" {
		if a.user != nil || a.password != nil {
			return nil, invalidURL("it has a user or a password and does not say how to show them; add sasl=scram-sha-512, sasl=scram-sha-256 or sasl=plain")
		}
		return nil, nil //nolint:nilnil // no mechanism is no authentication
	}
	user, password := a.credentials()
	if user == "" || password == "" {
		return nil, invalidURL("sasl=%s needs a user and a password: in the URL, in %s and %s, or the password in password_file", a.mechanism, kafkaclient.UserVariable, kafkaclient.PasswordVariable)
	}
	mechanism, ok := kafkaclient.Mechanism(a.mechanism, user, password)
	if !ok {
		return nil, invalidURL("the user or the password has characters that %s does not take", a.mechanism)
	}
	return mechanism, nil
}

// tlsConfig is nil without TLS. Certificates are always verified.
func (a *access) tlsConfig() (*tls.Config, error) {
	if !a.tls {
		if a.authorities != nil || a.certFile != "" || a.keyFile != "" {
			return nil, invalidURL("it has certificates, and TLS is off; add tls=on")
		}
		return nil, nil //nolint:nilnil // no configuration is no TLS
	}
	config := &tls.Config{RootCAs: a.authorities, MinVersion: tls.VersionTLS12}
	if a.certFile == "" && a.keyFile == "" {
		return config, nil
	}
	certificate, err := tls.LoadX509KeyPair(a.certFile, a.keyFile)
	if err != nil {
		return nil, invalidURL("the client certificate %q and its key %q cannot be read: %s", a.certFile, a.keyFile, err)
	}
	config.Certificates = []tls.Certificate{certificate}
	return config, nil
}
