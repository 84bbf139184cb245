package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
)

// tooLarge tells whether the topic takes no batch of this size.
func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

// refused says why a topic refuses an event for what it is, and "" for every other
// error: those would meet any event, or pass.
func refused(err error) string {
	switch {
	case tooLarge(err):
		return "raise max.message.bytes of the topic, or publish less of the event"
	case errors.Is(err, kafka.InvalidRecord):
		return "the topic, or a program that checks what goes into it, refuses the record"
	}
	return ""
}

// unavailable makes of an error one that is waited out: whatever is not about an
// event would meet every other one too, and must not be counted against any. Whether
// something was written does not matter, for it is sent again.
func unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if remedy := remedyOf(err); remedy != "" {
		return fmt.Errorf("%w: %w; %s", eventstore.ErrUnavailable, err, remedy)
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}

func remedyOf(err error) string {
	switch {
	case errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.ClusterAuthorizationFailed):
		return "grant Write and Describe on the topic"
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		return "the topic is gone, or not known yet"
	case errors.Is(err, kafka.InvalidTimestamp):
		return "set this machine's clock, or the topic's limits of timestamps"
	case errors.Is(err, kafka.NotEnoughReplicas), errors.Is(err, kafka.NotEnoughReplicasAfterAppend):
		return "fewer replicas are in sync than min.insync.replicas asks for"
	}
	return kafkaclient.Remedy(err)
}

// failed is the error of a call from those of its partitions. While one of them is
// unavailable all is sent again, and the events of the others that are refused are
// found then.
func (p *Publisher) failed(ctx context.Context, failures []error) error {
	if len(failures) == 0 {
		return nil
	}
	var waits, refusals []error
	for _, err := range failures {
		if reason := refused(err); reason != "" {
			refusals = append(refusals, fmt.Errorf("%w; %s", err, reason))
		} else {
			waits = append(waits, unavailable(ctx, err))
		}
	}
	if len(waits) == 0 {
		return fmt.Errorf("publish to Kafka topic %s: %w", p.topic, errors.Join(refusals...))
	}
	// The client may keep asking a broker that is cut off from the others.
	p.client.Renew()
	return fmt.Errorf("publish to Kafka topic %s: %w", p.topic, errors.Join(waits...))
}
