package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	inRange    = ` WHERE position > ?1 AND position <= ?2`
	ofCategory = `SELECT ` + columns + ` FROM events` + inRange + ` AND category = ?%d`
	inOrder    = ` ORDER BY position LIMIT ?3`
	inReverse  = ` ORDER BY position DESC LIMIT ?3`

	selectAll = `SELECT ` + columns + ` FROM events` + inRange

	// The values come as JSON arrays, so that one statement serves any number of
	// them; NULL selects all. The + keeps the planner from the indexes: this is a
	// scan of a window.
	selectMatching = `WITH prefixes (prefix, length) AS MATERIALIZED (SELECT value, length(value) FROM json_each(?5))
SELECT ` + columns + ` FROM events` + inRange + `
	AND (?4 IS NULL OR +category IN (SELECT value FROM json_each(?4)))
	AND (?5 IS NULL OR EXISTS (SELECT 1 FROM prefixes WHERE substr(stream, 1, length) = prefix))
	AND (?6 IS NULL OR type IN (SELECT value FROM json_each(?6)))`
)

// So many categories are merged from their index; with more, a scan is as fast.
const mergeAtMost = 8

// selection is how a filter's events are found.
type selection struct {
	filter     eventstore.Filter
	categories []string // each once, where the index finds all that is selected
	scans      bool     // it looks at every event of a range
}

func newSelection(f eventstore.Filter) selection {
	s := selection{filter: f, scans: !f.IsZero()}
	if len(f.Types) > 0 || len(f.StreamPrefixes) > 0 {
		return s
	}
	categories := slices.Compact(slices.Sorted(slices.Values(f.Categories)))
	if n := len(categories); n > 0 && n <= mergeAtMost {
		s.categories, s.scans = categories, false
	}
	return s
}

// build returns the query for low < position <= high, and its arguments.
func (s selection) build(low, high int64, limit int, backward bool) (string, []driver.Value, error) {
	order := inOrder
	if backward {
		order = inReverse
	}
	args := []driver.Value{low, high, int64(limit)}
	switch {
	case s.filter.IsZero():
		return selectAll + order, args, nil
	case !s.scans:
		terms := make([]string, len(s.categories))
		for i, category := range s.categories {
			terms[i] = fmt.Sprintf(ofCategory, 4+i)
			args = append(args, category)
		}
		return strings.Join(terms, " UNION ALL ") + order, args, nil
	}
	for _, values := range [][]string{s.filter.Categories, s.filter.StreamPrefixes, s.filter.Types} {
		if len(values) == 0 {
			args = append(args, nil)
			continue
		}
		text, err := json.Marshal(values)
		if err != nil {
			return "", nil, err
		}
		args = append(args, string(text))
	}
	return selectMatching + order, args, nil
}
