package dynamodbtest

import (
	"maps"
	"slices"
)

// Sizes that one unit pays for, in bytes.
const (
	readUnit  = 4 << 10
	writeUnit = 1 << 10
)

// transactional is how much dearer items are in a transaction.
const transactional = 2

// Usage is what the double has been asked for since it was started or
// [Server.ResetUsage] was called, refused and lost requests included.
type Usage struct {
	Requests   map[string]int64 // by operation, such as "PutItem"
	ReadUnits  float64
	WriteUnits float64

	// CanceledTransactions were refused or met a conflict. CanceledUnits are the
	// write units they would have cost: the service does not say what it bills
	// for them, so they are counted apart.
	CanceledTransactions int64
	CanceledUnits        float64
}

// Total is the number of requests of all operations.
func (u Usage) Total() int64 {
	var total int64
	for _, n := range u.Requests {
		total += n
	}
	return total
}

func newUsage() Usage { return Usage{Requests: map[string]int64{}} }

func (u Usage) clone() Usage {
	u.Requests = maps.Clone(u.Requests)
	return u
}

// units are capacity units consumed on one table.
type units struct{ read, write float64 }

// roundUp is the number of units of a size; nothing costs as much as one.
func roundUp(size, unit int) float64 { return float64(max((size+unit-1)/unit, 1)) }

// readUnits is what reading that many bytes costs.
func readUnits(size int, consistent bool) float64 {
	if consistent {
		return roundUp(size, readUnit)
	}
	return roundUp(size, readUnit) / 2
}

// writeUnits is what replacing one version by another costs; nil is absence.
func writeUnits(before, after item) float64 {
	return roundUp(max(before.size(), after.size()), writeUnit)
}

// bill collects what a request consumes.
type bill struct{ tables map[string]units }

func (b *bill) add(table string, u units) {
	if b.tables == nil {
		b.tables = map[string]units{}
	}
	sum := b.tables[table]
	b.tables[table] = units{sum.read + u.read, sum.write + u.write}
}

type capacity struct {
	CapacityUnits      float64 `json:"CapacityUnits"`
	ReadCapacityUnits  float64 `json:"ReadCapacityUnits,omitzero"`
	WriteCapacityUnits float64 `json:"WriteCapacityUnits,omitzero"`
}

type consumedCapacity struct {
	TableName string `json:"TableName"`
	capacity  `json:",inline"`
	Table     *capacity `json:"Table,omitzero"`
}

// report is what ReturnConsumedCapacity asks for, a record for each table.
// Transactions tell reads and writes apart.
func (b *bill) report(mode string, tellApart bool) []consumedCapacity {
	if mode != "TOTAL" && mode != "INDEXES" {
		return nil
	}
	var out []consumedCapacity
	for _, name := range slices.Sorted(maps.Keys(b.tables)) {
		u := b.tables[name]
		c := capacity{CapacityUnits: u.read + u.write}
		if tellApart {
			c.ReadCapacityUnits, c.WriteCapacityUnits = u.read, u.write
		}
		record := consumedCapacity{TableName: name, capacity: c}
		if mode == "INDEXES" {
			record.Table = &c
		}
		out = append(out, record)
	}
	return out
}

// reportOne is report for an operation on one table.
func (b *bill) reportOne(mode string) *consumedCapacity {
	if all := b.report(mode, false); len(all) > 0 {
		return &all[0]
	}
	return nil
}
