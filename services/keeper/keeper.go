// Package keeper removes telemetry: what has been kept as long as its project chose, what a project
// has chosen to keep no longer, and, before the disk is full, what is oldest. What the catalog knows of
// telemetry alone goes with it.
//
// Of several processes one is at work, the holder of a lease in SQL. Every step may be cut off at
// any moment and done again: what is due is worked out anew each turn from what is stored.
package keeper

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// Config says when and for what room the keeper works.
type Config struct {
	// Every is how often it looks; a minute by default.
	Every time.Duration
	// MinFree is how many bytes of ClickHouse's disk, which has so many in all, stay free.
	MinFree func(total uint64) uint64
}

// KindRemoved is the kind of the notices of data that went early for want of room.
const KindRemoved = "disk_full_removed"

const (
	leaseName = "keeper"
	// leaseLength is how long the others wait for one that was killed.
	leaseLength = 3 * time.Minute
	// stepTimeout bounds one step, so that nobody goes on without a lease.
	stepTimeout = 2 * time.Minute
	// shorteningsATurn bounds what is asked for at once; the rest is for the next turn.
	shorteningsATurn = 100
	// dropsATurn bounds how much one look at the disk can remove.
	dropsATurn = 200
	// endTimeout bounds giving the lease back.
	endTimeout = 2 * time.Second
	// keepReleases is for how long a release is known that is not seen any more: as long as any error is
	// kept.
	keepReleases = 400 * 24 * time.Hour
)

// Keeper does the work of one process.
type Keeper struct {
	cfg    Config
	db     *catalog.DB
	store  *telemetry.Store
	log    *slog.Logger
	holder string

	// now and disk are what tests put in their place.
	now  func() time.Time
	disk func(context.Context) (telemetry.Disk, error)

	// helpless says that the disk was too full and nothing was left to remove.
	helpless bool

	dropped metric.Int64Counter
	freed   metric.Int64Counter
	free    metric.Float64Gauge
	failed  metric.Int64Counter
}

