package alerting

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/monitor"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/heartbeat"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/follow"
)

// Why a check-in changed no monitor.
const (
	dropUnknown   = "unknown_monitor"
	dropTooMany   = "too_many_monitors"
	dropMalformed = "malformed"
)

// maxSlugBytes is far beyond what intake lets through.
const maxSlugBytes = 200

// name is what a monitor is called.
type name struct {
	project uint32
	slug    string
}

// outcome is what one attempt at a batch came to. It is told to the log and the metrics only once
// it is committed, since an attempt may be undone and made again.
type outcome struct {
	applied  int64
	dropped  map[string]int64
	switches map[monitor.Status]int64
	configs  map[name]error
	early    early
	flips    []flip
}

func newOutcome() outcome {
	return outcome{dropped: map[string]int64{}, switches: map[monitor.Status]int64{}, configs: map[name]error{}}
}

// batch is the check-ins that are applied together, in the order of their arrival.
type batch struct {
	*Alerter
	checkins  []*telemetrypb.Checkin
	malformed int64
	outcome   outcome // of the newest attempt
	early     early   // of the batches that are committed
}

// Begin is follow's.
func (b *batch) Begin() { b.checkins, b.malformed = nil, 0 }

// Add decodes a message. A frame that is none is the writer's to put aside; here it is only counted.
func (b *batch) Add(m bus.Message) (full bool) {
	for _, f := range m.Frames {
		var frame telemetrypb.CheckinFrame
		if err := proto.Unmarshal(f.Data, &frame); err != nil {
			b.malformed++
			continue
		}
		for _, c := range frame.GetCheckins() {
			if c.GetReceivedAt() == 0 || c.GetReceivedAt() > 1<<63-1 {
				c.ReceivedAt = uint64(m.Time.UnixNano())
			}
			b.checkins = append(b.checkins, c)
		}
	}
	return false
}

// Store has nothing to do: everything that check-ins change is in SQL.
func (b *batch) Store(context.Context, follow.Batch) error { return nil }

// Commit applies the batch.
func (b *batch) Commit(ctx context.Context, tx *catalog.Tx) error {
	b.outcome = newOutcome()
	b.outcome.early = b.early.clone()
	if err := apply(ctx, tx, b.checkins, &b.outcome); err != nil {
		return err
	}
	return b.say(ctx, tx, b.outcome.flips, time.Now().UTC())
}

// Done tells what came of it.
func (b *batch) Done(ctx context.Context, of follow.Batch) {
	if b.malformed > 0 {
		b.outcome.dropped[dropMalformed] += b.malformed
	}
	b.early = b.outcome.early
	b.tell(ctx, b.outcome)
	if n := of.Lost(); n > 0 {
		b.lost.Add(ctx, int64(n))
	}
}

// tell says what was committed.
func (a *Alerter) tell(ctx context.Context, o outcome) {
	if len(o.flips) > 0 {
		a.desk.Woke()
	}
	if o.applied > 0 {
		a.applied.Add(ctx, o.applied)
	}
	for reason, n := range o.dropped {
		a.dropped.Add(ctx, n, metric.WithAttributes(attribute.String("reason", reason)))
	}
	for status, n := range o.switches {
		a.switches.Add(ctx, n, metric.WithAttributes(attribute.String("status", string(status))))
	}
	for n, err := range o.configs {
		if a.notes.first(n, time.Now()) {
			a.log.Warn("monitor's own schedule ignored", "project_id", n.project, "monitor", n.slug, "err", err)
		}
	}
}

// watched is a monitor during a batch.
type watched struct {
	catalog.Monitor
	cfg     monitor.Config
	state   monitor.State
	changed bool
}

func watch(m catalog.Monitor) *watched {
	// Of one whose schedule cannot be read any more nothing is expected until it is saved again.
	cfg, _ := heartbeat.Config(m.Schedule)
	return &watched{Monitor: m, cfg: cfg, state: heartbeat.State(m.State)}
}

// apply takes the check-ins in and writes the monitors that they changed.
func apply(ctx context.Context, tx *catalog.Tx, checkins []*telemetrypb.Checkin, o *outcome) error {
	monitors := map[name]*watched{} // nil for those that there are not
	left := room{}
	for _, c := range checkins {
		n := name{c.GetProjectId(), c.GetSlug()}
		if n.project == 0 || n.slug == "" || len(n.slug) > maxSlugBytes {
			o.dropped[dropMalformed]++
			continue
		}
		w, known := monitors[n]
		if !known {
			m, err := tx.Monitor(ctx, n.project, n.slug)
			switch {
			case err == nil:
				w = watch(m)
			case !errors.Is(err, catalog.ErrNotFound):
				return err
			}
			monitors[n] = w
		}
		received := time.Unix(0, int64(c.GetReceivedAt())).UTC()
		if w == nil {
			if !c.GetCreate() && c.GetConfig() == nil {
				o.dropped[dropUnknown]++
				o.early.keep(n, c)
				continue
			}
			free, err := left.take(ctx, tx, n.project)
			if err != nil {
				return err
			}
			if !free {
				o.dropped[dropTooMany]++
				continue
			}
			w = create(n, received)
			monitors[n] = w
		}
		if c.GetConfig() != nil {
			if err := w.configure(c.GetConfig(), received); err != nil {
				o.configs[n] = err
			}
		}
		w.apply(c, received, o)
		if end := o.early.take(n, c); end != nil {
			w.apply(end, time.Unix(0, int64(end.GetReceivedAt())).UTC(), o)
		}
	}
	// In one order, so that transactions that touch the same monitors do not wait for each other
	// in a circle.
	for _, n := range slices.SortedFunc(maps.Keys(monitors), compareNames) {
		w := monitors[n]
		if w == nil || !w.changed {
			continue
		}
		w.State = heartbeat.Saved(w.state)
		if err := tx.PutMonitor(ctx, w.Monitor); err != nil {
			return err
		}
	}
	return nil
}

