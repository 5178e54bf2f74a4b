package telemetry

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"
)

// The reads of this file are for the message of an incident: what else changed when it began. Each
// ends after two seconds with a LimitError, so that no message waits for them, and has few rows.
const (
	dossierTimeout = 2 * time.Second
	maxDossierRows = 100

	// multiplied is by how much more often something has to happen than before to be told.
	multiplied = 3
)

func dossierContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, dossierTimeout, errReadTimeout)
}

func checkDossier(limit int, scopes ...Scope) error {
	if limit < 1 || limit > maxDossierRows {
		return invalid("the limit must be between 1 and %d", maxDossierRows)
	}
	for _, sc := range scopes {
		if err := sc.check(); err != nil {
			return err
		}
		if sc.project != scopes[0].project {
			return invalid("both ranges must be of one project")
		}
	}
	return nil
}

// moved reports whether now happenings in a time are at least three times as many as before in
// another, and more than none.
func moved(now int64, in time.Duration, before int64, beforeIn time.Duration) bool {
	return now > 0 && float64(now)*float64(beforeIn) >= multiplied*float64(before)*float64(in)
}

// LogPattern is what messages have in common that differ in numbers, ids and quoted text.
type LogPattern struct {
	Template string // with <n>, <id> and <text> in their place
	Example  string // one of the messages, its first 300 bytes
	Level    string // the highest
	// Now and Before count messages among the newest 20,000 of each range.
	Now, Before int64
}

// Limits of LogPatterns.
const (
	maxPatternRows   = 20_000
	maxTemplateBytes = 300
)

// template is the SQL of a message's template. What is replaced first is what contains what is
// replaced later.
const template = `substring(` +
	`replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(substring(body, 1, 500),` +
	` '"[^"]*"', '<text>'),` +
	` '(^|[^0-9A-Za-z])\'[^\']*\'', '\\1<text>'),` +
	` '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|\\b0x[0-9a-fA-F]+\\b', '<id>'),` +
	` '\\b[0-9]+\\b', '<n>'),` +
	` '\\b[0-9a-fA-F]{8,}\\b', '<id>'),` +
	` '[0-9]+', '<n>')` +
	`, 1, {template:UInt32})`

// LogPatterns returns the patterns of messages of level warn and above that are new or at least
// three times as frequent in now than in before, most frequent first. service may be empty for all.
func (s *Store) LogPatterns(ctx context.Context, before, now Scope, service string, limit int) ([]LogPattern, error) {
	if err := checkDossier(limit, before, now); err != nil {
		return nil, err
	}
	ctx, cancel := dossierContext(ctx)
	defer cancel()
	var recent, earlier logSample
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		recent, err = s.sampleLogs(ctx, now, service)
		return err
	})
	g.Go(func() (err error) {
		earlier, err = s.sampleLogs(ctx, before, service)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	found := []LogPattern{}
	for template, p := range recent.patterns {
		p.Before = earlier.patterns[template].Now
		if moved(p.Now, recent.covered, p.Before, earlier.covered) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b LogPattern) int {
		return cmp.Or(cmp.Compare(b.Now, a.Now), cmp.Compare(a.Template, b.Template))
	})
	return found[:min(limit, len(found))], nil
}

// logSample are the patterns of the newest messages of a scope.
type logSample struct {
	patterns map[string]LogPattern // by template
	covered  time.Duration         // the time in which those messages were written
}

