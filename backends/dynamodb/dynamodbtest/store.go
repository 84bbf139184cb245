package dynamodbtest

import (
	"sync"
	"time"
)

// store is what outlives a restart of the server.
type store struct {
	now        func() time.Time
	tableDelay time.Duration

	mu          sync.Mutex
	tables      map[string]*table
	tokens      map[string]*clientToken
	tokensSwept time.Time // when those whose time was over were forgotten last
	held        bool      // replicas are held back
	laggingRows []laggingRow
	usage       Usage
}

type laggingRow struct {
	table *table
	row   *row
}

func newStore(o Options) *store {
	return &store{
		now: o.Now, tableDelay: o.TableDelay,
		tables: map[string]*table{}, tokens: map[string]*clientToken{}, usage: newUsage(),
	}
}

// active finds a table that serves requests.
func (s *store) active(name string) (*table, *Error) {
	if err := checkTableName(name); err != nil {
		return nil, err
	}
	t := s.tables[name]
	if t == nil || s.status(t) != statusActive {
		return nil, noTable("Requested resource not found")
	}
	return t, nil
}

// described finds a table in any state.
func (s *store) described(name string) (*table, *Error) {
	if err := checkTableName(name); err != nil {
		return nil, err
	}
	if t := s.tables[name]; t != nil {
		return t, nil
	}
	return nil, noTable("Requested resource not found: Table: " + name + " not found")
}

// set stores an item, nil for its absence.
func (s *store) set(t *table, r *row, it item) {
	if s.held && !r.lagging {
		r.stale, r.lagging = r.current, true
		s.laggingRows = append(s.laggingRows, laggingRow{t, r})
	}
	r.current = it
	t.tidy(r)
}

// holdReplicas freezes what eventually consistent reads see.
func (s *store) holdReplicas() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

func (s *store) releaseReplicas() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	for _, l := range s.laggingRows {
		l.row.stale, l.row.lagging = nil, false
		l.table.tidy(l.row)
	}
	s.laggingRows = nil
}

// keyFor names an item for hooks, as far as the table is known.
func (s *store) keyFor(tableName string, attributes item) Key {
	key := Key{Table: tableName}
	if t := s.tables[tableName]; t != nil {
		key.Partition = attributes[t.key.partition.name].String()
		key.Sort = attributes[t.key.sort.name].String()
	}
	return key
}
