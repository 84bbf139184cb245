package esdbtest

import (
	"encoding/json"
	"time"
)

// streamMetadata is what the server itself reads of a stream's metadata.
type streamMetadata struct {
	maxCount       int64 // 0: no limit
	maxAge         time.Duration
	truncateBefore int64
	acl            map[string][]string // roles by "$r", "$w", "$d", "$mr", "$mw"
}

// metadataOf reads the stream's metadata. The caller holds the lock.
func (s *store) metadataOf(stream string) streamMetadata {
	if isMetastream(stream) {
		return streamMetadata{maxCount: 1} // a metastream keeps its last event only
	}
	events := s.streams[metastreamOf(stream)]
	if len(events) == 0 || !events[len(events)-1].json {
		return streamMetadata{} // its type does not matter, only that it is JSON
	}
	return parseMetadata(events[len(events)-1].data)
}

func (s *store) softDeleted(stream string) bool {
	return s.metadataOf(stream).truncateBefore == deletedRevision
}

// parseMetadata ignores what it cannot read, as the server does.
func parseMetadata(data []byte) streamMetadata {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return streamMetadata{}
	}
	number := func(name string) int64 {
		var n int64
		if json.Unmarshal(fields[name], &n) != nil || n < 0 {
			return 0
		}
		return n
	}
	return streamMetadata{
		maxCount:       number("$maxCount"),
		maxAge:         time.Duration(number("$maxAge")) * time.Second,
		truncateBefore: number("$tb"),
		acl:            parseACL(fields["$acl"]),
	}
}

// parseACL reads an access control list: an object whose members are a role or
// a list of roles, or the name of one of the two default lists.
func parseACL(data []byte) map[string][]string {
	var named string
	if json.Unmarshal(data, &named) == nil {
		switch named {
		case "$userStreamAcl":
			return aclOf(roleAll)
		case "$systemStreamAcl":
			return aclOf(roleAdmins)
		}
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return nil
	}
	acl := make(map[string][]string)
	for right, value := range fields {
		var role string
		var roles []string
		if json.Unmarshal(value, &role) == nil {
			acl[right] = []string{role}
		} else if json.Unmarshal(value, &roles) == nil {
			acl[right] = roles
		}
	}
	return acl
}
