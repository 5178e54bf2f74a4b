package alerting

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/monitor"
	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
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
			return nil
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
	m.State = catalogState(state)
	return tx.PutMonitor(ctx, m)
}

// configOf reads a schedule as it is saved.
func configOf(s catalog.Schedule) (monitor.Config, error) {
	parsed, err := schedule.Parse(s.Kind, s.Value, s.Timezone)
	if err != nil {
		return monitor.Config{}, err
	}
	return monitor.Config{
		Schedule: parsed, Margin: s.Margin, MaxRuntime: s.MaxRuntime, FailAfter: s.FailAfter, RecoverAfter: s.RecoverAfter,
	}, nil
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

// stateOf and catalogState translate between the machine's state and its columns. The runs share
// one column, runs, which nobody else reads.
func stateOf(s catalog.MonitorState) monitor.State {
	return monitor.State{
		Status: monitor.Status(s.Status), Since: s.Since, LastCheckinAt: s.LastCheckinAt,
		NextExpectedAt: s.NextExpectedAt, DueAt: s.DueAt, LastDuration: s.LastDuration,
		Runs: parseRuns(s.Runs), Streak: s.Bad,
	}
}

func catalogState(s monitor.State) catalog.MonitorState {
	c := catalog.MonitorState{
		Status: string(s.Status), Since: s.Since, LastCheckinAt: s.LastCheckinAt,
		NextExpectedAt: s.NextExpectedAt, DueAt: s.DueAt, LastDuration: s.LastDuration,
		Runs: formatRuns(s.Runs), Bad: s.Streak,
	}
	for _, r := range s.Runs {
		if r.End.IsZero() && r.Start.After(c.LastStartAt) {
			c.LastStartAt = r.Start
		}
	}
	return c
}

// formatRuns writes runs as "<id in hex>:<start>:<end>", joined by commas, with times in
// nanoseconds since 1970. What a run does not have is left empty.
func formatRuns(runs []monitor.Run) string {
	var b strings.Builder
	for i, r := range runs {
		if i > 0 {
			b.WriteByte(',')
		}
		if r.ID != ([16]byte{}) {
			b.WriteString(hex.EncodeToString(r.ID[:]))
		}
		for _, at := range []time.Time{r.Start, r.End} {
			b.WriteByte(':')
			if !at.IsZero() {
				b.WriteString(strconv.FormatInt(at.UnixNano(), 10))
			}
		}
	}
	return b.String()
}

// parseRuns is the reverse of formatRuns. What it cannot read it leaves out.
func parseRuns(text string) []monitor.Run {
	if text == "" {
		return nil
	}
	var runs []monitor.Run
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Split(part, ":")
		if len(fields) != 3 {
			continue
		}
		var r monitor.Run
		if id, err := hex.DecodeString(fields[0]); err == nil && len(id) == len(r.ID) {
			copy(r.ID[:], id)
		}
		r.Start, r.End = parseTime(fields[1]), parseTime(fields[2])
		if r.Start.IsZero() && r.End.IsZero() {
			continue
		}
		runs = append(runs, r)
	}
	return runs
}

func parseTime(text string) time.Time {
	ns, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
