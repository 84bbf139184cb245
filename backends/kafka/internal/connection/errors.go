package connection

import (
	"errors"
	"net"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
)

// Class says what an error means for the call that got it.
type Class byte

// The classes of errors.
const (
	// Unavailable: nothing was written, and waiting may help.
	Unavailable Class = iota + 1
	// Unknown: the records may be in the log, or get there yet.
	Unknown
	// Refused: nothing was written, and waiting does not help: a right, a
	// certificate or a setting is missing.
	Refused
	// Truncated: the log does not begin or end where it did.
	Truncated
)

// Failure is an error with its meaning.
type Failure struct {
	Class Class
	// Again says that the call may be repeated at once, on fresh metadata: another
	// broker leads now. It is for reads and for what nothing was sent of.
	Again bool
	// Remedy says what would help; it is empty where only waiting does.
	Remedy string
}

const maxMessageBytesHelp = "raise max.message.bytes of the topic and message.max.bytes of the brokers"

// OfAppend says what an error of a produce means. A code that is not listed may
// come after the records were appended.
func OfAppend(err error) Failure {
	if failure, ok := beforeSending(err); ok {
		return failure
	}
	var code kafka.Error
	if !errors.As(err, &code) {
		return Failure{Class: Unknown} // EOF, reset, time-outs: the request was on its way
	}
	switch code { //nolint:exhaustive // any other is unknown
	case kafka.NotEnoughReplicas:
		return Failure{Class: Unavailable}
	case kafka.InvalidMessage: // on its way: the broker has checked the sum before it appended
		return Failure{Class: Unavailable}
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return Failure{Class: Refused, Remedy: maxMessageBytesHelp}
	case kafka.InvalidRecord:
		return Failure{Class: Refused, Remedy: "set cleanup.policy of the topic to delete, and take interceptors off it: it refuses the record"}
	case kafka.InvalidTimestamp:
		return Failure{Class: Refused, Remedy: "set message.timestamp.type of the topic to LogAppendTime"}
	case kafka.PolicyViolation:
		return Failure{Class: Refused, Remedy: "change the cluster's policy, which forbids the record"}
	}
	// NOT_LEADER and UNKNOWN_TOPIC among them: a deposed broker says so of what it
	// has appended.
	return Failure{Class: Unknown}
}

// OfRead says what an error of any other call means.
func OfRead(err error) Failure {
	if failure, ok := beforeSending(err); ok {
		return failure
	}
	var code kafka.Error
	if !errors.As(err, &code) {
		// A broker that throttles a consumer answers its fetch without content.
		return Failure{Class: Unavailable, Again: errors.Is(err, protocol.ErrNoTopic)}
	}
	switch code { //nolint:exhaustive // any other may pass
	case kafka.OffsetOutOfRange:
		return Failure{Class: Truncated, Remedy: "the log was truncated or replaced: open the store anew to see what is left"}
	case kafka.NotLeaderForPartition, kafka.NetworkException, kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable,
		kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.OffsetNotAvailable:
		return Failure{Class: Unavailable, Again: true}
	case kafka.PolicyViolation:
		return Failure{Class: Refused, Remedy: "change the cluster's policy, which forbids it"}
	case kafka.InvalidTopic:
		return Failure{Class: Refused, Remedy: "name the store with up to 200 of the characters A-Z, a-z, 0-9, '.', '_' and '-'"}
	}
	return Failure{Class: Unavailable}
}

// beforeSending knows the errors of calls that did not get as far as their
// request, and those of rights, which are checked before anything is done.
func beforeSending(err error) (Failure, bool) {
	if remedy := kafkaclient.Remedy(err); remedy != "" {
		return Failure{Class: Refused, Remedy: remedy}, true
	}
	// The client did not find where to send to, in what it knows of the cluster.
	// The bare error of the same text is of an answer without content.
	topic, partition := (*protocol.TopicError)(nil), (*protocol.TopicPartitionError)(nil)
	if errors.As(err, &topic) || errors.As(err, &partition) {
		return Failure{Class: Unavailable, Again: true}, true
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return Failure{Class: Unavailable, Again: true}, true
	}
	var code kafka.Error
	if !errors.As(err, &code) {
		return Failure{}, false
	}
	switch code { //nolint:exhaustive // rights only
	case kafka.TopicAuthorizationFailed:
		return Failure{Class: Refused, Remedy: "grant Read, Write, Describe, DescribeConfigs and Create on the store's topics"}, true
	case kafka.ClusterAuthorizationFailed:
		return Failure{Class: Refused, Remedy: "grant Create and DescribeConfigs on the store's topics, or create them beforehand; a reassignment of replicas is seen with Describe on the cluster"}, true
	}
	return Failure{}, false
}
