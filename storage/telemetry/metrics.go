package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// Metric describes one metric.
type Metric struct {
	Name        string
	SourceName  string // the name its sender gave it, where it differs
	Kind        string // gauge, counter, histogram, summary or unknown
	Unit        string
	Description string
	Series      int64
	Labels      []string // the label names of its series, sorted; not nil
	LastAt      time.Time
}

// RangeQuery asks for one metric over time.
type RangeQuery struct {
	Metric string
	// Step is the time between points; 0 is Step of the scope.
	Step time.Duration
	// Aggregate is how the samples of a step, and then the series of a group, become one value;
	// see fold for what each does. Empty is rate for counters and avg for others.
	Aggregate string
	// By are the labels to group by; none gives one line.
	By []string
}

// MetricRange is one metric over time.
type MetricRange struct {
	Name        string
	Kind        string
	Unit        string
	Aggregate   string // the one that was used
	Step        time.Duration
	SamplesRead int64
	Truncated   bool           // more groups matched than are in Series
	Series      []MetricSeries // up to 50, by labels; not nil
}

// MetricSeries is the line of one group.
type MetricSeries struct {
	Labels map[string]string // those of RangeQuery.By that the group has; not nil
	Points []Point           // oldest first; steps without a value are absent; not nil
}

// Point is one value; it is finite.
type Point struct {
	At    int64 // the start of the step, in milliseconds since 1970
	Value float64
}

// Limits of metrics' reads.
const (
	maxMetrics      = 10_000
	maxMetricLabels = 200
	maxPoints       = 1500
	maxGroups       = 50  // that are returned
	maxFoldGroups   = 500 // that are looked at to find them
	maxSeries       = 500_000
	maxSamples      = 50_000_000
	maxBy           = 10
)

// inSeriesScope selects the series that have samples in a scope, and some that had them shortly
// before: last_seen may be behind.
const inSeriesScope = `project_id = {project:UInt32}
	AND last_seen >= fromUnixTimestamp64Milli({seen_from:Int64}, 'UTC')
	AND first_seen < fromUnixTimestamp64Milli({seen_to:Int64}, 'UTC')`

func (s Scope) seriesScoped(reachMS int64) params {
	return params{
		"project":   s.project,
		"seen_from": ceilMS(s.from) - reachMS - seriesRefreshMS,
		"seen_to":   ceilMS(s.to),
	}
}

