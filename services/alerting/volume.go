package alerting

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/services/heartbeat"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	volumeInterval = time.Minute
	volumeLease    = "volume of projects"
	// volumeSpan is what is compared: the last ten whole minutes, with the same ones of earlier weeks or
	// days. volumeDelay is how long records may take to be there.
	volumeSpan  = 10 * time.Minute
	volumeDelay = time.Minute
	// fallen is the share of the usual below which a project has stopped, back the one from which it
	// sends again.
	fallen = 0.1
	back   = 0.25
	// fallenTotal is the share below which a fall of all together is one of ours.
	fallenTotal = 0.75
	// minUsual is how many records in ten minutes are too few for their absence to mean something.
	minUsual = 100
	// minSamples is how many earlier weeks or days must have had something, of maxSamples.
	minSamples = 2
	maxSamples = 4
	// volumesAtOnce bounds the projects of one pass; the next pass goes on with the others.
	volumesAtOnce = 50
	// maxUsual bounds the projects whose earlier volumes are kept in memory.
	maxUsual = 2000
	// noticeVolume tells the operator of a fall of all together.
	noticeVolume = "volume_fell"
)

// amount is how much a project sent of what is watched. Fewer errors are good news, and check-ins have
// monitors of their own.
type amount struct{ samples, logs float64 }

// volumes finds projects that have stopped sending.
type volumes struct {
	holder    string
	db        *catalog.DB
	store     *telemetry.Store
	desk      *desk.Desk
	watermark func(rule.Source) time.Time
	log       *slog.Logger

	next  uint32 // the project with which the next pass begins
	usual map[uint32]pastHour
	// down are the signals that are known to have stopped, or not to have.
	down   map[volumeKey]bool
	global bool
	known  bool // whether global has been told
}

type volumeKey struct {
	project uint32
	signal  string
}

// pastHour is what a project sent in an hour, and the ten minutes before it, of earlier weeks and days.
type pastHour struct {
	begin       time.Time
	weeks, days []past
}

// past is one of them, minute by minute.
type past struct {
	from    time.Time
	minutes []telemetry.Volume
}

// measured is one signal of one project.
type measured struct {
	project     catalog.Project
	signal      string
	now, before float64
}

func (m measured) fallen() bool { return m.before >= minUsual && m.now < fallen*m.before }
func (m measured) back() bool   { return m.before < minUsual || m.now >= back*m.before }

// median is the usual of earlier amounts; 0 where there are too few that are not 0.
func median(earlier []float64) float64 {
	some := slices.DeleteFunc(slices.Clone(earlier), func(v float64) bool { return v <= 0 })
	if len(some) < minSamples {
		return 0
	}
	slices.Sort(some)
	return (some[(len(some)-1)/2] + some[len(some)/2]) / 2
}

// isGlobal reports whether a fall is one of all together: a project that stops is its own matter, many
// at once are ours.
func isGlobal(all []measured) bool {
	var now, before float64
	projects, less := map[uint32]bool{}, map[uint32]bool{}
	for _, m := range all {
		if m.before < minUsual {
			continue
		}
		now, before = now+min(m.now, m.before), before+m.before
		projects[m.project.Number] = true
		if m.now < fallenTotal*m.before {
			less[m.project.Number] = true
		}
	}
	return len(projects) > 1 && len(less) > 1 && 2*len(less) >= len(projects) && now < fallenTotal*before
}

// pass compares some projects with what they usually send.
func (v *volumes) pass(ctx context.Context, now time.Time) error {
	mine, err := v.db.TakeLease(ctx, volumeLease, v.holder, now, 3*volumeInterval)
	if err != nil {
		return err
	}
	if !mine {
		v.down, v.known = nil, false
		return nil
	}
	projects, err := v.db.AllProjects(ctx)
	if err != nil {
		return err
	}
	end := now.Add(-volumeDelay).Truncate(time.Minute)
	var all []measured
	for _, p := range v.some(projects) {
		of, err := v.measure(ctx, p, end)
		if err != nil {
			return err
		}
		all = append(all, of...)
	}
	return v.judge(ctx, all, now)
}

// some are the projects of this pass.
func (v *volumes) some(projects []catalog.Project) []catalog.Project {
	first := slices.IndexFunc(projects, func(p catalog.Project) bool { return p.Number >= v.next })
	first = max(first, 0)
	chosen := slices.Concat(projects[first:], projects[:first])
	if len(chosen) > volumesAtOnce {
		v.next = chosen[volumesAtOnce].Number
		return chosen[:volumesAtOnce]
	}
	v.next = 0
	return chosen
}

