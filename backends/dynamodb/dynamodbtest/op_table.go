package dynamodbtest

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// States of a table.
const (
	statusCreating = "CREATING"
	statusActive   = "ACTIVE"
)

// TableState overrides what DescribeTable says of a table, so that a client can
// be shown tables that the double cannot make.
type TableState struct {
	// Status, such as "DELETING" or "UPDATING". Empty: as it is. A table in
	// another state than ACTIVE or UPDATING serves no items.
	Status string
	// Replicas are the regions of a global table.
	Replicas []string
	// MultiRegionConsistency of a global table: "EVENTUAL" or "STRONG".
	MultiRegionConsistency string
	// LocalIndexes and GlobalIndexes are names of secondary indexes.
	LocalIndexes, GlobalIndexes []string
	// RestoredAt is when the table was restored from a backup; zero: never.
	RestoredAt time.Time
}

// SetTableState overrides what DescribeTable says of a table. It does nothing
// if there is no such table.
func (s *Server) SetTableState(name string, state TableState) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if t := s.store.tables[name]; t != nil {
		t.state = state
	}
}

type keyElement struct {
	AttributeName string `json:"AttributeName"`
	KeyType       string `json:"KeyType"`
}

type attributeDefinition struct {
	AttributeName string `json:"AttributeName"`
	AttributeType kind   `json:"AttributeType"`
}

type throughput struct {
	ReadCapacityUnits      int64 `json:"ReadCapacityUnits"`
	WriteCapacityUnits     int64 `json:"WriteCapacityUnits"`
	NumberOfDecreasesToday int64 `json:"NumberOfDecreasesToday"`
}

type tag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

type createTable struct {
	TableName                 string                `json:"TableName"`
	KeySchema                 []keyElement          `json:"KeySchema"`
	AttributeDefinitions      []attributeDefinition `json:"AttributeDefinitions"`
	BillingMode               string                `json:"BillingMode,omitzero"`
	ProvisionedThroughput     *throughput           `json:"ProvisionedThroughput,omitzero"`
	DeletionProtectionEnabled bool                  `json:"DeletionProtectionEnabled,omitzero"`
	TableClass                string                `json:"TableClass,omitzero"`
	Tags                      []tag                 `json:"Tags,omitzero"`
}

type indexDescription struct {
	IndexName string `json:"IndexName"`
}

type replicaDescription struct {
	RegionName    string `json:"RegionName"`
	ReplicaStatus string `json:"ReplicaStatus"`
}

type restoreSummary struct {
	RestoreDateTime   float64 `json:"RestoreDateTime"`
	RestoreInProgress bool    `json:"RestoreInProgress"`
}

type billingSummary struct {
	BillingMode string `json:"BillingMode"`
}

type tableDescription struct {
	TableName                 string                `json:"TableName"`
	TableArn                  string                `json:"TableArn"`
	TableId                   string                `json:"TableId"`
	TableStatus               string                `json:"TableStatus"`
	CreationDateTime          float64               `json:"CreationDateTime"`
	KeySchema                 []keyElement          `json:"KeySchema"`
	AttributeDefinitions      []attributeDefinition `json:"AttributeDefinitions"`
	ProvisionedThroughput     throughput            `json:"ProvisionedThroughput"`
	BillingModeSummary        *billingSummary       `json:"BillingModeSummary,omitzero"`
	DeletionProtectionEnabled bool                  `json:"DeletionProtectionEnabled"`
	ItemCount                 int64                 `json:"ItemCount"`
	TableSizeBytes            int64                 `json:"TableSizeBytes"`
	LocalSecondaryIndexes     []indexDescription    `json:"LocalSecondaryIndexes,omitzero"`
	GlobalSecondaryIndexes    []indexDescription    `json:"GlobalSecondaryIndexes,omitzero"`
	Replicas                  []replicaDescription  `json:"Replicas,omitzero"`
	MultiRegionConsistency    string                `json:"MultiRegionConsistency,omitzero"`
	RestoreSummary            *restoreSummary       `json:"RestoreSummary,omitzero"`
}

