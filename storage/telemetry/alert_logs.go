package telemetry

import (
	"context"
	"regexp/syntax"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// LabelMatch is a condition on the attribute Key of a record: that its value is (=), is not (!=),
// matches (=~) or does not match (!~) Value. An attribute that is not there has the value "". What
// is matched is a regular expression in the syntax of RE2, which has to meet the whole value.
type LabelMatch struct {
	Key   string
	Op    string
	Value string
}

// Limits of conditions on attributes.
const (
	maxMatches      = 20
	maxMatchKey     = 200
	maxMatchValue   = 2000
	maxExpression   = 200
	maxInstructions = 5000 // of a compiled expression: a{1000}{1000} is short, too
)

// whereAttributes returns the condition of some matches, which begins with AND or is empty, and
// adds its values to p.
func whereAttributes(matches []LabelMatch, p params) (string, error) {
	if len(matches) > maxMatches {
		return "", invalid("there are more than %d conditions on attributes", maxMatches)
	}
	var where strings.Builder
	for _, m := range matches {
		if m.Key == "" || len(m.Key) > maxMatchKey || len(m.Value) > maxMatchValue {
			return "", invalid("an attribute has a name of up to %d bytes and is compared with up to %d bytes", maxMatchKey, maxMatchValue)
		}
		column := "attributes[{" + p.add("key", m.Key) + ":String}]"
		switch m.Op {
		case "=", "!=":
			where.WriteString(" AND " + column + " " + m.Op + " {" + p.add("value", m.Value) + ":String}")
		case "=~", "!~":
			if err := checkExpression(m.Value); err != nil {
				return "", err
			}
			match := "match(" + column + ", {" + p.add("expression", "^(?:"+m.Value+")$") + ":String})"
			if m.Op == "!~" {
				match = "NOT " + match
			}
			where.WriteString(" AND " + match)
		default:
			return "", invalid("there is no comparison %q: they are =, !=, =~ and !~", m.Op)
		}
	}
	return where.String(), nil
}

// checkExpression refuses what is no regular expression, and what would be a large one.
func checkExpression(s string) error {
	if len(s) > maxExpression || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return invalid("a regular expression is text of up to %d bytes", maxExpression)
	}
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return invalid("%q is no regular expression: %s", s, err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxInstructions {
		return invalid("the regular expression %q is too large", s)
	}
	return nil
}

// ByService groups records by the service that wrote them.
const ByService = "service"

// LogCountsAsk says what to count; see LogCounts.
type LogCountsAsk struct {
	Step    time.Duration // whole seconds
	Filters []LogFilter   // 50 at most
	// By is what to group by: ByService, the name of an attribute, or "" for one group whose name
	// is empty. Records without the attribute are in the group with the empty name.
	By string
}

const maxLogFilters = 50

// LogCounts counts the records of a scope that match filters, by bucket: it calls each for every
// bucket and group that has some, in their order, with one count for each filter. counts is valid
// during the call. Filters share one read: without a text none of them reads messages. An error of
// each ends the read and is returned as it is.
func (s *Store) LogCounts(ctx context.Context, sc Scope, ask LogCountsAsk, each func(bucket int, group string, counts []int64) error) error {
	steps, err := alertBuckets(sc, ask.Step)
	if err != nil {
		return err
	}
	if len(ask.Filters) == 0 || len(ask.Filters) > maxLogFilters {
		return invalid("between 1 and %d filters can be counted at once", maxLogFilters)
	}
	p := sc.scoped()
	var (
		columns strings.Builder
		matched = make([]string, len(ask.Filters)) // the conditions
		all     bool                               // some filter matches every record
	)
	for i, f := range ask.Filters {
		where, err := f.where(p)
		if err != nil {
			return err
		}
		condition := strings.TrimPrefix(where, " AND ")
		switch {
		case condition == "":
			all = true
			columns.WriteString(", count()")
		case len(ask.Filters) == 1:
			columns.WriteString(", count()")
		default:
			columns.WriteString(", countIf(" + condition + ")")
		}
		matched[i] = "(" + condition + ")"
	}
	where := inScope
	if !all {
		where += " AND (" + strings.Join(matched, " OR ") + ")"
	}
	sql := `SELECT ` + steps.column(p) + ` AS bucket, ` + groupColumn(ask.By, p) + ` AS name` + columns.String() + `
FROM logs WHERE ` + where + ` GROUP BY bucket, name ORDER BY bucket, name`

	var (
		bucket uint64
		group  string
		found  = make([]uint64, len(ask.Filters))
		counts = make([]int64, len(ask.Filters))
		into   = []any{&bucket, &group}
		stop   error // of each, which is no error of the read
	)
	for i := range found {
		into = append(into, &found[i])
	}
	err = s.query(ctx, sc, "count logs", sql, p, func(rows driver.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, n := range found {
			counts[i] = int64(n)
		}
		if stop = each(int(bucket), group, counts); stop != nil {
			return errEnough
		}
		return nil
	})
	if err == nil {
		err = stop
	}
	return err
}

// groupColumn is the expression of the group of a record.
func groupColumn(by string, p params) string {
	switch by {
	case "":
		return "''"
	case ByService:
		return "toString(service)"
	}
	return "attributes[{" + p.add("by", by) + ":String}]"
}