// Metrics returns the metrics of a scope whose name has part in it (in any case), by name, and
// whether there are more than limit. Metrics that ended up to ten minutes before the scope may be
// among them, and LastAt may be as much behind.
func (s *Store) Metrics(ctx context.Context, sc Scope, part string, limit int) (metrics []Metric, truncated bool, err error) {
	if limit < 1 || limit > maxMetrics {
		return nil, false, invalid("the limit must be between 1 and %d", maxMetrics)
	}
	p := sc.seriesScoped(0).with("limit", limit+1)
	where := inSeriesScope
	if part != "" {
		where += " AND lowerUTF8(metric) LIKE lowerUTF8({part:String})"
		p["part"] = "%" + likeEscaper.Replace(part) + "%"
	}
	sql := `SELECT metric, argMax(kind, last_seen), argMax(unit, last_seen), argMax(source_name, last_seen),
	argMax(description, last_seen), uniqExact(fp), arraySort(groupUniqArrayArray(` + strconv.Itoa(maxMetricLabels) + `)(mapKeys(labels))), max(last_seen)
FROM metric_series WHERE ` + where + ` GROUP BY metric ORDER BY metric LIMIT {limit:UInt32}`
	metrics = []Metric{}
	err = s.query(ctx, sc, "list metrics", sql, p, func(rows driver.Rows) error {
		var (
			m    Metric
			kind uint8
			n    uint64
		)
		if err := rows.Scan(&m.Name, &kind, &m.Unit, &m.SourceName, &m.Description, &n, &m.Labels, &m.LastAt); err != nil {
			return err
		}
		m.Kind, m.Series = kindName(kind), int64(n)
		if m.Labels == nil {
			m.Labels = []string{}
		}
		metrics = append(metrics, m)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if len(metrics) > limit {
		return metrics[:limit], true, nil
	}
	return metrics, false, nil
}

func kindName(kind uint8) string {
	switch telemetrypb.MetricKind(kind) {
	case telemetrypb.MetricKind_METRIC_KIND_GAUGE:
		return "gauge"
	case telemetrypb.MetricKind_METRIC_KIND_COUNTER:
		return "counter"
	case telemetrypb.MetricKind_METRIC_KIND_HISTOGRAM:
		return "histogram"
	case telemetrypb.MetricKind_METRIC_KIND_SUMMARY:
		return "summary"
	}
	return "unknown"
}

// defaultAggregate is rate for what only grows. The series of a histogram are counters, and so are
// the sum and the count of a summary.
func defaultAggregate(metric, kind string) string {
	switch {
	case kind == "counter", kind == "histogram",
		kind == "summary" && (strings.HasSuffix(metric, "_sum") || strings.HasSuffix(metric, "_count")):
		return aggregateRate
	}
	return aggregateAvg
}

// MetricRange returns a metric over time. ErrNotFound says that it has no series in the scope.
func (s *Store) MetricRange(ctx context.Context, sc Scope, q RangeQuery) (MetricRange, error) {
	if err := sc.check(); err != nil {
		return MetricRange{}, err
	}
	steps, err := q.steps(sc)
	if err != nil {
		return MetricRange{}, err
	}
	r := MetricRange{Name: q.Metric, Step: steps.step, Aggregate: q.Aggregate, Series: []MetricSeries{}}
	reach := max(rateGap, 2*steps.step, lookback).Milliseconds()
	if err := s.describe(ctx, sc, reach, &r); err != nil {
		return MetricRange{}, err
	}
	if r.Aggregate == "" {
		r.Aggregate = defaultAggregate(r.Name, r.Kind)
	}
	groups, err := s.groupSeries(ctx, sc, reach, q)
	if err != nil {
		return MetricRange{}, err
	}
	f := newFold(r.Aggregate, steps, sc, len(groups.labels))
	if r.SamplesRead, err = s.foldSamples(ctx, sc, q.Metric, groups, f); err != nil {
		return MetricRange{}, err
	}
	r.Series, r.Truncated = groups.lines(q.By, f)
	return r, nil
}

// steps checks a query and returns the steps of its points.
func (q RangeQuery) steps(sc Scope) (buckets, error) {
	switch q.Aggregate {
	case "", aggregateAvg, aggregateSum, aggregateMin, aggregateMax, aggregateLast, aggregateCount, aggregateRate:
	default:
		return buckets{}, invalid("there is no aggregate %q: the aggregates are avg, sum, min, max, last, count and rate", q.Aggregate)
	}
	if q.Metric == "" {
		return buckets{}, invalid("the name of a metric is needed")
	}
	if len(q.By) > maxBy {
		return buckets{}, invalid("a metric can be grouped by %d labels at most", maxBy)
	}
	step := q.Step
	if step == 0 {
		step = Step(sc)
	}
	if step < time.Second || step%time.Second != 0 {
		return buckets{}, invalid("the step must be whole seconds")
	}
	steps := bucketsOf(sc, step)
	if steps.n > maxPoints {
		return buckets{}, invalid("the range has %d steps of %s: %d is the limit", steps.n, step, maxPoints)
	}
	return steps, nil
}

// describe finds kind and unit.
func (s *Store) describe(ctx context.Context, sc Scope, reach int64, r *MetricRange) error {
	const sql = `SELECT argMax(kind, last_seen), argMax(unit, last_seen), uniq(fp)
FROM metric_series WHERE ` + inSeriesScope + ` AND metric = {metric:String}`
	var n uint64
	p := sc.seriesScoped(reach).with("metric", r.Name)
	err := s.query(ctx, sc, "describe the metric", sql, p, func(rows driver.Rows) error {
		var kind uint8
		if err := rows.Scan(&kind, &r.Unit, &n); err != nil {
			return err
		}
		r.Kind = kindName(kind)
		return nil
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("metric %q: %w", r.Name, ErrNotFound)
	case n > maxSeries:
		return fmt.Errorf("metric %q: %w", r.Name, &LimitError{Limit: "series"})
	}
	return nil
}

// seriesGroups says which group each series belongs to.
type seriesGroups struct {
	labels   [][]string       // of each group, in the order of RangeQuery.By
	bySeries map[uint64]int32 // nil: all belong to group 0; -1: to none that is looked at
	cut      bool             // some groups are not looked at
}

// groupSeries groups the series of a metric by labels.
func (s *Store) groupSeries(ctx context.Context, sc Scope, reach int64, q RangeQuery) (*seriesGroups, error) {
	if len(q.By) == 0 {
		return &seriesGroups{labels: [][]string{nil}}, nil
	}
	p := sc.seriesScoped(reach).with("metric", q.Metric)
	columns := make([]string, len(q.By))
	for i, label := range q.By {
		name := paramName("by", i)
		p[name] = label
		columns[i] = "labels[{" + name + ":String}]"
	}
	sql := `SELECT fp, any([` + strings.Join(columns, ", ") + `])
FROM metric_series WHERE ` + inSeriesScope + ` AND metric = {metric:String} GROUP BY fp`

	g := &seriesGroups{bySeries: make(map[uint64]int32)}
	numbers := make(map[string]int32)
	var sizes []int
	err := s.query(ctx, sc, "group the series", sql, p, func(rows driver.Rows) error {
		var (
			fp     uint64
			values []string
		)
		if err := rows.Scan(&fp, &values); err != nil {
			return err
		}
		if len(g.bySeries) == maxSeries {
			return &LimitError{Limit: "series"}
		}
		key := groupKey(values)
		number, ok := numbers[key]
		if !ok {
			number = int32(len(g.labels))
			numbers[key] = number
			g.labels = append(g.labels, values)
			sizes = append(sizes, 0)
		}
		sizes[number]++
		g.bySeries[fp] = number
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.keepLargest(sizes)
	return g, nil
}

func groupKey(values []string) string {
	var b []byte
	for _, v := range values {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	return string(b)
}

// keepLargest leaves the groups with the most series where there are too many to look at.
func (g *seriesGroups) keepLargest(sizes []int) {
	if len(g.labels) <= maxFoldGroups {
		return
	}
	g.cut = true
	order := make([]int32, len(g.labels))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if sizes[a] != sizes[b] {
			return sizes[b] - sizes[a]
		}
		return slices.Compare(g.labels[a], g.labels[b])
	})
	renumbered := make([]int32, len(g.labels))
	for i := range renumbered {
		renumbered[i] = -1
	}
	labels := make([][]string, maxFoldGroups)
	for i, old := range order[:maxFoldGroups] {
		renumbered[old] = int32(i)
		labels[i] = g.labels[old]
	}
	g.labels = labels
	for fp, old := range g.bySeries {
		g.bySeries[fp] = renumbered[old]
	}
}

// of returns the group of a series, or -1.
func (g *seriesGroups) of(fp uint64) int {
	if g.bySeries == nil {
		return 0
	}
	if i, ok := g.bySeries[fp]; ok {
		return int(i)
	}
	return -1
}

// lines returns the groups that have points: where there are too many, those whose values are
// greatest on the whole.
func (g *seriesGroups) lines(by []string, f *fold) (lines []MetricSeries, truncated bool) {
	type line struct {
		MetricSeries
		values []string
		weight float64
	}
	all := []line{}
	for i, values := range g.labels {
		points := f.points(i)
		if len(points) == 0 {
			continue
		}
		l := line{MetricSeries: MetricSeries{Labels: map[string]string{}, Points: points}, values: values}
		for j, value := range values {
			if value != "" {
				l.Labels[by[j]] = value
			}
		}
		for _, p := range points {
			l.weight += math.Abs(p.Value) / float64(f.n)
		}
		all = append(all, l)
	}
	byLabels := func(i, j int) bool { return slices.Compare(all[i].values, all[j].values) < 0 }
	truncated = g.cut
	if len(all) > maxGroups {
		truncated = true
		sort.Slice(all, func(i, j int) bool {
			if all[i].weight != all[j].weight {
				return all[i].weight > all[j].weight
			}
			return byLabels(i, j)
		})
		all = all[:maxGroups]
	}
	sort.Slice(all, byLabels)
	lines = make([]MetricSeries, len(all))
	for i, l := range all {
		lines[i] = l.MetricSeries
	}
	return lines, truncated
}

// foldSamples reads the samples of a metric, block by block, and returns how many they are.
func (s *Store) foldSamples(ctx context.Context, sc Scope, metric string, groups *seriesGroups, f *fold) (int64, error) {
	const doing = "read samples"
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
	defer cancel()
	var (
		fps    proto.ColUInt64
		times  proto.ColInt64
		values proto.ColFloat64

		read  int64
		fp    uint64
		group = -1
		begun bool
	)
	err := s.blocks.do(ctx, s.blocks.reads, ch.Query{
		Body: `SELECT fp, toUnixTimestamp64Milli(ts) AS at, value FROM metric_samples
WHERE project_id = {project:UInt32} AND metric = {metric:String}
	AND ts >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
ORDER BY project_id, metric, fp, ts`,
		Parameters: []proto.Parameter{
			blockParam("project", strconv.FormatUint(uint64(sc.project), 10)),
			blockParam("metric", metric),
			blockParam("from", strconv.FormatInt(max(f.from-f.reach(), 0), 10)),
			blockParam("to", strconv.FormatInt(f.to, 10)),
		},
		Settings: blockSettings(),
		Result: proto.Results{
			{Name: "fp", Data: &fps}, {Name: "at", Data: &times}, {Name: "value", Data: &values},
		},
		OnResult: func(_ context.Context, b proto.Block) error {
			if read += int64(b.Rows); read > maxSamples {
				return &LimitError{Limit: "rows"}
			}
			for i := range b.Rows {
				if !begun || fps[i] != fp {
					begun, fp = true, fps[i]
					if group = groups.of(fp); group >= 0 {
						f.begin(group)
					}
				}
				if group >= 0 {
					f.add(times[i], values[i])
				}
			}
			return nil
		},
	})
	if err != nil {
		return 0, readError(ctx, doing, err)
	}
	f.end()
	return read, nil
}

// blockSettings are readSettings for a read by block. Its result is not held, but bounded by its
// rows: see maxSamples.
func blockSettings() []ch.Setting {
	settings := []ch.Setting{{Key: "optimize_read_in_order", Value: "1"}}
	all := readSettings()
	all["max_result_bytes"] = 0
	for key, value := range all {
		settings = append(settings, ch.Setting{Key: key, Value: fmt.Sprint(value), Important: true})
	}
	return settings
}

// blockParam is a parameter of a read by block. The server takes its value for a quoted literal,
// and what that says for a value in the tab-separated format, so it is escaped twice.
func blockParam(name, value string) proto.Parameter {
	value = tabEscaper.Replace(value)
	return proto.Parameter{Key: name, Value: "'" + literalEscaper.Replace(value) + "'"}
}

var (
	tabEscaper     = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
	literalEscaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`)
)

// newestSample returns the time of the newest sample of a scope, or the zero time.
func (s *Store) newestSample(ctx context.Context, sc Scope) (time.Time, error) {
	// The series noted last tells where to look: its metric has samples since.
	const find = `SELECT argMax(metric, last_seen), count() FROM metric_series WHERE ` + inSeriesScope
	var (
		metric string
		n      uint64
		newest time.Time
	)
	err := s.query(ctx, sc, "find the newest series", find, sc.seriesScoped(0), func(rows driver.Rows) error {
		return rows.Scan(&metric, &n)
	})
	if err != nil || n == 0 {
		return time.Time{}, err
	}
	const read = `SELECT max(ts), count() FROM metric_samples WHERE ` + inScope + ` AND metric = {metric:String}`
	err = s.query(ctx, sc, "find the newest sample", read, sc.scoped().with("metric", metric), func(rows driver.Rows) error {
		return rows.Scan(&newest, &n)
	})
	if err != nil || n == 0 {
		return time.Time{}, err
	}
	return newest, nil
}
