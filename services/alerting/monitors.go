package alerting

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/monitor"
	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/heartbeat"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// What a sender may ask for; the API has the same bounds.
	maxMargin     = 7 * 24 * time.Hour
	maxRuntime    = 30 * 24 * time.Hour
	maxThresholds = 720

	// defaultRuntime is that of Sentry's monitors, for senders who describe theirs but leave it out.
	defaultRuntime = 30 * time.Minute
)

// pass lets time pass for the monitors that are due. Those that another replica has seen to
// meanwhile are left alone: each is read again in the transaction that changes it.
func (a *Alerter) pass(ctx context.Context, now time.Time) error {
	for {
		due, err := a.db.MonitorsDue(ctx, now, ticksPerTx)
		if err != nil {
			return err
		}
		if len(due) == 0 {
			return nil
		}
		o := newOutcome()
		err = a.db.InTx(ctx, func(tx *catalog.Tx) error {
			o = newOutcome()
			for _, m := range due {
				if err := tickOne(ctx, tx, m, now, &o); err != nil {
					return err
				}
			}
			return a.say(ctx, tx, o.flips, time.Now().UTC())
		})
		if err != nil {
			return fmt.Errorf("pass time for %d monitors: %w", len(due), err)
		}
		a.tell(ctx, o)
		if len(due) < ticksPerTx {
			return nil
		}
	}
}

func tickOne(ctx context.Context, tx *catalog.Tx, due catalog.Monitor, now time.Time, o *outcome) error {
	m, err := tx.Monitor(ctx, due.Project, due.Slug)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.State.DueAt.IsZero() || m.State.DueAt.After(now) {
		return nil
	}
	w := watch(m)
	state := monitor.Tick(w.cfg, w.state, now)
	if state.Status != w.state.Status {
		o.switches[state.Status]++
	}
	o.flips = append(o.flips, flip{m, w.cfg, w.state, state, now})
	m.State = heartbeat.Saved(state)
	return tx.PutMonitor(ctx, m)
}

// scheduleOf checks what a sender says about its monitor.
func scheduleOf(c *telemetrypb.MonitorConfig) (catalog.Schedule, error) {
	parsed, err := schedule.Parse(c.GetScheduleKind(), c.GetSchedule(), c.GetTimezone())
	if err != nil {
		return catalog.Schedule{}, err
	}
	s := catalog.Schedule{
		Kind: c.GetScheduleKind(), Value: strings.TrimSpace(c.GetSchedule()), Timezone: c.GetTimezone(),
		Margin:       time.Duration(c.GetMarginSeconds()) * time.Second,
		MaxRuntime:   time.Duration(c.GetMaxRuntimeSeconds()) * time.Second,
		FailAfter:    max(int(c.GetFailureThreshold()), 1),
		RecoverAfter: max(int(c.GetRecoveryThreshold()), 1),
	}
	if s.Margin == 0 {
		s.Margin = parsed.DefaultMargin()
	}
	if s.MaxRuntime == 0 {
		s.MaxRuntime = defaultRuntime
	}
	switch {
	case s.Margin > maxMargin:
		return s, fmt.Errorf("a margin of %s is over the limit of %s", s.Margin, maxMargin)
	case s.MaxRuntime > maxRuntime:
		return s, fmt.Errorf("a runtime of %s is over the limit of %s", s.MaxRuntime, maxRuntime)
	case s.FailAfter > maxThresholds || s.RecoverAfter > maxThresholds:
		return s, fmt.Errorf("a threshold is over the limit of %d", maxThresholds)
	}
	return s, nil
}