// apply takes in one check-in.
func (w *watched) apply(c *telemetrypb.Checkin, received time.Time, o *outcome) {
	before := w.state
	w.state = monitor.Apply(w.cfg, w.state, c, received)
	if w.state.Status != before.Status {
		o.switches[w.state.Status]++
	}
	o.flips = append(o.flips, flip{w.Monitor, w.cfg, before, w.state, received})
	w.changed = true
	o.applied++
}

// early has the ends of runs that came before their monitor was made, which is when the end of a
// job's very first run overtakes its start, as Sentry's clients let it happen: only the start
// describes the monitor. Without them that run would seem to hang. It is lost with the process,
// which then costs one false alarm.
type early []earlyEnd

type earlyEnd struct {
	name
	checkin *telemetrypb.Checkin
}

const (
	maxEarly = 256
	// earlyFor is for how long the start may be under way.
	earlyFor = 5 * time.Minute
)

func (e early) clone() early { return slices.Clone(e) }

// keep notes the end of a run that has a name. It has been counted as dropped.
func (e *early) keep(n name, c *telemetrypb.Checkin) {
	if len(c.GetRunId()) == 0 {
		return
	}
	switch c.GetStatus() {
	case telemetrypb.CheckinStatus_CHECKIN_STATUS_OK, telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR:
	default:
		return
	}
	*e = slices.DeleteFunc(*e, func(old earlyEnd) bool { return apart(old.checkin, c) > earlyFor })
	if len(*e) >= maxEarly {
		*e = slices.Delete(*e, 0, len(*e)-maxEarly+1)
	}
	*e = append(*e, earlyEnd{n, c})
}

// take returns the end of the run that a check-in belongs to, once.
func (e *early) take(n name, c *telemetrypb.Checkin) *telemetrypb.Checkin {
	i := slices.IndexFunc(*e, func(end earlyEnd) bool {
		return end.name == n && slices.Equal(end.checkin.GetRunId(), c.GetRunId()) && apart(end.checkin, c) <= earlyFor
	})
	if i < 0 {
		return nil
	}
	end := (*e)[i].checkin
	*e = slices.Delete(*e, i, i+1)
	return end
}

// apart is how long after the other one of two check-ins came.
func apart(a, b *telemetrypb.Checkin) time.Duration {
	return time.Duration(int64(a.GetReceivedAt()) - int64(b.GetReceivedAt())).Abs()
}

func compareNames(a, b name) int {
	if a.project != b.project {
		return int(int64(a.project) - int64(b.project))
	}
	return strings.Compare(a.slug, b.slug)
}

// create makes a monitor of which nothing is known but its name.
func create(n name, at time.Time) *watched {
	return watch(catalog.Monitor{
		Project: n.project, Slug: n.slug, CreatedAt: at,
		Schedule: catalog.Schedule{Kind: catalog.ScheduleNone, FailAfter: 1, RecoverAfter: 1},
		State:    catalog.MonitorState{Status: catalog.MonitorNew, Since: at},
	})
}

// room counts the monitors that projects may still get. It is asked once a batch, and counts down.
type room map[uint32]int

func (r room) take(ctx context.Context, tx *catalog.Tx, project uint32) (bool, error) {
	if _, known := r[project]; !known {
		n, err := tx.CountMonitors(ctx, project)
		if err != nil {
			return false, err
		}
		r[project] = catalog.MaxMonitors - n
	}
	if r[project] <= 0 {
		return false, nil
	}
	r[project]--
	return true, nil
}

// configure takes over what a sender says about its monitor. An error leaves it as it was.
func (w *watched) configure(c *telemetrypb.MonitorConfig, now time.Time) error {
	s, err := scheduleOf(c)
	if err != nil {
		return err
	}
	s.MissAfter = w.Schedule.MissAfter // which senders cannot tell
	if s == w.Schedule {
		return nil
	}
	cfg, err := heartbeat.Config(s)
	if err != nil {
		return err
	}
	w.Schedule, w.cfg = s, cfg
	w.state = monitor.Reschedule(cfg, w.state, now)
	w.changed = true
	return nil
}

// notes remembers what was logged lately, so that a job with a wrong schedule does not fill the log.
type notes struct{ at map[name]time.Time }

const (
	noteEvery = time.Hour
	maxNotes  = 1000
)

// first reports whether nothing was noted about a monitor within the last hour.
func (n *notes) first(about name, now time.Time) bool {
	if last, ok := n.at[about]; ok && now.Sub(last) < noteEvery {
		return false
	}
	if n.at == nil || len(n.at) >= maxNotes {
		n.at = map[name]time.Time{}
	}
	n.at[about] = now
	return true
}
