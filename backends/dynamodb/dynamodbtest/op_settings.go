package dynamodbtest

import (
	"maps"
	"slices"
	"strings"
)

type timeToLive struct {
	AttributeName string `json:"AttributeName"`
	Enabled       bool   `json:"Enabled"`
}

type timeToLiveDescription struct {
	AttributeName    string `json:"AttributeName,omitzero"`
	TimeToLiveStatus string `json:"TimeToLiveStatus"`
}

type describeTimeToLive struct {
	named `json:",inline"`
}

func (d *describeTimeToLive) run(x *execution) (any, *Error) {
	t, err := x.store.active(d.TableName)
	if err != nil {
		return nil, err
	}
	description := timeToLiveDescription{TimeToLiveStatus: "DISABLED"}
	if t.ttl != "" {
		description = timeToLiveDescription{AttributeName: t.ttl, TimeToLiveStatus: "ENABLED"}
	}
	return struct{ TimeToLiveDescription timeToLiveDescription }{description}, nil
}

type updateTimeToLive struct {
	named                   `json:",inline"`
	TimeToLiveSpecification timeToLive `json:"TimeToLiveSpecification"`
}

func (u *updateTimeToLive) run(x *execution) (any, *Error) {
	t, err := x.store.active(u.TableName)
	if err != nil {
		return nil, err
	}
	switch spec := u.TimeToLiveSpecification; {
	case spec.AttributeName == "":
		return nil, invalid("1 validation error detected: Value at 'timeToLiveSpecification.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case spec.Enabled && t.ttl != "":
		return nil, invalid("TimeToLive is already enabled")
	case !spec.Enabled && t.ttl == "":
		return nil, invalid("TimeToLive is already disabled")
	case spec.Enabled:
		t.ttl = spec.AttributeName
	default:
		t.ttl = ""
	}
	return struct{ TimeToLiveSpecification timeToLive }{u.TimeToLiveSpecification}, nil
}

type recoveryDescription struct {
	PointInTimeRecoveryStatus string `json:"PointInTimeRecoveryStatus"`
	RecoveryPeriodInDays      int    `json:"RecoveryPeriodInDays,omitzero"`
}

type backupsDescription struct {
	ContinuousBackupsStatus        string              `json:"ContinuousBackupsStatus"`
	PointInTimeRecoveryDescription recoveryDescription `json:"PointInTimeRecoveryDescription"`
}

type backupsAnswer struct {
	ContinuousBackupsDescription backupsDescription `json:"ContinuousBackupsDescription"`
}

func (t *table) backups() backupsAnswer {
	d := backupsDescription{ContinuousBackupsStatus: "ENABLED", PointInTimeRecoveryDescription: recoveryDescription{PointInTimeRecoveryStatus: "DISABLED"}}
	if t.recovery {
		d.PointInTimeRecoveryDescription = recoveryDescription{PointInTimeRecoveryStatus: "ENABLED", RecoveryPeriodInDays: 35}
	}
	return backupsAnswer{d}
}

// tableWithBackups finds a table for the calls about backups, which have an
// error of their own.
func (s *store) tableWithBackups(name string) (*table, *Error) {
	t, err := s.active(name)
	if err != nil && err.Type == noTable("").Type {
		err = badRequest("TableNotFoundException", "Table not found: "+name)
	}
	return t, err
}

type describeContinuousBackups struct {
	named `json:",inline"`
}

func (d *describeContinuousBackups) run(x *execution) (any, *Error) {
	t, err := x.store.tableWithBackups(d.TableName)
	if err != nil {
		return nil, err
	}
	return t.backups(), nil
}

type updateContinuousBackups struct {
	named                            `json:",inline"`
	PointInTimeRecoverySpecification struct {
		PointInTimeRecoveryEnabled bool `json:"PointInTimeRecoveryEnabled"`
	} `json:"PointInTimeRecoverySpecification"`
}

func (u *updateContinuousBackups) run(x *execution) (any, *Error) {
	t, err := x.store.tableWithBackups(u.TableName)
	if err != nil {
		return nil, err
	}
	t.recovery = u.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled
	return t.backups(), nil
}

// resource is a request about the tags of a table.
type resource struct {
	ResourceArn string `json:"ResourceArn"`
}

func (r *resource) table() string { return strings.TrimPrefix(r.ResourceArn, arn("")) }

func (r *resource) keys(*store) []Key { return []Key{{Table: r.table()}} }

func (r *resource) find(s *store) (*table, *Error) {
	t := s.tables[r.table()]
	if t == nil || arn(t.name) != r.ResourceArn {
		return nil, noTable("Requested resource not found: ResourceArn: " + r.ResourceArn + " not found")
	}
	return t, nil
}

type tagResource struct {
	resource `json:",inline"`
	Tags     []tag `json:"Tags"`
}

func (r *tagResource) run(x *execution) (any, *Error) {
	t, err := r.find(x.store)
	if err != nil {
		return nil, err
	}
	for _, tag := range r.Tags {
		t.tags[tag.Key] = tag.Value
	}
	return nil, nil
}

type untagResource struct {
	resource `json:",inline"`
	TagKeys  []string `json:"TagKeys"`
}

func (r *untagResource) run(x *execution) (any, *Error) {
	t, err := r.find(x.store)
	if err != nil {
		return nil, err
	}
	for _, key := range r.TagKeys {
		delete(t.tags, key)
	}
	return nil, nil
}

type listTagsOfResource struct {
	resource `json:",inline"`
}

func (r *listTagsOfResource) run(x *execution) (any, *Error) {
	t, err := r.find(x.store)
	if err != nil {
		return nil, err
	}
	tags := []tag{}
	for _, key := range slices.Sorted(maps.Keys(t.tags)) {
		tags = append(tags, tag{key, t.tags[key]})
	}
	return struct{ Tags []tag }{tags}, nil
}
