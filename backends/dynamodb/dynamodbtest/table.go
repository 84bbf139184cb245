package dynamodbtest

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sort"
	"time"
)

// table is guarded by the store's lock.
type table struct {
	name        string
	id          string
	key         schema
	billing     string
	provisioned *throughput
	created     time.Time
	activeAt    time.Time // until then it is being created
	protected   bool      // from deletion
	ttl         string    // the attribute of UpdateTimeToLive
	recovery    bool      // to a point in time
	tags        map[string]string
	state       TableState

	partitions map[string]*partition
}

// partition holds the rows of one partition key, by sort key.
type partition struct {
	key  value
	rows []*row
}

// row is the place of one item. Its versions are those that the different kinds
// of reads see.
type row struct {
	partition *partition
	sort      value // of no kind where the table has no sort key

	current item // nil: absent

	// A transaction that has prepared this row, and what it will store.
	holder *transaction
	next   item

	// What replicas show while they are held back.
	stale    item
	lagging  bool
	unlisted bool // dropped from its partition: a lookup makes a new row
}

// serial is what GetItem sees: of a transaction everything or nothing.
func (r *row) serial() item {
	if r.holder != nil && r.holder.decided {
		return r.next
	}
	return r.current
}

// committed is what Query, Scan and BatchGetItem see: items of a transaction
// one by one, as they arrive.
func (r *row) committed() item { return r.current }

// eventual is what a replica may still show.
func (r *row) eventual() item {
	if r.lagging {
		return r.stale
	}
	return r.current
}

func (r *row) needed() bool { return r.current != nil || r.holder != nil || r.lagging }

// row finds the row of a key that has been checked, or makes it.
func (t *table) row(key item) *row {
	partitionKey, sortKey := key[t.key.partition.name], key[t.key.sort.name]
	p := t.partitions[partitionKey.String()]
	if p == nil {
		p = &partition{key: partitionKey}
		t.partitions[partitionKey.String()] = p
	}
	i, found := slices.BinarySearchFunc(p.rows, sortKey, func(r *row, v value) int { return r.sort.compare(v) })
	if !found {
		p.rows = slices.Insert(p.rows, i, &row{partition: p, sort: sortKey})
	}
	return p.rows[i]
}

// tidy forgets a row that holds nothing for anybody.
func (t *table) tidy(r *row) {
	if r.needed() || r.unlisted {
		return
	}
	r.unlisted = true
	p := r.partition
	i, _ := slices.BinarySearchFunc(p.rows, r.sort, func(r *row, v value) int { return r.sort.compare(v) })
	p.rows = slices.Delete(p.rows, i, i+1)
	if len(p.rows) == 0 {
		delete(t.partitions, p.key.String())
	}
}

// between returns the rows whose sort keys lie in the range.
func (p *partition) between(position func(value) int) []*row {
	from := sort.Search(len(p.rows), func(i int) bool { return position(p.rows[i].sort) >= 0 })
	to := sort.Search(len(p.rows), func(i int) bool { return position(p.rows[i].sort) > 0 })
	return p.rows[from:max(from, to)]
}

// place is where a Scan meets an item: by a hash of the partition key, because
// nobody should rely on an order that the service does not give.
type place struct {
	hash            uint64
	partition, sort value
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.hash, o.hash), p.partition.compare(o.partition), p.sort.compare(o.sort))
}

func (r *row) place() place {
	return place{partitionHash(r.partition.key), r.partition.key, r.sort}
}

func (k schema) place(key item) place {
	partition := key[k.partition.name]
	return place{partitionHash(partition), partition, key[k.sort.name]}
}

func partitionHash(key value) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key.String())) // never fails
	return h.Sum64()
}

// scanOrder lists the rows as a Scan meets them.
func (t *table) scanOrder() []*row {
	var rows []*row
	for _, p := range t.partitions {
		rows = append(rows, p.rows...)
	}
	slices.SortFunc(rows, func(a, b *row) int { return a.place().compare(b.place()) })
	return rows
}

// contents counts the items and their bytes.
func (t *table) contents() (items, bytes int64) {
	for _, p := range t.partitions {
		for _, r := range p.rows {
			if r.current != nil {
				items++
				bytes += int64(r.current.size())
			}
		}
	}
	return items, bytes
}
