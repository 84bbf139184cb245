package dynamodb

import (
	"context"
	"crypto/sha256"
	stdbinary "encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// What is kept under a subscription's name is one item: its checkpoint, and its
// lease with the epoch that fences both. It is never deleted, so that the epoch
// stays. These are the names of its attributes in expressions.
func progressNames() map[string]string {
	return map[string]string{
		"#name": "name", "#at": attrTime,
		"#store": "store", "#hi": "hi", "#lo": "lo", "#st": "st", "#ver": "ver", "#id": "id", // the checkpoint
		"#own": "own", "#ep": "ep", "#ren": "ren", "#ttl": "ttl", // the lease
	}
}

const (
	ofThisName = "(attribute_not_exists(pk) OR #name = :name)"
	setName    = "#name = :name, #at = :at"
	setPlace   = "#store = :store, #hi = :hi, #lo = :lo, #st = :st, #ver = :ver, #id = :id"
	dropPlace  = "REMOVE #store, #hi, #lo, #st, #ver, #id"
	setLease   = "#own = :own, #ep = :ep, #ren = :ren, #ttl = :ttl"
	// fence begins an epoch that nobody owns.
	fence = "#own = :free, #ep = #ep + :one, #ren = :zero, #ttl = :zero"
)

// hashName is the sort key of a name: the first 63 bits of its SHA-256. Where it is
// another name's, the next number is taken.
func hashName(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return stdbinary.BigEndian.Uint64(sum[:8]) >> 1
}

type checkpoints struct{ b *Backend }

func decodeProgress(it item) (adapter.Progress, error) {
	a := attributes{of: it}
	p := adapter.Progress{Checkpoint: eventstore.Checkpoint{Name: a.text("name")}}
	name := p.Checkpoint.Name
	if a.has("ep") {
		p.Lease = eventstore.Lease{
			Name: name, Epoch: a.number("ep"), Owner: a.text("own"), Renewals: a.number("ren"), TTL: time.Duration(a.signed("ttl")),
		}
		p.Checkpoint.Epoch = p.Lease.Epoch
	}
	if a.has("store") {
		p.Found = true
		p.Checkpoint.Store = a.id("store")
		p.Checkpoint.Place = eventstore.Place{
			Position: eventstore.NewPosition(a.number("hi"), a.number("lo")), Stream: a.text("st"), Version: a.number("ver"), ID: a.id("id"),
		}
	}
	if a.err != nil {
		return adapter.Progress{}, damaged("checkpoint %q: %w", name, a.err)
	}
	return p, nil
}

// read finds what is kept under a name, and the sort key that it has or would have.
func (s checkpoints) read(ctx context.Context, name string) (p adapter.Progress, err error) {
	for key := s.b.hashName(name); ; key++ {
		it, err := s.b.client.get(ctx, keyOf(s.b.keys.checkpoints(), key))
		if err != nil || it == nil {
			return adapter.Progress{Checkpoint: eventstore.Checkpoint{Name: name}}, err
		}
		if p, err = decodeProgress(it); err != nil || p.Checkpoint.Name == name {
			return p, err
		}
	}
}

// change updates what is kept under a name, under a condition. Where it is refused
// ok is false, and p is what is kept; zero where nothing is.
func (s checkpoints) change(ctx context.Context, name, update, condition string, values item) (p adapter.Progress, ok bool, err error) {
	values[":name"], values[":at"] = text(name), signed(time.Now().UnixMicro())
	for key := s.b.hashName(name); ; key++ {
		names := progressNames()
		for placeholder := range names {
			if !mentions(update+" "+condition, placeholder) {
				delete(names, placeholder)
			}
		}
		was, ok, err := s.b.client.update(ctx, &sdk.UpdateItemInput{
			Key: keyOf(s.b.keys.checkpoints(), key), UpdateExpression: &update, ConditionExpression: aws.String(condition),
			ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		})
		if err != nil || ok || was == nil {
			return adapter.Progress{}, ok, err
		}
		if p, err = decodeProgress(was); err != nil || p.Checkpoint.Name == name {
			return p, false, err
		}
	}
}

// mentions tells whether an expression uses a placeholder.
func mentions(expression, placeholder string) bool {
	return slices.Contains(strings.FieldsFunc(expression, func(r rune) bool { return strings.ContainsRune(" ,()=<>+", r) }), placeholder)
}

// Load implements [eventstore.Checkpoints].
func (s checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if err := s.b.ready(ctx); err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	p, err := s.read(ctx, req.Name)
	if err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	return p.Load(req.Name), nil
}

// Save implements [eventstore.Checkpoints]. The SDK may repeat it: that it is refused
// then only says that the stored one is as far.
func (s checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	c := req.Checkpoint
	if req.Reset {
		return s.fenced(ctx, c.Name, "SET "+setName+", "+setPlace, "", func() item { return placeValues(c) })
	}
	values := placeValues(c)
	values[":ep"] = number(c.Epoch)
	stored, ok, err := s.change(ctx, c.Name, "SET "+setName+", "+setPlace,
		ofThisName+" AND (attribute_not_exists(#ep) OR #ep <= :ep) AND (attribute_not_exists(#hi) OR #hi < :hi OR (#hi = :hi AND #lo < :lo))", values)
	if err == nil && !ok && c.Epoch < stored.Lease.Epoch {
		return &eventstore.LeaseLostError{Name: c.Name, Epoch: c.Epoch, Stored: stored.Lease.Epoch}
	}
	return err
}

func placeValues(c eventstore.Checkpoint) item {
	hi, lo := c.Place.Position.Words()
	return item{
		":store": binary(c.Store[:]), ":hi": number(hi), ":lo": number(lo),
		":st": text(c.Place.Stream), ":ver": number(c.Place.Version), ":id": binary(c.Place.ID[:]),
	}
}

// fenced makes an update that takes the lease from its owner, where there ever was
// one. An update that removes something makes nothing where nothing is kept.
func (s checkpoints) fenced(ctx context.Context, name, set, remove string, values func() item) error {
	for {
		with := values()
		with[":free"], with[":one"], with[":zero"] = text(""), number(1), number(0)
		_, ok, err := s.change(ctx, name, set+", "+fence+" "+remove, ofThisName+" AND attribute_exists(#ep)", with)
		if err != nil || ok {
			return err
		}
		condition := ofThisName + " AND attribute_not_exists(#ep)"
		if remove != "" {
			condition = "#name = :name AND attribute_not_exists(#ep)"
		}
		stored, ok, err := s.change(ctx, name, set+" "+remove, condition, values())
		if err != nil || ok || stored.Checkpoint.Name == "" {
			return err
		} // else the lease was taken meanwhile
	}
}

// Delete implements [eventstore.Checkpoints].
func (s checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	return s.fenced(ctx, req.Name, "SET "+setName, dropPlace, func() item { return item{} })
}

// List implements [eventstore.Checkpoints]. One partition has them all, in the order
// of their hashes.
func (s checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (result eventstore.ListCheckpointsResult, err error) {
	if err := s.b.ready(ctx); err != nil {
		return result, err
	}
	for low := uint64(0); ; {
		items, more, err := s.b.client.query(ctx, span{partition: s.b.keys.checkpoints(), low: low, high: mostSort})
		if err != nil {
			return result, err
		}
		for _, it := range items {
			p, err := decodeProgress(it)
			if err != nil {
				return result, err
			}
			if p.Found && p.Checkpoint.Name > req.After {
				result.Checkpoints = append(result.Checkpoints, p.Checkpoint)
			}
			a := attributes{of: it}
			low = a.number(sortKey) + 1
		}
		if !more {
			break
		}
	}
	slices.SortFunc(result.Checkpoints, func(a, b eventstore.Checkpoint) int { return strings.Compare(a.Name, b.Name) })
	if len(result.Checkpoints) > req.Limit {
		result.Checkpoints = slices.Clip(result.Checkpoints[:req.Limit])
	}
	return result, nil
}

// SwapLease implements [eventstore.Checkpoints].
func (s checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	if err := s.b.ready(ctx); err != nil {
		return eventstore.SwapLeaseResult{}, err
	}
	values := item{
		":own": text(req.New.Owner), ":ep": number(req.New.Epoch), ":ren": number(req.New.Renewals), ":ttl": signed(int64(req.New.TTL)),
	}
	condition := ofThisName + " AND attribute_not_exists(#ep)"
	if old := req.Old; !old.Same(eventstore.Lease{}) {
		condition = "#name = :name AND #ep = :oldep AND #own = :oldown AND #ren = :oldren"
		values[":oldep"], values[":oldown"], values[":oldren"] = number(old.Epoch), text(old.Owner), number(old.Renewals)
	}
	stored, ok, err := s.change(ctx, req.Name, "SET "+setName+", "+setLease, condition, values)
	switch {
	case err != nil:
		return eventstore.SwapLeaseResult{}, err
	case ok:
		return eventstore.SwapLeaseResult{Lease: req.New, Swapped: true}, nil
	}
	return eventstore.SwapLeaseResult{Lease: stored.Lease}, nil
}
