// Package alerting is the role that watches: it keeps the state of every monitor from the check-ins
// on the bus and from the passing of time.
//
// Two loops run beside each other, in any number of replicas. One reads the check-ins in order and
// changes the states of their monitors in the transaction that moves its cursor, so that each
// check-in counts exactly once, whoever is killed and whenever. The other lets time pass, each
// second, for the monitors that are due. It never looks further than the first has read: a check-in
// that waits on the bus is late in being read, not in coming.
package alerting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/follow"
)

// Reader is the name under which alerting keeps its place in the check-ins.
const Reader = "alerting"

const (
	maxBatchMessages = 500
	maxBatchBytes    = 8 << 20
	maxBatchAge      = 200 * time.Millisecond

	tickInterval = time.Second
	// settle is how long a check-in may take from its arrival until it is on the bus. Time passes
	// for the monitors with this delay, so that one that came in the last moment is not missed.
	settle = 12 * time.Second
	// ticksPerTx bounds how long one transaction holds the states of others up.
	ticksPerTx = 100
)

// Alerter keeps the states of monitors.
type Alerter struct {
	bus *bus.Bus
	db  *catalog.DB
	log *slog.Logger

	applied  metric.Int64Counter
	dropped  metric.Int64Counter
	lost     metric.Int64Counter
	switches metric.Int64Counter

	notes notes
	desk  *desk.Desk
	cron  cronRules
}

// New makes an alerter; Run starts it.
func New(b *bus.Bus, db *catalog.DB, d *desk.Desk, meter metric.Meter, log *slog.Logger) (*Alerter, error) {
	a := &Alerter{bus: b, db: db, desk: d, log: log}
	var errs [4]error
	a.applied, errs[0] = meter.Int64Counter("midwatch.alerting.checkins", metric.WithDescription("Check-ins that were applied to their monitors"))
	a.dropped, errs[1] = meter.Int64Counter("midwatch.alerting.dropped_checkins", metric.WithDescription("Check-ins that changed no monitor, by reason"))
	a.lost, errs[2] = meter.Int64Counter("midwatch.alerting.lost_messages", metric.WithDescription("Messages that were gone from the bus before they were read"))
	a.switches, errs[3] = meter.Int64Counter("midwatch.alerting.status_changes", metric.WithDescription("Changes of monitors, by their new status"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make alerting metrics: %w", err)
	}
	return a, nil
}

// Run watches until ctx ends, which is its only reason to return. Faults of the bus and of SQL are
// waited out.
func (a *Alerter) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.follow(ctx) })
	group.Go(func() error { return follow.Keep(ctx, a.log.With("loop", "clock"), a.tick) })
	return group.Wait()
}

// follow reads the check-ins.
func (a *Alerter) follow(ctx context.Context) error {
	return follow.New(follow.Config{
		Signal: bus.Checkins, Reader: Reader, MaxMessages: maxBatchMessages, MaxBytes: maxBatchBytes, MaxAge: maxBatchAge,
	}, a.bus, a.db, a.log).Run(ctx, &batch{Alerter: a})
}

// tick lets time pass until something fails.
func (a *Alerter) tick(ctx context.Context) error {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		ok, err := a.caughtUp(ctx)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := a.pass(ctx, now.Add(-settle)); err != nil {
			return err
		}
	}
}

// caughtUp reports whether every check-in that is on the bus has been applied. While it has not,
// the absence of one means nothing, and time stands still.
func (a *Alerter) caughtUp(ctx context.Context) (bool, error) {
	backlog, err := a.bus.Backlog(ctx, bus.Checkins)
	if err != nil {
		return false, err
	}
	if backlog.LastSeq == 0 {
		return true, nil
	}
	origin, err := a.bus.Origin(ctx, bus.Checkins)
	if err != nil {
		return false, err
	}
	cursor, err := a.db.ReadCursor(ctx, string(bus.Checkins), Reader)
	if err != nil {
		return false, fmt.Errorf("read the cursor of the check-ins: %w", err)
	}
	return cursor.Origin == origin && cursor.Done && cursor.Last >= backlog.LastSeq, nil
}