// measure returns what a project has sent until end, and usually does. What is still on its way to the
// store is not missing, so that a signal is left out while its data is late.
func (v *volumes) measure(ctx context.Context, p catalog.Project, end time.Time) ([]measured, error) {
	begin := end.Add(-volumeSpan)
	before, err := v.before(ctx, p, begin)
	if err != nil {
		return nil, err
	}
	var current amount
	if before != (amount{}) {
		scope, err := telemetry.NewScope(p.Number, begin, end)
		if err != nil {
			return nil, err
		}
		minutes, err := v.store.VolumeByMinute(ctx, scope)
		if err != nil {
			return nil, err
		}
		current = past{begin, minutes}.sum(begin)
	}
	var all []measured
	if !v.watermark(rule.Metrics).Before(end) {
		all = append(all, measured{p, telemetry.SignalMetrics, current.samples, before.samples})
	}
	if !v.watermark(rule.Logs).Before(end) {
		all = append(all, measured{p, telemetry.SignalLogs, current.logs, before.logs})
	}
	return all, nil
}

// sum is what was sent in the ten minutes from begin on.
func (p past) sum(begin time.Time) (a amount) {
	for _, m := range p.minutes {
		if !m.At.Before(begin) && m.At.Before(begin.Add(volumeSpan)) {
			a.samples, a.logs = a.samples+float64(m.Samples), a.logs+float64(m.Logs)
		}
	}
	return a
}

// before is what is usual in the ten minutes from begin on: the median of the same ones of the last
// weeks, or of the last days where there are too few weeks.
func (v *volumes) before(ctx context.Context, p catalog.Project, begin time.Time) (amount, error) {
	hour := begin.Truncate(time.Hour)
	kept, ok := v.usual[p.Number]
	if !ok || !kept.begin.Equal(hour) {
		kept = pastHour{begin: hour}
		var err error
		if kept.weeks, err = v.earlier(ctx, p, hour, 7); err != nil {
			return amount{}, err
		}
		if kept.days, err = v.earlier(ctx, p, hour, 1); err != nil {
			return amount{}, err
		}
		if v.usual == nil || len(v.usual) >= maxUsual {
			v.usual = map[uint32]pastHour{}
		}
		v.usual[p.Number] = kept
	}
	usual := func(of func(amount) float64) float64 {
		return cmp.Or(median(sums(kept.weeks, hour, begin, of)), median(sums(kept.days, hour, begin, of)))
	}
	return amount{usual(func(a amount) float64 { return a.samples }), usual(func(a amount) float64 { return a.logs })}, nil
}

func sums(all []past, hour, begin time.Time, of func(amount) float64) []float64 {
	out := make([]float64, len(all))
	for i, p := range all {
		out[i] = of(p.sum(p.from.Add(begin.Sub(hour))))
	}
	return out
}

// earlier reads the hour of earlier times, some days apart, with the ten minutes behind it, and leaves
// out what is older than the project.
func (v *volumes) earlier(ctx context.Context, p catalog.Project, hour time.Time, days int) ([]past, error) {
	var all []past
	for n := 1; n <= maxSamples; n++ {
		from := hour.AddDate(0, 0, -n*days)
		if from.Before(p.CreatedAt) {
			break
		}
		scope, err := telemetry.NewScope(p.Number, from, from.Add(time.Hour+volumeSpan))
		if err != nil {
			return nil, err
		}
		minutes, err := v.store.VolumeByMinute(ctx, scope)
		if err != nil {
			return nil, err
		}
		minutes = slices.DeleteFunc(minutes, func(m telemetry.Volume) bool { return m.Samples+m.Logs == 0 })
		all = append(all, past{from, minutes})
	}
	return all, nil
}

// judge tells of what has fallen, and of what is back.
func (v *volumes) judge(ctx context.Context, all []measured, now time.Time) error {
	global := isGlobal(all)
	if err := v.tellGlobal(ctx, global, now); err != nil {
		return err
	}
	if v.down == nil {
		v.down = map[volumeKey]bool{}
	}
	told := map[string][]incident.Signal{}
	changed := map[volumeKey]bool{}
	for _, m := range all {
		key := volumeKey{m.project.Number, m.signal}
		down, known := v.down[key]
		switch {
		case m.fallen() && !down && !global:
			told[m.project.OrganisationID] = append(told[m.project.OrganisationID], m.signalOf(incident.Fire, now))
			changed[key] = true
		case m.back() && (down || !known):
			told[m.project.OrganisationID] = append(told[m.project.OrganisationID], m.signalOf(incident.Resolve, now))
			changed[key] = false
		}
	}
	if len(told) == 0 {
		return nil
	}
	at, err := v.db.Clock(ctx)
	if err != nil {
		return err
	}
	for organisation, signals := range told {
		err := v.db.InTx(ctx, func(tx *catalog.Tx) error { return v.desk.Apply(ctx, tx, organisation, signals, at) })
		if err != nil {
			return fmt.Errorf("tell of what a project sends: %w", err)
		}
	}
	for key, down := range changed {
		v.down[key] = down
	}
	v.desk.Woke()
	return nil
}

