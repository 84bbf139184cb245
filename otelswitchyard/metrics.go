package otelswitchyard

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// metrics are the instruments.
type metrics struct {
	duration, processed metric.Float64Histogram
	sent, consumed      metric.Int64Counter
	attempts            metric.Int64Histogram
	conflicts           metric.Int64Counter
}

func (m *metrics) make(meter metric.Meter, lags *lags) (err error) {
	seconds := metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10) // the conventions'
	if m.duration, err = meter.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("Duration of appends, with all attempts.")); err != nil {
		return err
	}
	if m.processed, err = meter.Float64Histogram("messaging.process.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("Duration of calls of a subscription's handler.")); err != nil {
		return err
	}
	if m.sent, err = meter.Int64Counter("messaging.client.sent.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Events that were to be appended.")); err != nil {
		return err
	}
	if m.consumed, err = meter.Int64Counter("messaging.client.consumed.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Events that were given to a subscription's handler, each time that they were.")); err != nil {
		return err
	}
	if m.attempts, err = meter.Int64Histogram("switchyard.transact.attempts", metric.WithUnit("{attempt}"), metric.WithExplicitBucketBoundaries(0, 1, 2, 3, 5, 10),
		metric.WithDescription("How often a decision was made until it was stored or given up.")); err != nil {
		return err
	}
	if m.conflicts, err = meter.Int64Counter("switchyard.transact.conflicts", metric.WithUnit("{conflict}"),
		metric.WithDescription("Appends of decisions that came too late.")); err != nil {
		return err
	}
	_, err = meter.Float64ObservableGauge("switchyard.subscription.lag", metric.WithUnit("s"), metric.WithFloat64Callback(lags.observe),
		metric.WithDescription("How long ago the oldest event in a handler's hands was recorded, or else the newest one when it was finished."))
	return err
}

// lags are how far behind each subscription is that handles events here.
type lags struct {
	mu   sync.Mutex
	subs map[string]*lag
}

type lag struct {
	live   int // how many of this name subscribe: one, unless several stores share the tracer
	next   int
	inHand map[int]time.Time // when its events were recorded
	newest eventstore.Position
	last   time.Duration // of the newest that was finished, when it was; where newest is not zero
}

// of returns a subscription's lag. l is locked.
func (l *lags) of(subscription string) *lag {
	if l.subs == nil {
		l.subs = make(map[string]*lag)
	}
	s := l.subs[subscription]
	if s == nil {
		s = &lag{inHand: make(map[int]time.Time)}
		l.subs[subscription] = s
	}
	return s
}

// subscribed notes that a subscription is about to be delivered events. The function
// that it returns notes the end, after which the lag is another process's.
func (l *lags) subscribed(subscription string) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(subscription)
	s.live++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.live--
		l.forget(subscription, s)
	}
}

// begin notes that a subscription's handler has events, of which the oldest was recorded
// at a time, and the newest is at a position. The function that it returns notes the end.
// Parked events are handled before the subscription is live, and leave nothing.
func (l *lags) begin(subscription string, recorded time.Time, newest eventstore.Position) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(subscription)
	s.next++
	call := s.next
	s.inHand[call] = recorded
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(s.inHand, call)
		if !newest.Before(s.newest) {
			s.newest, s.last = newest, time.Since(recorded)
		}
		l.forget(subscription, s)
	}
}

// forget drops what a subscription that is over has left. l is locked.
func (l *lags) forget(subscription string, s *lag) {
	if s.live == 0 && len(s.inHand) == 0 {
		delete(l.subs, subscription)
	}
}

// observe is the gauge's callback.
func (l *lags) observe(_ context.Context, o metric.Float64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, s := range l.subs {
		behind := s.last
		switch {
		case len(s.inHand) > 0:
			behind = 0
		case s.newest.IsZero():
			continue // nothing that it was given tells
		}
		for _, recorded := range s.inHand {
			behind = max(behind, time.Since(recorded))
		}
		o.Observe(behind.Seconds(), metric.WithAttributes(semconv.MessagingSystemKey.String("switchyard"), semconv.MessagingConsumerGroupName(name)))
	}
	return nil
}
