package telemetry

import (
	"context"
	"math"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"
)

// IngestLag returns the time within which 99 of 100 records of a scope came after what they tell
// of, and how many records there are. signal is one of SignalLogs, whose records have the time at
// which the first collector saw them, SignalErrors and SignalCheckins. Metrics do not tell: their
// lag is 0.
func (s *Store) IngestLag(ctx context.Context, sc Scope, signal string) (p99 time.Duration, records int64, err error) {
	var table, received string
	switch signal {
	case SignalLogs:
		table, received = "logs", "observed_ts"
	case SignalErrors:
		table, received = "error_events", "received_ts"
	case SignalCheckins:
		table, received = "checkins", "received_ts"
	case SignalMetrics:
		return 0, 0, sc.check()
	default:
		return 0, 0, invalid("there is no signal %q", signal)
	}
	// A clock that is ahead is no lag. Whoever sent nothing for a day and then all of it has no more
	// than that.
	sql := `SELECT quantileTDigest(0.99)(greatest(0, toUnixTimestamp64Milli(` + received + `) - toUnixTimestamp64Milli(ts))), count()
FROM ` + table + ` WHERE ` + inScope
	err = s.query(ctx, sc, "read the lag of "+signal, sql, sc.scoped(), func(rows driver.Rows) error {
		var (
			lag float32
			n   uint64
		)
		if err := rows.Scan(&lag, &n); err != nil {
			return err
		}
		if records = int64(n); n > 0 && !math.IsNaN(float64(lag)) {
			p99 = time.Duration(lag) * time.Millisecond
		}
		return nil
	})
	return p99, records, err
}

// Volume is how much a project sent in the minute that begins at At.
type Volume struct {
	At       time.Time
	Samples  int64
	Logs     int64
	Errors   int64
	Checkins int64
}

const maxVolumeMinutes = 31 * 24 * 60

// VolumeByMinute counts what a project has in every minute that a scope touches, oldest first; only
// what lies in the scope counts. Repetitions count.
func (s *Store) VolumeByMinute(ctx context.Context, sc Scope) ([]Volume, error) {
	if err := sc.check(); err != nil {
		return nil, err
	}
	steps := bucketsOf(sc, time.Minute)
	if steps.n > maxVolumeMinutes {
		return nil, invalid("the range has %d minutes: %d is the limit", steps.n, maxVolumeMinutes)
	}
	volumes := make([]Volume, steps.n)
	for i := range volumes {
		volumes[i].At = steps.at(i)
	}
	g, ctx := errgroup.WithContext(ctx)
	for table, count := range map[string]func(*Volume) *int64{
		"metric_samples": func(v *Volume) *int64 { return &v.Samples },
		"logs":           func(v *Volume) *int64 { return &v.Logs },
		"error_events":   func(v *Volume) *int64 { return &v.Errors },
		"checkins":       func(v *Volume) *int64 { return &v.Checkins },
	} {
		g.Go(func() error {
			p := sc.scoped()
			column := steps.column(p)
			if table == "metric_samples" {
				column = steps.milliColumn(p)
			}
			sql := `SELECT ` + column + ` AS bucket, count() FROM ` + table + ` WHERE ` + inScope + ` GROUP BY bucket`
			return s.query(ctx, sc, "count by minute", sql, p, func(rows driver.Rows) error {
				var bucket, n uint64
				if err := rows.Scan(&bucket, &n); err != nil {
					return err
				}
				*count(&volumes[min(bucket, uint64(steps.n-1))]) = int64(n)
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return volumes, nil
}
