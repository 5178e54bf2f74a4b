package telemetry

import (
	"cmp"
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// What ErrorCounts can group by.
const (
	ByIssue       = "issue"
	ByRelease     = "release"
	ByEnvironment = "environment"
)

// ErrorCountsAsk says what to count; see ErrorCounts.
type ErrorCountsAsk struct {
	Step        time.Duration // whole seconds
	Issue       uint64        // 0 is all
	Environment string        // "" is all
	Release     string        // "" is all
	By          string        // ByIssue, ByRelease, ByEnvironment, or "" for one group whose name is empty
}

// errorPiece is how many buckets of all issues are counted at once.
const errorPiece = 500

// ErrorCounts counts the error events of a scope and the users they happened to by bucket: it calls
// each for every bucket and group that has some, in their order. A group by issue has the decimal
// number of the issue for its name. Both counts are of distinct ones in the bucket: those of users
// do not add up. An error of each ends the read and is returned as it is.
func (s *Store) ErrorCounts(ctx context.Context, sc Scope, ask ErrorCountsAsk, each func(bucket int, group string, events, users int64) error) error {
	steps, err := alertBuckets(sc, ask.Step)
	if err != nil {
		return err
	}
	name := "''"
	switch ask.By {
	case "":
	case ByIssue:
		name = "toString(issue_id)"
	case ByRelease:
		name = "toString(release)"
	case ByEnvironment:
		name = "toString(environment)"
	default:
		return invalid("errors can be grouped by %s, %s or %s, not by %q", ByIssue, ByRelease, ByEnvironment, ask.By)
	}
	// The database keeps the ids of each bucket and group until the end: those of many issues are
	// counted in pieces.
	piece := steps.n
	if ask.By == ByIssue && ask.Issue == 0 {
		piece = errorPiece
	}
	p := sc.scoped()
	where := inScope
	if ask.Issue != 0 {
		where += " AND issue_id = {" + p.add("issue", ask.Issue) + ":UInt64}"
	}
	if ask.Environment != "" {
		where += " AND environment = {" + p.add("environment", ask.Environment) + ":String}"
	}
	if ask.Release != "" {
		where += " AND release = {" + p.add("release", ask.Release) + ":String}"
	}
	sql := `SELECT ` + steps.column(p) + ` AS bucket, ` + name + ` AS name, ` + countEvents + `, ` + countUsers + `
FROM error_events WHERE ` + where + ` GROUP BY bucket, name ORDER BY bucket, name`
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
	defer cancel()
	for begin := 0; begin < steps.n; begin += piece {
		if to := steps.at(begin + piece); to.Before(sc.to) {
			p["to"] = to.UnixNano()
		} else {
			p["to"] = sc.to.UnixNano()
		}
		p["from"] = steps.at(begin).UnixNano()
		var stop error // of each, which is no error of the read
		err := s.query(ctx, sc, "count errors", sql, p, func(rows driver.Rows) error {
			var (
				bucket, events, users uint64
				group                 string
			)
			if err := rows.Scan(&bucket, &group, &events, &users); err != nil {
				return err
			}
			if stop = each(int(bucket), group, int64(events), int64(users)); stop != nil {
				return errEnough
			}
			return nil
		})
		if err := cmp.Or(err, stop); err != nil {
			return err
		}
	}
	return nil
}