// seconds is a time as the protocol has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (s *store) status(t *table) string {
	switch {
	case t.state.Status == "UPDATING":
		return statusActive // an update in progress serves
	case t.state.Status != "":
		return t.state.Status
	case s.now().Before(t.activeAt):
		return statusCreating
	}
	return statusActive
}

func (s *store) describe(t *table) tableDescription {
	d := tableDescription{
		TableName: t.name, TableArn: arn(t.name), TableId: t.id,
		TableStatus: s.status(t), CreationDateTime: seconds(t.created),
		DeletionProtectionEnabled: t.protected, MultiRegionConsistency: t.state.MultiRegionConsistency,
	}
	if t.state.Status != "" {
		d.TableStatus = t.state.Status
	}
	for i, a := range t.key.attributes() {
		d.KeySchema = append(d.KeySchema, keyElement{a.name, []string{"HASH", "RANGE"}[i]})
		d.AttributeDefinitions = append(d.AttributeDefinitions, attributeDefinition{a.name, a.kind})
	}
	if t.provisioned != nil {
		d.ProvisionedThroughput = *t.provisioned
	} else {
		d.BillingModeSummary = &billingSummary{t.billing}
	}
	d.ItemCount, d.TableSizeBytes = t.contents() // at once; the service counts every six hours
	for _, name := range t.state.LocalIndexes {
		d.LocalSecondaryIndexes = append(d.LocalSecondaryIndexes, indexDescription{name})
	}
	for _, name := range t.state.GlobalIndexes {
		d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, indexDescription{name})
	}
	for _, region := range t.state.Replicas {
		d.Replicas = append(d.Replicas, replicaDescription{region, statusActive})
	}
	if !t.state.RestoredAt.IsZero() {
		d.RestoreSummary = &restoreSummary{RestoreDateTime: seconds(t.state.RestoredAt)}
	}
	return d
}

func arn(table string) string {
	return "arn:aws:dynamodb:us-east-1:000000000000:table/" + table
}

type tableAnswer struct {
	TableDescription *tableDescription `json:"TableDescription,omitzero"`
	Table            *tableDescription `json:"Table,omitzero"`
}

func (c *createTable) keys(*store) []Key { return []Key{{Table: c.TableName}} }

