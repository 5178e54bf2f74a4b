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
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

// Reader is the name under which alerting keeps its place in the check-ins.
const Reader = "alerting"

const (
	maxBatchMessages = 500
	maxBatchAge      = 200 * time.Millisecond

	tickInterval = time.Second
	// settle is how long a check-in may take from its arrival until it is on the bus. Time passes
	// for the monitors with this delay, so that one that came in the last moment is not missed.
	settle = 12 * time.Second
	// ticksPerTx bounds how long one transaction holds the states of others up.
	ticksPerTx = 100

	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// conflictPause is how long a replica steps back that finds another one at work.
	conflictPause = time.Second
)

// Alerter keeps the states of monitors.
type Alerter struct {
	bus *bus.Bus
	db  *catalog.DB
	log *slog.Logger

	applied  metric.Int64Counter
	dropped  metric.Int64Counter
	switches metric.Int64Counter

	notes notes
}

// New makes an alerter; Run starts it.
func New(b *bus.Bus, db *catalog.DB, meter metric.Meter, log *slog.Logger) (*Alerter, error) {
	a := &Alerter{bus: b, db: db, log: log}
	var errs [3]error
	a.applied, errs[0] = meter.Int64Counter("midwatch.alerting.checkins", metric.WithDescription("Check-ins that were applied to their monitors"))
	a.dropped, errs[1] = meter.Int64Counter("midwatch.alerting.dropped_checkins", metric.WithDescription("Check-ins that changed no monitor, by reason"))
	a.switches, errs[2] = meter.Int64Counter("midwatch.alerting.status_changes", metric.WithDescription("Changes of monitors, by their new status"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make alerting metrics: %w", err)
	}
	return a, nil
}

// Run watches until ctx ends, which is its only reason to return. Faults of the bus and of SQL are
// waited out.
func (a *Alerter) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.keep(ctx, "checkins", a.follow) })
	group.Go(func() error { return a.keep(ctx, "clock", a.tick) })
	return group.Wait()
}

// keep runs a loop and starts it over when it fails.
func (a *Alerter) keep(ctx context.Context, name string, loop func(context.Context) error) error {
	backoff := firstBackoff
	for {
		began := time.Now()
		err := loop(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > time.Minute {
			backoff = firstBackoff
		}
		wait := backoff
		if errors.Is(err, catalog.ErrConflict) {
			wait = conflictPause
			a.log.Debug("another replica is at work", "loop", name)
		} else {
			backoff = min(2*backoff, maxBackoff)
			a.log.Warn("alerting interrupted", "loop", name, "err", err)
		}
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// follow takes up the check-ins where the cursor stands and goes on until something fails.
func (a *Alerter) follow(ctx context.Context) error {
	origin, err := a.bus.Origin(ctx, bus.Checkins)
	if err != nil {
		return err
	}
	cursor, err := a.cursor(ctx)
	if err != nil {
		return err
	}
	if cursor.Origin != origin {
		// A new stream: its sequences start anew. The version stays, it guards the row.
		cursor.First, cursor.Last, cursor.Done = 0, 0, true
	}
	after := cursor.Last
	if !cursor.Done {
		after = cursor.First - 1
	}
	reader, err := a.bus.Read(ctx, bus.Checkins, after)
	if err != nil {
		return err
	}
	defer reader.Stop()
	if !cursor.Done {
		if cursor, err = a.replay(ctx, reader, cursor); err != nil {
			return err
		}
	}
	for {
		batch, err := collect(ctx, reader)
		if err != nil {
			return err
		}
		cursor, err = a.db.PlanBatch(ctx, cursor, origin, batch[0].Seq, batch[len(batch)-1].Seq)
		if err != nil {
			return fmt.Errorf("plan a batch of check-ins: %w", err)
		}
		if cursor, err = a.carryOut(ctx, cursor, batch); err != nil {
			return err
		}
	}
}

func (a *Alerter) cursor(ctx context.Context) (catalog.Cursor, error) {
	c, err := a.db.ReadCursor(ctx, string(bus.Checkins), Reader)
	if err != nil {
		return c, fmt.Errorf("read the cursor of the check-ins: %w", err)
	}
	return c, nil
}

// replay carries out the plan that the cursor holds, as far as the stream still has its messages.
func (a *Alerter) replay(ctx context.Context, reader *bus.Reader, cursor catalog.Cursor) (catalog.Cursor, error) {
	backlog, err := a.bus.Backlog(ctx, bus.Checkins)
	if err != nil {
		return cursor, err
	}
	var batch []bus.Message
	for seq := max(cursor.First, backlog.FirstSeq); seq <= min(cursor.Last, backlog.LastSeq); {
		m, err := reader.Next(ctx)
		if err != nil {
			return cursor, err
		}
		if m.Seq > cursor.Last {
			// The reader is past it now; the next attempt finds the plan done.
			if _, err := a.carryOut(ctx, cursor, batch); err != nil {
				return cursor, err
			}
			return cursor, fmt.Errorf("replay check-ins %d to %d: the stream goes on at %d", cursor.First, cursor.Last, m.Seq)
		}
		batch = append(batch, m)
		seq = m.Seq + 1
	}
	return a.carryOut(ctx, cursor, batch)
}

// collect waits for messages until they make a batch.
func collect(ctx context.Context, reader *bus.Reader) ([]bus.Message, error) {
	first, err := reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	batch := []bus.Message{first}
	waiting, cancel := context.WithTimeout(ctx, maxBatchAge)
	defer cancel()
	for len(batch) < maxBatchMessages {
		m, err := reader.Next(waiting)
		if err != nil {
			if ctx.Err() == nil && waiting.Err() != nil {
				break
			}
			return nil, err
		}
		batch = append(batch, m)
	}
	return batch, nil
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
	cursor, err := a.cursor(ctx)
	if err != nil {
		return false, err
	}
	return cursor.Origin == origin && cursor.Done && cursor.Last >= backlog.LastSeq, nil
}

// pause waits with some jitter, so that replicas do not move in step; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