func (s *Store) sampleLogs(ctx context.Context, sc Scope, service string) (logSample, error) {
	p := sc.scoped().with("rows", maxPatternRows).with("template", maxTemplateBytes)
	where := inScope + " AND severity >= 13"
	if service != "" {
		where += " AND service = {" + p.add("service", service) + ":String}"
	}
	sql := `SELECT ` + template + ` AS template, substring(any(body), 1, {template:UInt32}), toUInt64(max(` + levelColumn + `)), count(), min(ts)
FROM (SELECT ts, body, severity FROM logs WHERE ` + where + ` ORDER BY ts DESC LIMIT {rows:UInt32} SETTINGS ` + inOrder + `)
GROUP BY template`
	var (
		sample = logSample{patterns: make(map[string]LogPattern), covered: sc.to.Sub(sc.from)}
		oldest = sc.to
		total  int64
	)
	err := s.query(ctx, sc, "read patterns of logs", sql, p, func(rows driver.Rows) error {
		var (
			pattern  LogPattern
			level, n uint64
			at       time.Time
		)
		if err := rows.Scan(&pattern.Template, &pattern.Example, &level, &n, &at); err != nil {
			return err
		}
		pattern.Template = strings.ToValidUTF8(pattern.Template, "")
		pattern.Example = strings.ToValidUTF8(pattern.Example, "")
		pattern.Level, pattern.Now = levelName(level), int64(n)
		sample.patterns[pattern.Template] = pattern
		total += pattern.Now
		if at.Before(oldest) {
			oldest = at
		}
		return nil
	})
	if total >= maxPatternRows { // there are more: they say nothing of the time before the oldest
		sample.covered = max(sc.to.Sub(oldest), 1)
	}
	return sample, err
}

// IssueMove is an issue that is new or happens more often than before.
type IssueMove struct {
	ID          uint64
	Title       string
	Release     string // of its newest event
	Now, Before int64  // events
	Users       int64  // distinct, now
}