// schema reads the key of the new table.
func (c *createTable) schema() (schema, *Error) {
	var key schema
	kinds := map[string]kind{}
	for _, d := range c.AttributeDefinitions {
		if !d.AttributeType.isScalarKey() {
			return key, oneOf("attributeDefinitions.1.member.attributeType", string(d.AttributeType), "B", "N", "S")
		}
		kinds[d.AttributeName] = d.AttributeType
	}
	for i, e := range c.KeySchema {
		switch {
		case i > 1:
			return key, invalid("1 validation error detected: Value at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2")
		case i == 0 && e.KeyType != "HASH":
			return key, invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
		case i == 1 && e.KeyType != "RANGE":
			return key, invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
		case i == 1 && e.AttributeName == key.partition.name:
			return key, invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
		case kinds[e.AttributeName] == "":
			return key, invalid(badParameters + "Some index key attributes are not defined in AttributeDefinitions. Keys: [" + e.AttributeName + "]")
		case i == 0:
			key.partition = keyAttribute{e.AttributeName, kinds[e.AttributeName]}
		default:
			key.sort = keyAttribute{e.AttributeName, kinds[e.AttributeName]}
		}
	}
	switch {
	case key.partition.name == "":
		return key, invalid("1 validation error detected: Value at 'keySchema' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case len(kinds) != len(key.attributes()):
		return key, invalid(badParameters + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	return key, nil
}

func (c *createTable) checkBilling() *Error {
	switch {
	case c.BillingMode == "PAY_PER_REQUEST" && c.ProvisionedThroughput != nil:
		return invalid(badParameters + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	case c.BillingMode != "PAY_PER_REQUEST" && c.ProvisionedThroughput == nil:
		return invalid(badParameters + "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	return oneOf("billingMode", c.BillingMode, "PROVISIONED", "PAY_PER_REQUEST")
}

func (c *createTable) run(x *execution) (any, *Error) {
	key, err := c.schema()
	if err := firstError(checkTableName(c.TableName), err, c.checkBilling()); err != nil {
		return nil, err
	}
	if x.store.tables[c.TableName] != nil {
		return nil, badRequest("ResourceInUseException", "Table already exists: "+c.TableName)
	}
	now := x.store.now()
	t := &table{
		name: c.TableName, id: strings.ToLower(rand.Text()), key: key,
		billing: c.BillingMode, provisioned: c.ProvisionedThroughput,
		created: now, activeAt: now.Add(x.store.tableDelay),
		protected: c.DeletionProtectionEnabled, tags: map[string]string{},
		partitions: map[string]*partition{},
	}
	for _, tag := range c.Tags {
		t.tags[tag.Key] = tag.Value
	}
	x.store.tables[t.name] = t
	d := x.store.describe(t)
	d.TableStatus = statusCreating // whatever the delay: clients must wait
	return tableAnswer{TableDescription: &d}, nil
}

// named is a request that names a table and nothing else.
type named struct {
	TableName string `json:"TableName"`
}

func (n *named) keys(*store) []Key { return []Key{{Table: n.TableName}} }

type describeTable struct {
	named `json:",inline"`
}

func (d *describeTable) run(x *execution) (any, *Error) {
	t, err := x.store.described(d.TableName)
	if err != nil {
		return nil, err
	}
	description := x.store.describe(t)
	return tableAnswer{Table: &description}, nil
}

type deleteTable struct {
	named `json:",inline"`
}

func (d *deleteTable) run(x *execution) (any, *Error) {
	t, err := x.store.described(d.TableName)
	if err != nil {
		return nil, err
	}
	switch {
	case t.protected:
		return nil, invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	case x.store.status(t) != statusActive:
		return nil, badRequest("ResourceInUseException", "Attempt to change a resource which is still in use: Table is being created: "+t.name)
	}
	description := x.store.describe(t)
	description.TableStatus = "DELETING"
	delete(x.store.tables, t.name)
	return tableAnswer{TableDescription: &description}, nil
}

type updateTable struct {
	named                     `json:",inline"`
	DeletionProtectionEnabled *bool `json:"DeletionProtectionEnabled,omitzero"`
}

func (u *updateTable) run(x *execution) (any, *Error) {
	t, err := x.store.active(u.TableName)
	if err != nil {
		return nil, err
	}
	if u.DeletionProtectionEnabled != nil {
		t.protected = *u.DeletionProtectionEnabled
	}
	description := x.store.describe(t)
	return tableAnswer{TableDescription: &description}, nil
}

type listTables struct {
	ExclusiveStartTableName string `json:"ExclusiveStartTableName,omitzero"`
	Limit                   *int   `json:"Limit,omitzero"`
}

type listTablesAnswer struct {
	TableNames             []string `json:"TableNames"`
	LastEvaluatedTableName string   `json:"LastEvaluatedTableName,omitzero"`
}

func (l *listTables) keys(*store) []Key { return nil }

func (l *listTables) run(x *execution) (any, *Error) {
	limit := 100
	if l.Limit != nil {
		limit = *l.Limit
	}
	if limit < 1 || limit > 100 {
		return nil, invalid(fmt.Sprintf("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and 100", limit))
	}
	answer := listTablesAnswer{TableNames: []string{}}
	for _, name := range slices.Sorted(maps.Keys(x.store.tables)) {
		switch {
		case name <= l.ExclusiveStartTableName:
		case len(answer.TableNames) == limit:
			answer.LastEvaluatedTableName = answer.TableNames[limit-1]
			return answer, nil
		default:
			answer.TableNames = append(answer.TableNames, name)
		}
	}
	return answer, nil
}
