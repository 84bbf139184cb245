package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// schemaVersion is that of the layout in the table.
const schemaVersion = 1

// Attributes of the identity, beside attrVersion and attrTime.
const (
	attrStore   = "id"      // S
	attrStripes = "stripes" // N: partitions of the log
	attrChecked = "checked" // N: microseconds; the restore of the table after which it was last checked, or 0
)

// identity is the store's, in the table.
type identity struct {
	id      uuid.UUID
	checked time.Time
}

func decodeIdentity(it item) (identity, error) {
	a := attributes{of: it}
	version, stripes, text := a.number(attrVersion), a.number(attrStripes), a.text(attrStore)
	found := identity{checked: fromMicros(0)}
	switch {
	case a.err != nil:
		return found, damaged("the identity: %w", a.err)
	case version != schemaVersion || stripes != 1:
		return found, fmt.Errorf("dynamodb: the table has schema %d with %d stripes, and this program knows schema %d with 1: a newer version wrote it, use that", version, stripes, schemaVersion)
	}
	if a.has(attrChecked) {
		found.checked = fromMicros(a.signed(attrChecked))
	}
	var err error
	if found.id, err = uuid.Parse(text); err == nil {
		err = a.err
	}
	if err != nil {
		return found, damaged("the identity: %w", err)
	}
	return found, nil
}

// found is what one look at a table finds.
type found struct {
	identity item
	log      []*logItem
	table    *types.TableDescription // nil where it may not be described
}

// look reads all that opening needs at once.
func (b *Backend) look(ctx context.Context) (found, error) {
	var f found
	var errs [3]error
	var all sync.WaitGroup
	all.Go(func() { f.identity, errs[1] = b.client.get(ctx, keyOf(b.keys.identity(), 0)) })
	all.Go(func() { f.log, errs[2] = b.readLogEnd(ctx) })
	f.table, errs[0] = b.describe(ctx)
	all.Wait()
	return f, firstError(errs[:]...)
}

// describe returns the table's description; nil where it may not be asked for, or
// only later: thousands of short-lived processes share a small quota. Its checks are
// the operator's then.
func (b *Backend) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := b.client.api.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: &b.client.table}, once)
	b.client.counted(opDescribe, err)
	switch {
	case err == nil:
		return out.Table, nil
	case isDenied(err), classify(err) == throttled:
		return nil, nil //nolint:nilnil // nothing is known of it, and that is no error
	}
	return nil, mapped(ctx, opDescribe, b.client.table, err)
}

func (b *Backend) open(ctx context.Context) error {
	f, err := b.look(ctx)
	if isNoTable(err) {
		if !b.opts.CreateTable {
			return &noTableError{b.client.table, b.client.api.Options().Region, err}
		}
		if err := b.create(ctx); err != nil {
			return err
		}
		f, err = b.look(ctx)
	}
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, time.Second) {
		creating := f.table != nil && f.table.TableStatus == types.TableStatusCreating
		if !creating && (err == nil || !b.opts.CreateTable || !isNoTable(err)) {
			break
		}
		if err := sleep.For(ctx, pause); err != nil {
			return err
		}
		f, err = b.look(ctx)
	}
	switch {
	case f.table != nil && f.table.TableStatus != types.TableStatusActive && f.table.TableStatus != types.TableStatusUpdating:
		return fmt.Errorf("%w: dynamodb: table %q is %s", eventstore.ErrUnavailable, b.client.table, f.table.TableStatus)
	case err != nil:
		return err
	}
	if err := b.checkTable(f.table); err != nil {
		return err
	}
	who, err := b.identify(ctx, f)
	if err != nil {
		return err
	}
	if restored := restoredAt(f.table); restored.UnixMicro() > who.checked.UnixMicro() {
		return &RestoredError{Table: b.client.table, At: restored}
	}
	b.id = who.id
	w := <-b.writer
	w.step(f.log)
	b.writer <- w
	return nil
}

