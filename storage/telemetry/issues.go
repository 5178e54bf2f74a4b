package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// IssueActivity is what an issue did in a scope.
type IssueActivity struct {
	ID        uint64
	Events    int64
	Users     int64 // distinct
	FirstSeen time.Time
	LastSeen  time.Time
	Trend     []int64 // events in each step of the range, oldest first
}

// EventSummary is one event in a list.
type EventSummary struct {
	ID          string // 32 hexadecimal digits
	Time        time.Time
	Level       string
	Environment string
	Release     string
	Value       string
	UserID      string
}

// TagDistribution is how often the values of a tag occur in the events of an issue.
type TagDistribution struct {
	Key    string
	Values []TagValue // up to 10, most frequent first
}

// TagValue is one value of a tag.
type TagValue struct {
	Value string
	Count int64
}

// Event is one error event.
type Event struct {
	ID          string // 32 hexadecimal digits
	IssueID     uint64
	Time        time.Time
	ReceivedAt  time.Time // to the millisecond
	Level       string
	Platform    string
	Environment string
	Release     string
	Type        string
	Value       string
	Title       string
	Culprit     string
	Transaction string
	ServerName  string
	UserID      string
	TraceID     string            // 32 hexadecimal digits or empty
	Tags        map[string]string // not nil
	Payload     []byte            // the sanitised event as Sentry JSON
}

// Limits of errors' reads.
const (
	maxIssues    = 10_000
	maxEvents    = 10_000
	maxTags      = 30
	maxTagValues = 10
)

// An event that was sent twice may be two rows for a while, so events are counted by their ids.
const (
	countEvents = "uniqExact(event_id)"
	countUsers  = "uniqExactIf(user_id, user_id != '')"
)

// issueOrder says which issues come first.
type issueOrder string

const (
	lastSeenFirst   issueOrder = "last DESC, issue_id"
	mostEventsFirst issueOrder = "events DESC, last DESC, issue_id"
)

// IssueActivity returns what issues did in a scope: those of ids, or all where ids is nil; last
// seen first and limit at most. total is how many there are without the limit. step is the width
// of the steps of the trends.
func (s *Store) IssueActivity(ctx context.Context, sc Scope, ids []uint64, limit int) (activity []IssueActivity, total int, step time.Duration, err error) {
	if limit < 1 || limit > maxIssues || len(ids) > maxIssues {
		return nil, 0, 0, invalid("the limit must be between 1 and %d", maxIssues)
	}
	activity, total, err = s.issues(ctx, sc, ids, limit, lastSeenFirst)
	return activity, total, Step(sc), err
}

func (s *Store) issues(ctx context.Context, sc Scope, ids []uint64, limit int, order issueOrder) ([]IssueActivity, int, error) {
	if err := sc.check(); err != nil {
		return nil, 0, err
	}
	activity := []IssueActivity{}
	if ids != nil && len(ids) == 0 {
		return activity, 0, nil
	}
	p := sc.scoped().with("limit", limit)
	where := inScope
	if ids != nil {
		where += " AND issue_id IN {ids:Array(UInt64)}"
		p["ids"] = ids
	}
	sql := `SELECT issue_id, ` + countEvents + ` AS events, ` + countUsers + `, min(ts), max(ts) AS last, count() OVER () AS total
FROM error_events WHERE ` + where + ` GROUP BY issue_id ORDER BY ` + string(order) + ` LIMIT {limit:UInt32}`
	var total uint64
	err := s.query(ctx, sc, "read the activity of issues", sql, p, func(rows driver.Rows) error {
		var a IssueActivity
		var events, users uint64
		if err := rows.Scan(&a.ID, &events, &users, &a.FirstSeen, &a.LastSeen, &total); err != nil {
			return err
		}
		a.Events, a.Users = int64(events), int64(users)
		activity = append(activity, a)
		return nil
	})
	if err != nil || len(activity) == 0 {
		return activity, 0, err
	}
	return activity, int(total), s.trends(ctx, sc, activity)
}

// trends fills in the trends of issues.
func (s *Store) trends(ctx context.Context, sc Scope, activity []IssueActivity) error {
	steps := bucketsOf(sc, Step(sc))
	number := make(map[uint64]int, len(activity))
	ids := make([]uint64, len(activity))
	for i := range activity {
		activity[i].Trend = make([]int64, steps.n)
		number[activity[i].ID] = i
		ids[i] = activity[i].ID
	}
	p := sc.scoped().with("ids", ids)
	sql := `SELECT issue_id, ` + steps.column(p) + ` AS bucket, ` + countEvents + ` FROM error_events
WHERE ` + inScope + ` AND issue_id IN {ids:Array(UInt64)} GROUP BY issue_id, bucket`
	return s.query(ctx, sc, "read the trends of issues", sql, p, func(rows driver.Rows) error {
		var id, bucket, n uint64
		if err := rows.Scan(&id, &bucket, &n); err != nil {
			return err
		}
		if i, ok := number[id]; ok {
			activity[i].Trend[min(bucket, uint64(steps.n-1))] = int64(n)
		}
		return nil
	})
}

