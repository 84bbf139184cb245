package dynamodb

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is a row of the table.
type item = map[string]types.AttributeValue

// The key of the table, and the attributes of the items that stand in it.
const (
	partitionKey = "pk" // S
	sortKey      = "sk" // N
)

// keys are the partition keys of a store. Several stores share a table, each in a
// namespace, which is what comes before the first slash.
type keys struct{ namespace string }

func (k keys) identity() string            { return k.namespace + "/store" }
func (k keys) log() string                 { return k.namespace + "/log" }
func (k keys) checkpoints() string         { return k.namespace + "/c" }
func (k keys) streams() string             { return k.namespace + "/s/" }
func (k keys) stream(stream string) string { return k.streams() + stream }

// streamOf is the stream of a chunk's item.
func (k keys) streamOf(it item) (string, bool) {
	partition, ok := it[partitionKey].(*types.AttributeValueMemberS)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(partition.Value, k.streams())
}

// snapshot has the length of the type before it, so that no two pairs of a type
// and a stream have one key.
func (k keys) snapshot(stream, snapshotType string) string {
	return fmt.Sprintf("%s/p/%d/%s/%s", k.namespace, len(snapshotType), snapshotType, stream)
}

func keyOf(partition string, sort uint64) item {
	return item{partitionKey: text(partition), sortKey: number(sort)}
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n uint64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatUint(n, 10)}
}

func signed(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// binary never holds nil, which the SDK would send as an attribute without value.
func binary(b []byte) types.AttributeValue {
	if b == nil {
		b = []byte{}
	}
	return &types.AttributeValueMemberB{Value: b}
}

// attributes reads an item; the first attribute that is not what it should be is
// the error of all.
type attributes struct {
	of  item
	err error
}

func (a *attributes) fail(name, kind string) {
	if a.err == nil {
		a.err = fmt.Errorf("its attribute %s is not %s", name, kind)
	}
}

func (a *attributes) has(name string) bool { return a.of[name] != nil }

func (a *attributes) text(name string) string {
	value, ok := a.of[name].(*types.AttributeValueMemberS)
	if !ok {
		a.fail(name, "a text")
		return ""
	}
	return value.Value
}

func (a *attributes) binary(name string) []byte {
	value, ok := a.of[name].(*types.AttributeValueMemberB)
	if !ok {
		a.fail(name, "binary")
		return nil
	}
	return value.Value
}

func (a *attributes) number(name string) uint64 {
	value, ok := a.of[name].(*types.AttributeValueMemberN)
	if ok {
		if n, err := strconv.ParseUint(value.Value, 10, 64); err == nil {
			return n
		}
	}
	a.fail(name, "a whole number")
	return 0
}

func (a *attributes) signed(name string) int64 {
	value, ok := a.of[name].(*types.AttributeValueMemberN)
	if ok {
		if n, err := strconv.ParseInt(value.Value, 10, 64); err == nil {
			return n
		}
	}
	a.fail(name, "a whole number")
	return 0
}

// id reads a UUID or another value of 16 bytes.
func (a *attributes) id(name string) (id [16]byte) {
	b := a.binary(name)
	if len(b) != len(id) {
		a.fail(name, "16 bytes long")
		return id
	}
	return [16]byte(b)
}

// DynamoDB's sizes, in bytes.
const (
	writeUnit = 1 << 10
	readUnit  = 4 << 10
	mostItem  = 400 << 10
)

// itemSize is what DynamoDB counts an item as, and never less.
func itemSize(it item) int {
	size := 0
	for name, value := range it {
		size += len(name) + valueSize(value)
	}
	return size
}

func valueSize(value types.AttributeValue) int {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return numberSize(v.Value)
	case *types.AttributeValueMemberL:
		size := 3
		for _, element := range v.Value {
			size += 1 + valueSize(element)
		}
		return size
	case *types.AttributeValueMemberM:
		return 3 + len(v.Value) + itemSize(v.Value)
	}
	return 1
}

// numberSize is a byte for two digits and one more, and one for a sign.
func numberSize(s string) int {
	digits := strings.TrimPrefix(s, "-")
	size := (len(digits)+1)/2 + 1
	if len(digits) != len(s) {
		size++
	}
	return size
}

// units is what writing so many bytes costs outside a transaction.
func units(size int) int { return max(1, (size+writeUnit-1)/writeUnit) }
