package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"
)

// Overview is one figure and one line for each signal. Every trend has one count for each step of
// the range, oldest first.
type Overview struct {
	Step    time.Duration
	Logs    LogOverview
	Errors  ErrorOverview
	Metrics MetricOverview
}

// LogOverview counts records; Errors are those of level error and fatal.
type LogOverview struct {
	Total, Errors     int64
	Trend, ErrorTrend []int64
}

// ErrorOverview counts error events.
type ErrorOverview struct {
	Events int64
	Users  int64 // distinct
	Issues int
	Trend  []int64
	Top    []IssueActivity // the five issues with most events; not nil
}

// MetricOverview counts what was written.
type MetricOverview struct {
	Metrics         int
	Series, Samples int64
	Trend           []int64 // of samples
}

const topIssues = 5

// Overview counts what there is in a scope.
func (s *Store) Overview(ctx context.Context, sc Scope) (Overview, error) {
	if err := sc.check(); err != nil {
		return Overview{}, err
	}
	steps := bucketsOf(sc, Step(sc))
	trend := func() []int64 { return make([]int64, steps.n) }
	o := Overview{
		Step:    steps.step,
		Logs:    LogOverview{Trend: trend(), ErrorTrend: trend()},
		Errors:  ErrorOverview{Trend: trend()},
		Metrics: MetricOverview{Trend: trend()},
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		p := sc.scoped()
		sql := `SELECT ` + steps.column(p) + ` AS bucket, count(), countIf(` + badLevels + `)
FROM logs WHERE ` + inScope + ` GROUP BY bucket`
		return s.query(ctx, sc, "count logs", sql, p, func(rows driver.Rows) error {
			var bucket, n, bad uint64
			if err := rows.Scan(&bucket, &n, &bad); err != nil {
				return err
			}
			i := min(bucket, uint64(steps.n-1))
			o.Logs.Trend[i], o.Logs.ErrorTrend[i] = int64(n), int64(bad)
			o.Logs.Total += int64(n)
			o.Logs.Errors += int64(bad)
			return nil
		})
	})
	g.Go(func() error {
		const sql = `SELECT ` + countEvents + `, ` + countUsers + `, uniqExact(issue_id) FROM error_events WHERE ` + inScope
		return s.query(ctx, sc, "count errors", sql, sc.scoped(), func(rows driver.Rows) error {
			var events, users, issues uint64
			if err := rows.Scan(&events, &users, &issues); err != nil {
				return err
			}
			o.Errors.Events, o.Errors.Users, o.Errors.Issues = int64(events), int64(users), int(issues)
			return nil
		})
	})
	g.Go(func() error {
		p := sc.scoped()
		sql := `SELECT ` + steps.column(p) + ` AS bucket, ` + countEvents + ` FROM error_events WHERE ` + inScope + ` GROUP BY bucket`
		return s.query(ctx, sc, "count errors by time", sql, p, fillTrend(o.Errors.Trend))
	})
	g.Go(func() (err error) {
		o.Errors.Top, _, err = s.issues(ctx, sc, nil, topIssues, mostEventsFirst)
		return err
	})
	g.Go(func() error {
		const sql = `SELECT uniqExact(metric), uniqExact(metric, fp) FROM metric_series WHERE ` + inSeriesScope
		return s.query(ctx, sc, "count series", sql, sc.seriesScoped(0), func(rows driver.Rows) error {
			var metrics, series uint64
			if err := rows.Scan(&metrics, &series); err != nil {
				return err
			}
			o.Metrics.Metrics, o.Metrics.Series = int(metrics), int64(series)
			return nil
		})
	})
	g.Go(func() error {
		p := sc.scoped()
		sql := `SELECT ` + steps.milliColumn(p) + ` AS bucket, count() FROM metric_samples WHERE ` + inScope + ` GROUP BY bucket`
		err := s.query(ctx, sc, "count samples", sql, p, fillTrend(o.Metrics.Trend))
		for _, n := range o.Metrics.Trend {
			o.Metrics.Samples += n
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return Overview{}, err
	}
	return o, nil
}

// fillTrend takes rows of a bucket and its count.
func fillTrend(trend []int64) func(driver.Rows) error {
	return func(rows driver.Rows) error {
		var bucket, n uint64
		if err := rows.Scan(&bucket, &n); err != nil {
			return err
		}
		trend[min(bucket, uint64(len(trend)-1))] = int64(n)
		return nil
	}
}

// Signals that LastReceived knows.
const (
	SignalLogs     = "logs"
	SignalMetrics  = "metrics"
	SignalErrors   = "errors"
	SignalCheckins = "checkins"
)

// LastReceived returns the newest time of each signal that has data in the scope. That of metrics
// is of one metric among those that were written last.
func (s *Store) LastReceived(ctx context.Context, sc Scope) (map[string]time.Time, error) {
	if err := sc.check(); err != nil {
		return nil, err
	}
	var (
		mu   sync.Mutex
		last = make(map[string]time.Time)
	)
	note := func(signal string, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		last[signal] = at
	}
	g, ctx := errgroup.WithContext(ctx)
	for signal, sql := range map[string]string{
		// In the order of the table: reads no more than the newest rows.
		SignalLogs:     `SELECT ts FROM logs WHERE ` + inScope + ` ORDER BY ts DESC LIMIT 1 SETTINGS ` + inOrder,
		SignalErrors:   `SELECT max(ts) FROM error_events WHERE ` + inScope + ` HAVING count() > 0`,
		SignalCheckins: `SELECT max(ts) FROM checkins WHERE ` + inScope + ` HAVING count() > 0`,
	} {
		g.Go(func() error {
			return s.query(ctx, sc, "find the newest "+signal, sql, sc.scoped(), func(rows driver.Rows) error {
				var at time.Time
				if err := rows.Scan(&at); err != nil {
					return err
				}
				note(signal, at)
				return nil
			})
		})
	}
	g.Go(func() error {
		at, err := s.newestSample(ctx, sc)
		if err == nil && !at.IsZero() {
			note(SignalMetrics, at)
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return last, nil
}