// IssueEvents returns the newest events of an issue, newest first.
func (s *Store) IssueEvents(ctx context.Context, sc Scope, issue uint64, limit int) ([]EventSummary, error) {
	if limit < 1 || limit > maxEvents {
		return nil, invalid("the limit must be between 1 and %d", maxEvents)
	}
	const sql = `SELECT event_id, ts, level, environment, release, value, user_id FROM error_events
WHERE ` + inScope + ` AND issue_id = {issue:UInt64} ORDER BY ts DESC, event_id DESC LIMIT 1 BY event_id LIMIT {limit:UInt32}`
	events := []EventSummary{}
	p := sc.scoped().with("issue", issue).with("limit", limit)
	err := s.query(ctx, sc, "read the events of the issue", sql, p, func(rows driver.Rows) error {
		var e EventSummary
		if err := rows.Scan(&e.ID, &e.Time, &e.Level, &e.Environment, &e.Release, &e.Value, &e.UserID); err != nil {
			return err
		}
		e.ID = fullHexID(e.ID)
		events = append(events, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// fullHexID writes an id of raw bytes that is always there.
func fullHexID(raw string) string { return fmt.Sprintf("%x", raw) }

// IssueTags returns how the values of tags are distributed over the events of an issue: of up to 30
// tags, those that most events have first. What each event has besides its tags, such as its
// release and environment, is among them.
func (s *Store) IssueTags(ctx context.Context, sc Scope, issue uint64) ([]TagDistribution, error) {
	// A sender may repeat the columns among its tags.
	const sql = `SELECT pair.1 AS key, pair.2 AS tag_value, ` + countEvents + ` AS n FROM error_events
ARRAY JOIN arrayConcat(
	arrayFilter(t -> t.1 NOT IN ('release', 'environment', 'level', 'server_name', 'transaction'),
		arrayZip(mapKeys(tags)::Array(String), mapValues(tags))),
	[('release', toString(release)), ('environment', toString(environment)), ('level', toString(level)),
	 ('server_name', toString(server_name)), ('transaction', toString(transaction))]) AS pair
WHERE ` + inScope + ` AND issue_id = {issue:UInt64} AND pair.2 != ''
GROUP BY key, tag_value ORDER BY n DESC, key, tag_value LIMIT {values:UInt32} BY key LIMIT 10000`
	var (
		tags   []TagDistribution
		number = make(map[string]int)
		totals = make(map[string]int64)
	)
	p := sc.scoped().with("issue", issue).with("values", maxTagValues)
	err := s.query(ctx, sc, "read the tags of the issue", sql, p, func(rows driver.Rows) error {
		var key, value string
		var n uint64
		if err := rows.Scan(&key, &value, &n); err != nil {
			return err
		}
		i, ok := number[key]
		if !ok {
			i = len(tags)
			number[key] = i
			tags = append(tags, TagDistribution{Key: key})
		}
		tags[i].Values = append(tags[i].Values, TagValue{Value: value, Count: int64(n)})
		totals[key] += int64(n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(tags, func(a, b TagDistribution) int {
		return cmp.Or(cmp.Compare(totals[b.Key], totals[a.Key]), cmp.Compare(a.Key, b.Key))
	})
	return slices.Clip(append([]TagDistribution{}, tags[:min(len(tags), maxTags)]...)), nil
}

// Event returns one event, or ErrNotFound.
func (s *Store) Event(ctx context.Context, sc Scope, id [16]byte) (Event, error) {
	const sql = `SELECT issue_id, ts, received_ts, level, platform, environment, release, type, value, title, culprit,
	transaction, server_name, user_id, trace_id, tags, payload
FROM error_events WHERE ` + inScope + ` AND event_id = unhex({id:String}) ORDER BY ts DESC, issue_id LIMIT 1`
	var (
		e     = Event{ID: fullHexID(string(id[:]))}
		found bool
		trace string
		raw   string
	)
	p := sc.scoped().with("id", e.ID)
	err := s.query(ctx, sc, "read the event", sql, p, func(rows driver.Rows) error {
		found = true
		return rows.Scan(&e.IssueID, &e.Time, &e.ReceivedAt, &e.Level, &e.Platform, &e.Environment, &e.Release,
			&e.Type, &e.Value, &e.Title, &e.Culprit, &e.Transaction, &e.ServerName, &e.UserID, &trace, &e.Tags, &raw)
	})
	if err != nil {
		return Event{}, err
	}
	if !found {
		return Event{}, fmt.Errorf("event %s: %w", e.ID, ErrNotFound)
	}
	e.TraceID = hexID(trace)
	if e.Tags == nil {
		e.Tags = map[string]string{}
	}
	if e.Payload, err = unpackPayload([]byte(raw)); err != nil {
		return Event{}, fmt.Errorf("event %s: %w", e.ID, err)
	}
	return e, nil
}