// IssueMovers returns the issues that have events in now and none, or at most a third as often, in
// before; those with most events first.
func (s *Store) IssueMovers(ctx context.Context, before, now Scope, limit int) ([]IssueMove, error) {
	if err := checkDossier(limit, before, now); err != nil {
		return nil, err
	}
	ctx, cancel := dossierContext(ctx)
	defer cancel()
	// What happens in both ranges is read in one pass: most issues have events in the later only.
	const (
		inNow    = `ts >= fromUnixTimestamp64Nano({from:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({to:Int64}, 'UTC')`
		inBefore = `ts >= fromUnixTimestamp64Nano({before_from:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({before_to:Int64}, 'UTC')`
	)
	const sql = `SELECT issue_id, argMaxIf(title, ts, is_now), argMaxIf(release, ts, is_now),
	uniqExactIf(event_id, is_now) AS now, uniqExactIf(event_id, ` + inBefore + `) AS before, uniqExactIf(user_id, is_now AND user_id != '')
FROM (SELECT *, ` + inNow + ` AS is_now FROM error_events WHERE project_id = {project:UInt32} AND (` + inNow + ` OR ` + inBefore + `))
GROUP BY issue_id
HAVING now > 0 AND now * {before_length:Float64} >= {multiplied:Float64} * before * {length:Float64}
ORDER BY now DESC, issue_id LIMIT {limit:UInt32}`
	p := now.scoped().with("limit", limit).with("multiplied", float64(multiplied)).
		with("before_from", before.from.UnixNano()).with("before_to", before.to.UnixNano()).
		with("length", now.to.Sub(now.from).Seconds()).with("before_length", before.to.Sub(before.from).Seconds())
	moves := []IssueMove{}
	err := s.query(ctx, now, "read what issues did", sql, p, func(rows driver.Rows) error {
		var (
			m                  IssueMove
			now, before, users uint64
		)
		if err := rows.Scan(&m.ID, &m.Title, &m.Release, &now, &before, &users); err != nil {
			return err
		}
		m.Now, m.Before, m.Users = int64(now), int64(before), int64(users)
		moves = append(moves, m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return moves, nil
}

// ReleaseSeen is when a release was first heard of.
type ReleaseSeen struct {
	Environment string
	Service     string // of a release that logs tell of; error events do not say
	Release     string
	FirstAt     time.Time
}

// How long before a scope a release must not have been heard of to be new in it.
const (
	releaseReach    = 7 * 24 * time.Hour // by errors, which are few
	logReleaseReach = time.Hour
)

// ReleasesSeen returns the releases that were first heard of in a scope, by time: in error events,
// and as service.version in the resources of logs.
func (s *Store) ReleasesSeen(ctx context.Context, sc Scope, limit int) ([]ReleaseSeen, error) {
	if err := checkDossier(limit, sc); err != nil {
		return nil, err
	}
	ctx, cancel := dossierContext(ctx)
	defer cancel()
	read := func(sql string, reach time.Duration, into *[]ReleaseSeen) error {
		wide := Scope{project: sc.project, from: clampTime(sc.from.Add(-reach)), to: sc.to}
		p := wide.scoped().with("since", sc.from.UnixNano()).with("limit", limit)
		return s.query(ctx, wide, "find new releases", sql, p, func(rows driver.Rows) error {
			var r ReleaseSeen
			err := rows.Scan(&r.Environment, &r.Service, &r.Release, &r.FirstAt)
			*into = append(*into, r)
			return err
		})
	}
	const having = ` HAVING first >= fromUnixTimestamp64Nano({since:Int64}, 'UTC') ORDER BY first, 3, 2, 1 LIMIT {limit:UInt32}`
	var inErrors, inLogs []ReleaseSeen
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return read(`SELECT toString(environment) AS env, '' AS name, toString(release) AS version, min(ts) AS first
FROM error_events WHERE `+inScope+` AND release != '' GROUP BY env, version`+having, releaseReach, &inErrors)
	})
	g.Go(func() error {
		// Records of one service share few resources, which are taken apart once each.
		return read(`SELECT if(JSONHas(resource, 'deployment.environment.name'), JSONExtractString(resource, 'deployment.environment.name'),
		JSONExtractString(resource, 'deployment.environment')) AS env,
	name, JSONExtractString(resource, 'service.version') AS version, min(began) AS first
FROM (SELECT toString(resource) AS resource, toString(service) AS name, min(ts) AS began FROM logs
	WHERE `+inScope+` AND resource != '' GROUP BY resource, name LIMIT 10000)
WHERE version != '' GROUP BY env, name, version`+having, logReleaseReach, &inLogs)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(inErrors, inLogs)
	slices.SortStableFunc(all, func(a, b ReleaseSeen) int { return a.FirstAt.Compare(b.FirstAt) })
	return slices.Clip(all[:min(limit, len(all))]), nil
}

// ResourceGauge is the newest value of a series that says how full something is.
type ResourceGauge struct {
	Metric string
	Unit   string
	Labels map[string]string
	Value  float64
	At     time.Time
}

// resourceMetrics are the metrics that say how full memory and disks are: those of a process or
// container, and those of a whole host. OpenTelemetry's come with the suffix of their unit.
var resourceMetrics = map[string]resourceOf{
	"process_memory_usage":                 ofService,
	"process_memory_usage_bytes":           ofService,
	"process_resident_memory_bytes":        ofService,
	"container_memory_usage_bytes":         ofService,
	"container_memory_working_set_bytes":   ofService,
	"container_memory_working_set":         ofService,
	"container_memory_available_bytes":     ofService,
	"container_spec_memory_limit_bytes":    ofService,
	"container_filesystem_usage_bytes":     ofService,
	"k8s_container_memory_limit_bytes":     ofService,
	"k8s_pod_memory_working_set_bytes":     ofService,
	"k8s_volume_available_bytes":           ofService,
	"k8s_volume_capacity_bytes":            ofService,
	"kubelet_volume_stats_available_bytes": ofService,
	"kubelet_volume_stats_capacity_bytes":  ofService,
	"jvm_memory_used_bytes":                ofService,
	"jvm_memory_limit_bytes":               ofService,
	"go_memory_used_bytes":                 ofService,
	"go_memory_limit_bytes":                ofService,
	"system_memory_utilization_ratio":      ofHost,
	"system_memory_usage_bytes":            ofHost,
	"system_filesystem_utilization_ratio":  ofHost,
	"system_filesystem_usage_bytes":        ofHost,
	"system_filesystem_usage":              ofHost,
	"node_memory_MemAvailable_bytes":       ofHost,
	"node_memory_MemTotal_bytes":           ofHost,
	"node_filesystem_avail_bytes":          ofHost,
	"node_filesystem_size_bytes":           ofHost,
}

// resourceOf says what a metric is about.
type resourceOf int

const (
	ofService resourceOf = iota
	ofHost
)

// Labels by which a series belongs to a service, and to a host.
var (
	serviceLabels = []string{"service_name", "service", "job", "app", "container", "container_name", "k8s_container_name", "k8s_deployment_name", "name"}
	hostLabels    = []string{"host_name", "k8s_node_name", "node", "instance"}
)

const (
	gaugeReach     = 10 * time.Minute
	maxGaugeSeries = 20_000
)

// ResourceGauges returns the newest values, of the ten minutes before a time, of the metrics that
// say how full the memory and disks of a service are, and of the hosts that its series name; those
// of the service first. service may be empty for all.
func (s *Store) ResourceGauges(ctx context.Context, project uint32, service string, at time.Time, limit int) ([]ResourceGauge, error) {
	sc, err := NewScope(project, at.Add(-gaugeReach), at)
	if err != nil {
		return nil, err
	}
	if err := checkDossier(limit, sc); err != nil {
		return nil, err
	}
	ctx, cancel := dossierContext(ctx)
	defer cancel()
	names := slices.Sorted(maps.Keys(resourceMetrics))
	series, err := s.SeriesOf(ctx, sc, names)
	if err != nil || len(series) == 0 {
		return []ResourceGauge{}, err
	}
	series = seriesOfService(series, service)
	wanted := make(map[uint64]int, len(series)) // by fingerprint, which names a series of all metrics
	for i, one := range series {
		wanted[one.FP] = i
	}
	const sql = `SELECT fp, argMax(value, ts), max(ts) FROM metric_samples
WHERE ` + inScope + ` AND metric IN {metrics:Array(String)} AND isFinite(value) GROUP BY metric, fp LIMIT {series:UInt32}`
	gauges := make([]ResourceGauge, len(series))
	p := sc.scoped().with("metrics", names).with("series", maxGaugeSeries)
	err = s.query(ctx, sc, "read gauges of resources", sql, p, func(rows driver.Rows) error {
		var (
			fp uint64
			v  float64
			at time.Time
		)
		if err := rows.Scan(&fp, &v, &at); err != nil {
			return err
		}
		if i, ok := wanted[fp]; ok {
			gauges[i] = ResourceGauge{Metric: series[i].Metric, Unit: series[i].Unit, Labels: series[i].Labels, Value: v, At: at}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	gauges = slices.DeleteFunc(gauges, func(g ResourceGauge) bool { return g.At.IsZero() })
	return gauges[:min(limit, len(gauges))], nil
}

// seriesOfService returns the series of a service, and after them those of the hosts that it names;
// all series where the service has no name.
func seriesOfService(all []Series, service string) []Series {
	if service == "" {
		return all
	}
	var own, hosts []Series
	on := make(map[string]bool)
	for _, one := range all {
		if resourceMetrics[one.Metric] != ofService || !isOfService(one.Labels, service) {
			continue
		}
		own = append(own, one)
		for _, label := range hostLabels {
			if host := one.Labels[label]; host != "" {
				on[host] = true
			}
		}
	}
	for _, one := range all {
		if resourceMetrics[one.Metric] != ofHost {
			continue
		}
		if slices.ContainsFunc(hostLabels, func(label string) bool { return on[one.Labels[label]] }) {
			hosts = append(hosts, one)
		}
	}
	return append(own, hosts...)
}

// isOfService reports whether labels name a service; a job is namespace/service.
func isOfService(labels map[string]string, service string) bool {
	return slices.ContainsFunc(serviceLabels, func(label string) bool {
		v := labels[label]
		return v == service || label == "job" && strings.HasSuffix(v, "/"+service)
	})
}