// New makes a keeper; Run starts it.
func New(cfg Config, db *catalog.DB, store *telemetry.Store, meter metric.Meter, log *slog.Logger) (*Keeper, error) {
	if cfg.Every <= 0 {
		cfg.Every = time.Minute
	}
	k := &Keeper{cfg: cfg, db: db, store: store, log: log, holder: rand.Text(), now: time.Now, disk: store.Disk}
	var errs [4]error
	k.dropped, errs[0] = meter.Int64Counter("midwatch.keeper.dropped_partitions", metric.WithDescription("Partitions removed, by signal and reason: expired, or disk_full"))
	k.freed, errs[1] = meter.Int64Counter("midwatch.keeper.dropped", metric.WithUnit("By"), metric.WithDescription("Bytes of the partitions removed, by signal and reason"))
	k.free, errs[2] = meter.Float64Gauge("midwatch.keeper.disk.free", metric.WithUnit("1"), metric.WithDescription("Free share of the disk of ClickHouse"))
	k.failed, errs[3] = meter.Int64Counter("midwatch.keeper.failures", metric.WithDescription("Turns that could not be finished; they are tried again"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make keeper metrics: %w", err)
	}
	return k, nil
}

// Run works until ctx ends, which is its only reason to return. Faults are waited out.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(k.cfg.Every)
	defer ticker.Stop()
	for {
		if err := k.turn(ctx); err != nil && ctx.Err() == nil {
			k.failed.Add(ctx, 1)
			k.log.WarnContext(ctx, "keeper interrupted", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
			defer cancel()
			if err := k.db.EndLease(ending, leaseName, k.holder); err != nil {
				k.log.Warn("the keeper's lease was not given back", "err", err)
			}
			return nil
		}
	}
}

// turn does all that is due, if this process has the lease. What fails keeps nothing else from
// being done.
func (k *Keeper) turn(ctx context.Context) error {
	if mine, err := k.hold(ctx); err != nil || !mine {
		return err
	}
	return errors.Join(k.expire(ctx), k.guard(ctx), k.shorten(ctx), k.forget(ctx))
}

// forget drops from the catalog what belonged to telemetry that is gone.
func (k *Keeper) forget(ctx context.Context) error {
	return k.step(ctx, func(ctx context.Context) error { return k.db.DropOldReleases(ctx, k.now().Add(-keepReleases)) })
}

func (k *Keeper) hold(ctx context.Context) (bool, error) {
	return k.db.TakeLease(ctx, leaseName, k.holder, k.now(), leaseLength)
}

// step runs f while the lease lasts; errNotMine when another has it.
func (k *Keeper) step(ctx context.Context, f func(context.Context) error) error {
	mine, err := k.hold(ctx)
	if err != nil {
		return err
	}
	if !mine {
		return errNotMine
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stepTimeout, errors.New("a step of the keeper took too long"))
	defer cancel()
	return f(ctx)
}

var errNotMine = errors.New("another process has taken over the keeper's lease")

// expire drops the partitions whose time has come. ClickHouse would do it some time by itself.
func (k *Keeper) expire(ctx context.Context) error {
	partitions, err := k.store.Partitions(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range partitions {
		if !p.Expired(k.now()) {
			continue
		}
		if err := k.drop(ctx, p, "expired"); err != nil {
			if errs = append(errs, err); over(ctx, err) {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// over reports whether an error concerns what comes after it, too.
func over(ctx context.Context, err error) bool { return ctx.Err() != nil || errors.Is(err, errNotMine) }

func (k *Keeper) drop(ctx context.Context, p telemetry.Partition, reason string) error {
	err := k.step(ctx, func(ctx context.Context) error { return k.store.DropPartition(ctx, p) })
	if err != nil {
		return err
	}
	by := metric.WithAttributes(attribute.String("signal", p.Signal), attribute.String("reason", reason))
	k.dropped.Add(ctx, 1, by)
	k.freed.Add(ctx, int64(min(p.Bytes, math.MaxInt64)), by)
	k.log.InfoContext(ctx, "partition removed", "reason", reason, "table", p.Table, "first_day", p.First.Format(time.DateOnly), "last_day", p.Last.Format(time.DateOnly),
		"retention_days", p.RetentionDays, "rows", p.Rows, "bytes", p.Bytes)
	return nil
}

// shorten deletes what projects keep no longer.
func (k *Keeper) shorten(ctx context.Context) error {
	due, err := k.db.DueShortenings(ctx, k.now(), shorteningsATurn)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range due {
		err := k.step(ctx, func(ctx context.Context) error {
			done, err := k.store.DeleteOlder(ctx, s.Project, s.Signal, s.Days, k.now())
			if err != nil || !done {
				return err
			}
			k.log.InfoContext(ctx, "retention shortened", "project_id", s.Project, "signal", s.Signal, "days", s.Days)
			return k.db.FinishShortening(ctx, s, k.now())
		})
		if err != nil && !errors.Is(err, catalog.ErrConflict) { // chosen again: the next turn does it
			if errs = append(errs, err); over(ctx, err) {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// guard removes the oldest partitions until the disk has room again, but never those of today. It
// looks at the disk after each. Where the room comes back late, what was removed counts as free.
func (k *Keeper) guard(ctx context.Context) error {
	d, err := k.disk(ctx)
	if err != nil {
		return err
	}
	if d.Total > 0 {
		k.free.Record(ctx, float64(d.Free)/float64(d.Total))
	}
	if d.Free >= k.cfg.MinFree(d.Total) {
		k.helpless = false
		return nil
	}
	partitions, err := k.store.Partitions(ctx)
	if err != nil {
		return err
	}
	today := k.now().UTC().Truncate(24 * time.Hour)
	partitions = slices.DeleteFunc(partitions, func(p telemetry.Partition) bool { return !p.Last.Before(today) })
	removed := removals{}
	estimate := d.Free
	var errs []error
	for i := 0; estimate < k.cfg.MinFree(d.Total) && i < len(partitions) && i < dropsATurn; i++ {
		p := partitions[i]
		gone, err := k.removeEarly(ctx, p, d, removed)
		if err != nil {
			// One that cannot be removed does not keep the next.
			if errs = append(errs, err); over(ctx, err) {
				break
			}
		}
		// Also after an error: what went without its notice, or without an answer, has made room.
		if gone {
			estimate += p.Bytes
		}
		if d, err = k.disk(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
		estimate = max(d.Free, estimate)
	}
	if estimate >= k.cfg.MinFree(d.Total) || len(partitions) > dropsATurn || len(errs) > 0 {
		return errors.Join(errs...)
	}
	if !k.helpless {
		k.helpless = true // said once
		k.log.ErrorContext(ctx, "the disk is nearly full and there is no older telemetry to remove", "free_bytes", d.Free, "total_bytes", d.Total)
	}
	return nil
}

// removals gathers what one turn removed, by what its notice is about: the tables and retentions of
// a signal's day share one.
type removals map[string]*removal

type removal struct {
	bytes, rows uint64
	projects    []uint32
}

// removeEarly drops a partition and tells those concerned. gone says that it was dropped, whatever
// failed after that.
func (k *Keeper) removeEarly(ctx context.Context, p telemetry.Partition, d telemetry.Disk, all removals) (gone bool, err error) {
	projects, err := k.store.ProjectsIn(ctx, p)
	if err != nil {
		return false, err
	}
	if err := k.drop(ctx, p, "disk_full"); err != nil {
		return false, err
	}
	subject := p.Signal + " " + p.First.Format(time.DateOnly)
	r := all[subject]
	if r == nil {
		r = &removal{}
		all[subject] = r
	}
	r.bytes += p.Bytes
	if p.Table != "metric_series" { // not records that somebody sent
		r.rows += p.Rows
	}
	r.projects = append(r.projects, projects...)
	slices.Sort(r.projects)
	r.projects = slices.Compact(r.projects)
	percent := 100 * float64(d.Free) / float64(max(d.Total, 1))
	details, err := json.Marshal(map[string]any{
		"signal": p.Signal, "first_day": p.First.Format(time.DateOnly), "last_day": p.Last.Format(time.DateOnly),
		"records": r.rows, "bytes": r.bytes, "disk_free_bytes": d.Free, "disk_total_bytes": d.Total,
	})
	if err != nil {
		return true, fmt.Errorf("encode the details of a notice: %w", err)
	}
	return true, k.db.AddNotice(ctx, catalog.Notice{
		Kind: KindRemoved, Subject: subject, At: k.now(), Details: string(details),
		Message: fmt.Sprintf("%s of %s were removed early because the disk was nearly full: %.0f %% free",
			signalNames[p.Signal], period(p.First, p.Last), math.Floor(percent)),
	}, r.projects)
}

var signalNames = map[string]string{
	telemetry.SignalMetrics: "Metrics", telemetry.SignalLogs: "Logs",
	telemetry.SignalErrors: "Errors", telemetry.SignalCheckins: "Check-ins",
}

// period is one day or several, as a person writes them.
func period(first, last time.Time) string {
	switch {
	case first.Equal(last):
		return last.Format("2 Jan")
	case first.Month() == last.Month():
		return first.Format("2") + " to " + last.Format("2 Jan")
	}
	return first.Format("2 Jan") + " to " + last.Format("2 Jan")
}
