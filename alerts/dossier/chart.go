package dossier

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// charted reports whether what a kind of rule looks at is a curve.
func charted(k rule.Kind) bool {
	return slices.Contains([]rule.Kind{rule.Threshold, rule.LogMatch, rule.LogRatio, rule.ErrorRate, rule.SLOBurn}, k)
}

// curve is what a rule looked at, as the rule saw it.
type curve struct {
	rule   rule.Rule
	unit   string
	start  time.Time
	step   time.Duration
	values []float64 // NaN is no data
	bound  rule.Bound
	since  time.Time
}

// readCurve reads the group that an incident is known by, from an hour before it began until now.
func readCurve(ctx context.Context, store *telemetry.Store, a about, version int64, r rule.Rule) (curve, error) {
	plan, err := evaluate.NewPlan(a.Organisation, a.Project, version, r)
	if err != nil {
		return curve{}, err
	}
	r = plan.Rule
	from, to := a.window()
	first, last := plan.Slot(from.Unix()), plan.Slot(to.Unix())
	slots := int((last-first)/int64(r.Interval)) + 1
	tables, err := evaluate.NewReader(store, a.Project).Read(ctx, []evaluate.Ask{{Plan: plan, First: first, Slots: slots}})
	if err != nil {
		return curve{}, err
	}
	if tables[0].Err != nil {
		return curve{}, tables[0].Err
	}
	c := curve{rule: r, unit: r.Unit(), start: time.Unix(first, 0).UTC(), step: r.Interval.Std(), since: a.Since}
	if r.Kind == rule.SLOBurn {
		c.unit = "1" // the share itself: a burn is many of its windows
	}
	for _, l := range r.Levels {
		if b, err := rule.ParseBound(l.Fire); err == nil && l.Name == a.worst.Level {
			c.bound = b
		}
	}
	for i := range tables[0].Rows {
		if row := &tables[0].Rows[i]; isGroup(r.Query.By, row.Values, a.worst.Labels) {
			c.values = valuesOf(r.Kind, row, slots)
			break
		}
	}
	return c, nil
}

// isGroup reports whether a row is of the group that an instance's labels name.
func isGroup(by, values []string, labels map[string]string) bool {
	for i, name := range by {
		if i < len(values) && values[i] != labels[name] {
			return false
		}
	}
	return true
}

func valuesOf(k rule.Kind, row *evaluate.Row, slots int) []float64 {
	values := make([]float64, 0, slots)
	for _, n := range row.Numbers {
		v := math.NaN()
		switch k {
		case rule.ErrorRate, rule.LogRatio, rule.SLOBurn:
			if n.Total > 0 {
				v = n.Bad / n.Total
			}
		default:
			if n.Samples > 0 {
				v = n.Value
			}
		}
		values = append(values, v)
	}
	return values
}

func (c curve) any() bool {
	return slices.ContainsFunc(c.values, func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) })
}

// usual is the median of the values before the trouble.
func (c curve) usual() (float64, bool) {
	var before []float64
	for i, v := range c.values {
		if c.start.Add(time.Duration(i)*c.step).Before(c.since.Add(-lead)) && !math.IsNaN(v) {
			before = append(before, v)
		}
	}
	if len(before) == 0 {
		return 0, false
	}
	slices.Sort(before)
	return before[len(before)/2], true
}

// facts are what the numbers of the message do not say.
func (c curve) facts() []notify.Fact {
	usual, ok := c.usual()
	if !ok {
		return nil
	}
	return []notify.Fact{{Name: "In the hour before", Value: rule.Quantity(usual, c.unit)}}
}

// draw makes the picture, with the same in words.
func (c curve) draw(a about) (notify.Chart, error) {
	most := 0.0
	for _, v := range c.values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			most = max(most, math.Abs(v))
		}
	}
	factor, unit := scale(c.unit, most)
	plot := notify.Plot{Start: c.start, Step: c.step, Values: make([]float64, len(c.values)), BadFrom: c.since, Unit: unit, Zone: a.zone}
	for i, v := range c.values {
		plot.Values[i] = v * factor
	}
	if c.bound.Op != 0 {
		limit := c.bound.Value * factor
		plot.Threshold = &limit
	}
	png, err := notify.Draw(plot)
	if err != nil {
		return notify.Chart{}, fmt.Errorf("draw the chart: %w", err)
	}
	from, to := a.window()
	chart := notify.Chart{PNG: png, Alt: c.words(a)}
	switch c.rule.Query.Source {
	case rule.Logs:
		chart.Link = a.link("logs", from, to, "service", a.Service, "q", c.rule.Query.Text)
	default:
		// The metric may be stored under a longer name than it is written with.
		chart.Link = a.link("metrics", from, to, "find", strings.ReplaceAll(c.rule.Query.Metric, ".", "_"))
	}
	return chart, nil
}

// scale is by what values are multiplied for a picture, and the unit that they then have.
func scale(unit string, most float64) (float64, string) {
	switch unit {
	case "1":
		return 100, "%"
	case "s":
		if most < 1 {
			return 1000, "ms"
		}
	case "By":
		names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
		i, factor := 0, 1.0
		for ; most >= 1024 && i < len(names)-1; i++ {
			most, factor = most/1024, factor/1024
		}
		return factor, names[i]
	case "x":
		return 1, "×"
	}
	return 1, unit
}

// words say what the picture shows.
func (c curve) words(a about) string {
	what := c.rule.Query.Metric
	switch c.rule.Kind {
	case rule.ErrorRate, rule.SLOBurn:
		what = "Share of failed requests"
	case rule.LogRatio:
		what = "Share of bad log records"
	case rule.LogMatch:
		what = "Log records that match"
	}
	text := what
	if usual, ok := c.usual(); ok {
		text += ": " + rule.Quantity(usual, c.unit) + " in the hour before"
	} else {
		text += ": no data in the hour before"
	}
	low := c.bound.Op != 0 && !c.bound.Op.Up()
	peak, at := math.NaN(), time.Time{}
	for i, v := range c.values {
		t := c.start.Add(time.Duration(i) * c.step)
		if t.Before(c.since) || math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		if math.IsNaN(peak) || low && v < peak || !low && v > peak {
			peak, at = v, t
		}
	}
	if !math.IsNaN(peak) {
		text += ", " + rule.Quantity(peak, c.unit) + " at " + a.clock(at)
	}
	if c.bound.Op != 0 {
		text += "; limit " + c.bound.Op.String() + " " + rule.Quantity(c.bound.Value, c.unit)
	}
	return text
}
