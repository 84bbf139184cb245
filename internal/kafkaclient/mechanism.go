package kafkaclient

import (
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

func (s *security) setMechanism(value string) error {
	if !slices.Contains([]string{"plain", "scram-sha-256", "scram-sha-512"}, value) {
		return fmt.Errorf("%.40q is none of plain, scram-sha-256 and scram-sha-512", value)
	}
	s.mechanism = value
	return nil
}

// mechanismOf shows a user and a password to brokers by one of the names that
// setMechanism takes. ok is false where SCRAM does not take them; why is not told, for
// that may show them.
func mechanismOf(name, user, password string) (mechanism sasl.Mechanism, ok bool) {
	var err error
	switch name {
	case "plain":
		mechanism = plain.Mechanism{Username: user, Password: password}
	case "scram-sha-256":
		mechanism, err = scram.Mechanism(scram.SHA256, user, password)
	default:
		mechanism, err = scram.Mechanism(scram.SHA512, user, password)
	}
	return mechanism, err == nil
}
