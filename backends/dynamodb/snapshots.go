package dynamodb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Attributes of a snapshot.
const (
	attrVersion       = "v"  // N
	attrSchemaVersion = "sv" // N
)

type snapshots struct{ b *Backend }

// Load implements [eventstore.Snapshots].
func (s snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	var none eventstore.LoadSnapshotResult
	if err := s.b.ready(ctx); err != nil {
		return none, err
	}
	it, err := s.b.client.get(ctx, keyOf(s.b.keys.snapshot(req.Stream, req.Type), 0))
	if err != nil || it == nil {
		return none, err
	}
	a := attributes{of: it}
	snapshot := eventstore.Snapshot{Stream: req.Stream, Type: req.Type, Version: a.number(attrVersion), SchemaVersion: int(a.signed(attrSchemaVersion))}
	if a.has(attrPacked) {
		packed, err := s.b.deflater.unseal(a.binary(attrPacked))
		a.err = firstError(a.err, err)
		snapshot.Data = append([]byte{}, packed...)
	} else {
		snapshot.Data = append([]byte{}, a.binary(attrData)...)
	}
	if a.err != nil {
		return none, damaged("snapshot %q of stream %q: %w", req.Type, req.Stream, a.err)
	}
	return eventstore.LoadSnapshotResult{Snapshot: snapshot, Found: true}, nil
}

// Save implements [eventstore.Snapshots]. The SDK may repeat it: that it is refused
// then only says that a version as high is stored.
func (s snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	snapshot := req.Snapshot
	it := keyOf(s.b.keys.snapshot(snapshot.Stream, snapshot.Type), 0)
	it[attrVersion], it[attrSchemaVersion] = number(snapshot.Version), signed(int64(snapshot.SchemaVersion))
	it[attrData] = binary(snapshot.Data)
	if size := itemSize(it); size > writeUnit {
		packed := s.b.deflater.seal(append(make([]byte, 1, len(snapshot.Data)+1), snapshot.Data...))
		if units(size-len(snapshot.Data)+len(packed)) < units(size) {
			delete(it, attrData)
			it[attrPacked] = binary(packed)
		}
	}
	_, err := s.b.client.put(ctx, &sdk.PutItemInput{
		Item:                      it,
		ConditionExpression:       aws.String("attribute_not_exists(pk) OR v <= :v"),
		ExpressionAttributeValues: item{":v": number(snapshot.Version)},
	})
	return err
}

// Delete implements [eventstore.Snapshots].
func (s snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	return s.b.client.delete(ctx, keyOf(s.b.keys.snapshot(req.Stream, req.Type), 0))
}