// identify returns the store's identity, and writes one where there is none.
func (b *Backend) identify(ctx context.Context, f found) (identity, error) {
	if f.identity != nil {
		return decodeIdentity(f.identity)
	}
	if len(f.log) > 0 {
		return identity{}, damaged("it has a log and no identity")
	}
	if b.opts.NoCreate {
		return identity{}, &eventstore.InvalidError{Field: "table", Reason: fmt.Sprintf("%q holds no store in namespace %q; check the names, or make one first (switchyard init)", b.client.table, b.opts.Namespace)}
	}
	// Restores are compared by the service's clock alone.
	fresh := identity{id: uuid.New(), checked: restoredAt(f.table)}
	it := keyOf(b.keys.identity(), 0)
	it[attrStore], it[attrVersion], it[attrStripes] = text(fresh.id.String()), number(schemaVersion), number(1)
	it[attrTime], it[attrChecked] = signed(time.Now().UnixMicro()), signed(fresh.checked.UnixMicro())
	ok, err := b.client.put(ctx, &sdk.PutItemInput{Item: it, ConditionExpression: aws.String("attribute_not_exists(pk)")})
	switch {
	case isDenied(err):
		return identity{}, fmt.Errorf("table %q holds no store yet; open it once with the right to write: %w", b.client.table, err)
	case err != nil:
		return identity{}, err
	case ok:
		return fresh, nil
	}
	// Somebody else was first, or an attempt of ours whose answer was lost.
	if it, err = b.client.get(ctx, keyOf(b.keys.identity(), 0)); err != nil {
		return identity{}, err
	}
	return decodeIdentity(it)
}

// checkTable refuses a table that this package cannot work with.
func (b *Backend) checkTable(table *types.TableDescription) error {
	if table == nil {
		return nil
	}
	kinds := make(map[string]types.ScalarAttributeType)
	for _, attribute := range table.AttributeDefinitions {
		kinds[aws.ToString(attribute.AttributeName)] = attribute.AttributeType
	}
	roles := make(map[types.KeyType]string)
	for _, key := range table.KeySchema {
		roles[key.KeyType] = aws.ToString(key.AttributeName)
	}
	name := b.client.table
	switch {
	case roles[types.KeyTypeHash] != partitionKey || roles[types.KeyTypeRange] != sortKey ||
		kinds[partitionKey] != types.ScalarAttributeTypeS || kinds[sortKey] != types.ScalarAttributeTypeN:
		return fmt.Errorf("dynamodb: table %q has the key %q (%s), %q (%s), and a store's is %q (S), %q (N): use another table", name,
			roles[types.KeyTypeHash], kinds[roles[types.KeyTypeHash]], roles[types.KeyTypeRange], kinds[roles[types.KeyTypeRange]], partitionKey, sortKey)
	case len(table.LocalSecondaryIndexes) > 0:
		return fmt.Errorf("dynamodb: table %q has a local secondary index, which bounds the log to 10 GB: use another table", name)
	case len(table.Replicas) > 0 && table.MultiRegionConsistency == types.MultiRegionConsistencyStrong:
		return fmt.Errorf("dynamodb: table %q is a global table with strong consistency, which has no transactions: use a table of one region", name)
	case len(table.Replicas) > 0 && !b.opts.OneRegion:
		return fmt.Errorf("dynamodb: table %q is a global table: transactions do not reach beyond a region, and writes of two lose events without a trace; where one region alone writes say so (global=one-region)", name)
	}
	return nil
}

// restoredAt is when a table was restored, by the service's clock; 1970 where it
// never was.
func restoredAt(table *types.TableDescription) time.Time {
	if table == nil || table.RestoreSummary == nil {
		return fromMicros(0)
	}
	return aws.ToTime(table.RestoreSummary.RestoreDateTime).UTC()
}

// RestoredError refuses a table that was restored from a backup and not checked
// since: a backup may hold a part of the last transactions. [Check] checks it.
type RestoredError struct {
	Table string
	// At is when the table was restored.
	At time.Time
}

func (e *RestoredError) Error() string {
	return fmt.Sprintf("dynamodb: table %q was restored at %s, and a backup may hold a part of a transaction: run switchyard check on it once, with --repair where it finds one", e.Table, e.At.Format(time.RFC3339))
}

// noTableError says how to make the table.
type noTableError struct {
	table, region string
	err           error
}

func (e *noTableError) Error() string {
	return fmt.Sprintf("dynamodb: there is no table %q in region %q. Make it with\n\n%s\nor with CloudFormation:\n\n%s\nor, for tests, open it with create=1", e.table, e.region, CreateCommand(e.table, e.region), CloudFormation(e.table))
}

// Unwrap returns the SDK's error.
func (e *noTableError) Unwrap() error { return e.err }

// create makes the table. That it exists is no error: others may open it too.
func (b *Backend) create(ctx context.Context) error {
	_, err := b.client.api.CreateTable(ctx, &sdk.CreateTableInput{
		TableName:   &b.client.table,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(partitionKey), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(sortKey), AttributeType: types.ScalarAttributeTypeN},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(partitionKey), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(sortKey), KeyType: types.KeyTypeRange},
		},
	}, kept)
	b.client.counted(opCreate, err)
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return mapped(ctx, opCreate, b.client.table, err)
	}
	return nil
}
