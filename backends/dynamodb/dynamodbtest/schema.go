package dynamodbtest

import "fmt"

// Limits of keys, in bytes.
const (
	maxPartitionKey = 2048
	maxSortKey      = 1024
)

const wrongKey = "The provided key element does not match the schema"

// keyAttribute is a part of a table's primary key.
type keyAttribute struct {
	name string
	kind kind
}

// schema is a table's primary key.
type schema struct {
	partition keyAttribute
	sort      keyAttribute // without a name if there is none
}

func (k schema) attributes() []keyAttribute {
	if k.sort.name == "" {
		return []keyAttribute{k.partition}
	}
	return []keyAttribute{k.partition, k.sort}
}

func (k schema) attribute(name string) (keyAttribute, *Error) {
	for _, a := range k.attributes() {
		if a.name == name {
			return a, nil
		}
	}
	if k.sort.name == "" {
		return keyAttribute{}, invalid("Query key condition not supported")
	}
	return keyAttribute{}, invalid("Query condition missed key schema element: " + k.sort.name)
}

// checkItem refuses an item that cannot be stored under this key.
func (k schema) checkItem(it item) *Error {
	for _, a := range k.attributes() {
		v, ok := it[a.name]
		if !ok {
			return invalidItem(badParameters + "Missing the key " + a.name + " in the item")
		}
		if v.kind != a.kind {
			return invalidItem(fmt.Sprintf("%sType mismatch for key %s expected: %s actual: %s", badParameters, a.name, a.kind, v.kind))
		}
	}
	return k.checkSizes(it)
}

// checkKey refuses a key that is not exactly the table's.
func (k schema) checkKey(key item) *Error {
	if len(key) != len(k.attributes()) {
		return invalidItem(wrongKey)
	}
	for _, a := range k.attributes() {
		if v, ok := key[a.name]; !ok || v.kind != a.kind {
			return invalidItem(wrongKey)
		}
	}
	return k.checkSizes(key)
}

func (k schema) checkSizes(key item) *Error {
	for _, a := range k.attributes() {
		v, ok := key[a.name]
		if !ok || v.kind == kindN {
			continue
		}
		if v.bytes == "" {
			what := map[kind]string{kindS: "string", kindB: "binary"}[v.kind]
			return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty " + what + " value. Key: " + a.name)
		}
	}
	switch {
	case len(key[k.partition.name].bytes) > maxPartitionKey:
		return invalidItem(badParameters + "Size of hashkey has exceeded the maximum size limit of2048 bytes") // the service's own spelling
	case k.sort.name != "" && len(key[k.sort.name].bytes) > maxSortKey:
		return invalidItem(badParameters + "Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
	}
	return nil
}

// keyOf is the key of an item that has one.
func (k schema) keyOf(it item) item {
	key := item{}
	for _, a := range k.attributes() {
		key[a.name] = it[a.name]
	}
	return key
}