// signalOf says that a project has stopped sending, or sends again.
func (m measured) signalOf(kind incident.Kind, now time.Time) incident.Signal {
	since := now.Add(-volumeSpan - volumeDelay).Truncate(time.Minute)
	count := func(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }
	return incident.Signal{Kind: kind, At: now, Instance: incident.Instance{
		Key: "volume:" + m.signal, Project: m.project.Number, Name: "Volume", Severity: rule.Mail, Class: rule.Cause,
		Labels:   map[string]string{"signal": m.signal, "severity": string(rule.Mail)},
		Headline: fmt.Sprintf("%s stopped sending %s: %s in 10 minutes, where %s are usual", m.project.Name, m.signal, count(m.now), count(m.before)),
		Since:    since, FiredAt: now, Value: m.now, Group: "volume:" + m.signal,
		FirstAction: "See whether the senders run and whether Midwatch refuses what they send; rules see nothing meanwhile.",
	}}
}

// tellGlobal tells the operator when all together send less, and when they no longer do.
func (v *volumes) tellGlobal(ctx context.Context, global bool, now time.Time) error {
	if v.known && global == v.global {
		return nil
	}
	text := "All projects together send as much as usual again."
	if global {
		text = "All projects together send more than a quarter less than usual: look whether intake works. Projects are not told."
	} else if !v.known {
		open, err := v.openGlobal(ctx, now)
		if err != nil || !open {
			v.known, v.global = err == nil, false
			return err
		}
	}
	details, err := json.Marshal(map[string]bool{"open": global})
	if err != nil {
		return fmt.Errorf("write a notice: %w", err)
	}
	if err := v.db.AddNotice(ctx, catalog.Notice{Kind: noticeVolume, At: now, Message: text, Details: string(details)}, nil); err != nil {
		return err
	}
	v.known, v.global = true, global
	return nil
}

// openGlobal reports whether another process has told of a fall that nobody has ended.
func (v *volumes) openGlobal(ctx context.Context, now time.Time) (bool, error) {
	notices, err := v.db.Notices(ctx, 0, now.AddDate(0, 0, -30))
	if err != nil {
		return false, err
	}
	for _, n := range notices {
		var state struct {
			Open bool `json:"open"`
		}
		if n.Kind == noticeVolume && json.Unmarshal([]byte(n.Details), &state) == nil {
			return state.Open, nil
		}
	}
	return false, nil
}

const (
	// unseenPeriods is after how many of its periods a monitor for which nothing has come is worth a
	// line, unseenFor for how long after that: its line is kept for longer.
	unseenPeriods = 3
	unseenFor     = 7 * 24 * time.Hour
	unseenReach   = 400 * 24 * time.Hour
)

// unseen makes a line of the digest, once, of each monitor with a schedule for which nothing has come:
// most often its job was never told to report.
func (r *Role) unseen(ctx context.Context, now time.Time) error {
	monitors, err := r.db.UnseenMonitors(ctx, now.Add(-unseenReach), now)
	if err != nil {
		return err
	}
	for _, m := range monitors {
		cfg, err := heartbeat.Config(m.Schedule)
		if err != nil {
			continue // its page says so
		}
		due := m.CreatedAt.Add(unseenPeriods * cfg.Schedule.Period())
		if !due.After(m.CreatedAt) || due.After(now) || now.Sub(due) > unseenFor {
			continue
		}
		project, err := r.db.Project(ctx, m.Project)
		if err != nil {
			return err
		}
		name := cmp.Or(m.Name, m.Slug)
		// The time is that of the third period, whenever this is found: the same line is made once.
		line := incident.Signal{
			Kind: incident.Note, At: due, Section: incident.SectionMail,
			Text: name + ": no check-in has come since the monitor was made; run its job by `midwatch cron`, or delete the monitor",
			Instance: incident.Instance{
				Key: "unseen:" + m.Slug, Project: m.Project, Name: name, Kind: rule.Cron, Since: m.CreatedAt,
				Labels: map[string]string{"monitor": m.Slug, "service": m.Slug, "kind": string(rule.Cron)},
			},
		}
		err = r.db.InTx(ctx, func(tx *catalog.Tx) error {
			return r.desk.Apply(ctx, tx, project.OrganisationID, []incident.Signal{line}, now)
		})
		if err != nil {
			return fmt.Errorf("tell of a monitor that was never seen: %w", err)
		}
	}
	return nil
}
