package connection

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/require"
)

func TestWhatAnErrorMeansForAnAppendAndForARead(t *testing.T) {
	for _, c := range []struct {
		name         string
		err          error
		append, read Class
		again        bool // of the read
		remedy       string
	}{
		{"the broker refuses the connection", dial(syscall.ECONNREFUSED), Unavailable, Unavailable, true, ""},
		{"no such host", dial(&net.DNSError{Err: "no such host"}), Unavailable, Unavailable, true, ""},
		{"the dial takes too long", dial(os.ErrDeadlineExceeded), Unavailable, Unavailable, true, ""},
		{"the client does not know the topic", protocol.NewErrNoTopic("t"), Unavailable, Unavailable, true, ""},
		{"the client does not know the partition", protocol.NewErrNoPartition("t", 0), Unavailable, Unavailable, true, ""},
		{"the client knows no leader", protocol.NewErrNoLeader("t", 0), Unavailable, Unavailable, true, ""},
		{"an answer without content, as of a broker that throttles", protocol.ErrNoTopic, Unknown, Unavailable, true, ""},
		{"NOT_ENOUGH_REPLICAS", kafka.Error(19), Unavailable, Unavailable, false, ""},
		{"REQUEST_TIMED_OUT", kafka.Error(7), Unknown, Unavailable, false, ""},
		{"NOT_ENOUGH_REPLICAS_AFTER_APPEND", kafka.Error(20), Unknown, Unavailable, false, ""},
		{"NOT_LEADER_OR_FOLLOWER", kafka.Error(6), Unknown, Unavailable, true, ""},
		{"UNKNOWN_TOPIC_OR_PARTITION", kafka.Error(3), Unknown, Unavailable, true, ""},
		{"LEADER_NOT_AVAILABLE", kafka.Error(5), Unknown, Unavailable, true, ""},
		{"NETWORK_EXCEPTION", kafka.Error(13), Unknown, Unavailable, true, ""},
		{"KAFKA_STORAGE_ERROR", kafka.Error(56), Unknown, Unavailable, false, ""},
		{"FENCED_LEADER_EPOCH", kafka.Error(74), Unknown, Unavailable, true, ""},
		{"UNKNOWN_LEADER_EPOCH", kafka.Error(75), Unknown, Unavailable, true, ""},
		{"OFFSET_NOT_AVAILABLE", kafka.Error(78), Unknown, Unavailable, true, ""},
		{"a code of tomorrow", kafka.Error(9999), Unknown, Unavailable, false, ""},
		{"UNKNOWN_SERVER_ERROR", kafka.Error(-1), Unknown, Unavailable, false, ""},
		{"the connection ends", io.EOF, Unknown, Unavailable, false, ""},
		{"the connection ends in an answer", io.ErrUnexpectedEOF, Unknown, Unavailable, false, ""},
		{"the connection is reset", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, Unknown, Unavailable, false, ""},
		{"the connection cannot be written to", &net.OpError{Op: "write", Err: syscall.EPIPE}, Unknown, Unavailable, false, ""},
		{"no answer in time", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Unknown, Unavailable, false, ""},
		{"the context's time is up", context.DeadlineExceeded, Unknown, Unavailable, false, ""},
		{"the caller goes away", context.Canceled, Unknown, Unavailable, false, ""},
		{"anything else", errors.New("surprise"), Unknown, Unavailable, false, ""},
		{"CORRUPT_MESSAGE", kafka.Error(2), Unavailable, Unavailable, false, ""},
		{"MESSAGE_TOO_LARGE", kafka.Error(10), Refused, Unavailable, false, "max.message.bytes"},
		{"RECORD_LIST_TOO_LARGE", kafka.Error(18), Refused, Unavailable, false, "max.message.bytes"},
		{"INVALID_RECORD", kafka.Error(87), Refused, Unavailable, false, "cleanup.policy"},
		{"INVALID_TIMESTAMP", kafka.Error(32), Refused, Unavailable, false, "message.timestamp.type"},
		{"POLICY_VIOLATION", kafka.Error(44), Refused, Refused, false, "policy"},
		{"TOPIC_AUTHORIZATION_FAILED", kafka.Error(29), Refused, Refused, false, "grant Read, Write"},
		{"CLUSTER_AUTHORIZATION_FAILED", kafka.Error(31), Refused, Refused, false, "grant Create"},
		{"SASL_AUTHENTICATION_FAILED", kafka.Error(58), Refused, Refused, false, "user or the password"},
		{"UNSUPPORTED_SASL_MECHANISM", kafka.Error(33), Refused, Refused, false, "SASL mechanism"},
		{"an unknown authority", x509.UnknownAuthorityError{}, Refused, Refused, false, "certificate authority"},
		{"a certificate of another host", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, Refused, Refused, false, "host names"},
		{"a certificate that has expired", x509.CertificateInvalidError{Reason: x509.Expired}, Refused, Refused, false, "renew it"},
		{"a certificate that does not verify", &tls.CertificateVerificationError{Err: errors.New("x")}, Refused, Refused, false, "renew it"},
		{"TLS to a plaintext port", tls.RecordHeaderError{Msg: "x"}, Refused, Refused, false, "turn TLS off"},
		{"plaintext to a TLS port", fmt.Errorf("%w: broker appears to be expecting TLS", io.ErrUnexpectedEOF), Refused, Refused, false, "turn TLS on"},
		{"a client without its certificate", &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, Refused, Refused, false, "client certificate"},
		{"OFFSET_OUT_OF_RANGE", kafka.Error(1), Unknown, Truncated, false, ""},
		{"INVALID_TOPIC_EXCEPTION", kafka.Error(17), Unknown, Refused, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, err := range []error{c.err, fmt.Errorf("kafka.(*Client).Produce: %w", c.err)} {
				onAppend, onRead := OfAppend(err), OfRead(err)
				require.Equal(t, c.append, onAppend.Class)
				require.Equal(t, c.read, onRead.Class)
				require.Equal(t, c.again, onRead.Again)
				require.False(t, onAppend.Again && onAppend.Class != Unavailable, "what may have been sent is not sent again")
				if c.append == Refused {
					require.Contains(t, onAppend.Remedy, c.remedy)
				}
				if c.append == Refused && c.read == Refused {
					require.Contains(t, onRead.Remedy, c.remedy)
				}
			}
		})
	}
}

func dial(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

func TestNoCodeOfAnAppendIsTakenForHarmlessUnlessItIsListed(t *testing.T) {
	definite := map[int]bool{2: true, 10: true, 18: true, 19: true, 29: true, 31: true, 32: true, 33: true, 34: true, 44: true, 58: true, 87: true}
	for code := -1; code < 200; code++ {
		if code != 0 {
			require.Equal(t, !definite[code], OfAppend(kafka.Error(code)).Class == Unknown, "code %d", code)
		}
	}
}
