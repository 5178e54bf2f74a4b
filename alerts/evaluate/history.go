package evaluate

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	day  = 86_400
	week = 7 * day

	// maxHistory bounds the points that are kept for one rule, 16 bytes each.
	maxHistory = 2_000_000
	// historyChunk is how many points are read at once, historyBudget how long a read of slots may
	// spend on histories; what is then missing comes with the next one.
	historyChunk  = 360
	historyBudget = 5 * time.Second

	// rereadAfter is how long a history is kept before it is read anew: what was sent late is in it then.
	rereadAfter = 3600

	// Anomalies compare with the same hour of so many weeks.
	weeksBack     = 4
	halfHour      = 1800
	minHourPoints = 6
)

// history is what a rule needs of long ago: points on a grid, kept from slot to slot so that only
// what is new is read. Points lie at whole multiples of the grid, each made of the data before it.
type history struct {
	feed  *Plan // asks for the points
	reach int64 // how far back from a slot they matter, in seconds

	from, to int64 // points are known in (from, to]
	begun    int64 // the slot for which the first of them were read
	lines    map[string]*line
}

// line is the history of one group: a point for each of (from, to].
type line struct {
	values []string
	points []point
}

// point is bad and total of a ratio, or a value; total is NaN without data.
type point struct{ value, total float64 }

// newHistory is the history that the kind of a rule asks for, or nil.
func newHistory(organisation string, project uint32, r rule.Rule, query rule.Query) (*history, error) {
	feed := rule.Rule{ID: r.ID, Query: query, Levels: []rule.Level{{Fire: "> 0", Severity: rule.Mail}}, Delay: 0}
	feed.Service, feed.Environment = r.Service, r.Environment
	grid, reach := rule.Duration(300), int64(0)
	switch r.Kind {
	case rule.SLOBurn:
		feed.Kind, grid, reach = rule.ErrorRate, 60, 3*day
		if !slices.ContainsFunc(r.Levels, func(l rule.Level) bool { return l.Severity == rule.Ticket }) {
			reach = day / 4
		}
	case rule.Forecasted:
		feed.Kind, reach = rule.Threshold, 3*day
		feed.Service = "" // what fills up is a host's, not a service's
		if feed.Query.Aggregate == "" {
			feed.Query.Aggregate = "last"
		}
	case rule.Anomaly:
		feed.Kind, reach = rule.Threshold, weeksBack*week+halfHour
	}
	if query.Source == rule.Logs {
		feed.Kind = rule.LogRatio
		if r.Kind == rule.Anomaly {
			feed.Kind = rule.LogMatch
		}
	}
	feed.Window, feed.Interval = grid, grid
	if r.Kind == rule.Anomaly {
		feed.Window = r.Window
	}
	p, err := newPlan(organisation, project, 0, feed)
	if err != nil {
		return nil, err
	}
	p.delay, p.offset, p.step, p.ends = 0, 0, gcd(p.interval, p.window), nil
	return &history{feed: p, reach: reach}, nil
}

// grid is how far points are apart.
func (h *history) grid() int64 { return h.feed.interval }

// end is the newest point of a slot.
func (h *history) end(p *Plan, slot int64) int64 {
	at := slot - p.delay
	return at - at%h.grid()
}

// next is what has to be read for slots of p, a part at a time; false if it is all there.
func (h *history) next(p *Plan, first, last int64) (Ask, bool) {
	g := h.grid()
	from := h.end(p, first) - h.reach - h.reach%g
	to := h.end(p, last)
	if h.lines == nil || from < h.from || from > h.to || last-h.begun >= rereadAfter && first == last {
		h.lines, h.from, h.to, h.begun = map[string]*line{}, from, from, last
	}
	if h.to >= to {
		return Ask{}, false
	}
	return Ask{Plan: h.feed, First: h.to + g, Slots: int(min((to-h.to)/g, historyChunk))}, true
}

// add takes in the next points.
func (h *history) add(t *Table) error {
	known := int((h.to - h.from) / h.grid())
	for _, row := range t.Rows {
		l := h.lines[row.Key]
		if l == nil {
			if (len(h.lines)+1)*int(h.reach/h.grid()) > maxHistory {
				return &telemetry.InvalidError{Message: "the rule has more groups than a history is kept of"}
			}
			l = &line{values: row.Values, points: blank(nil, known)}
			h.lines[row.Key] = l
		}
		for _, n := range row.Numbers {
			l.points = append(l.points, h.point(n.Number))
		}
	}
	h.to += int64(t.Slots) * h.grid()
	want := known + t.Slots
	for _, l := range h.lines {
		l.points = blank(l.points, want-len(l.points))
	}
	return nil
}

func blank(points []point, n int) []point {
	for range n {
		points = append(points, point{total: math.NaN()})
	}
	return points
}

func (h *history) point(n Number) point {
	switch {
	case n.Samples == 0:
		return point{total: math.NaN()}
	case h.feed.Rule.Kind == rule.ErrorRate, h.feed.Rule.Kind == rule.LogRatio:
		return point{n.Bad, n.Total}
	}
	return point{n.Value, n.Samples}
}

// trim forgets what no slot from first on needs, if that is much.
func (h *history) trim(p *Plan, first int64) {
	g := h.grid()
	cut := (h.end(p, first) - h.reach - h.reach%g - h.from) / g
	if cut*g < h.reach/4+day/24 {
		return
	}
	h.from += cut * g
	for key, l := range h.lines {
		l.points = slices.Clone(l.points[cut:])
		if !slices.ContainsFunc(l.points, func(p point) bool { return p.total > 0 || p.value != 0 }) {
			delete(h.lines, key)
		}
	}
}

// at is the point of a time; one without data where it is not known.
func (h *history) at(l *line, t int64) point {
	if i := (t-h.from)/h.grid() - 1; t > h.from && i < int64(len(l.points)) {
		return l.points[i]
	}
	return point{total: math.NaN()}
}

// fill brings the histories of asks up to date, by one read for all of them at a time. The tables of
// those that it does not finish are pending.
func (r *Reader) fill(ctx context.Context, asks []Ask, tables []Table) error {
	deadline := time.Now().Add(historyBudget)
	for {
		var parts []Ask
		var of []int
		var to []*history
		for i, a := range asks {
			if tables[i].Err != nil {
				continue
			}
			for _, h := range a.Plan.histories {
				if part, ok := h.next(a.Plan, a.First, a.last()); ok {
					parts, of, to = append(parts, part), append(of, i), append(to, h)
				}
			}
		}
		if len(parts) == 0 {
			return nil
		}
		if time.Now().After(deadline) && !r.Patient {
			for _, i := range of {
				tables[i].Pending = true
			}
			return nil
		}
		found, err := r.read(ctx, parts)
		if err != nil {
			return err
		}
		for k := range parts {
			if err := found[k].Err; err != nil {
				tables[of[k]].Err = err
			} else if err := to[k].add(&found[k]); err != nil {
				tables[of[k]].Err = err
			}
		}
	}
}

// remembered are the rows of a rule that is judged by its history.
func (p *Plan) remembered(a Ask, w *witnesses) []Row {
	h := p.histories[0]
	defer h.trim(p, a.First)
	var rows []Row
	for key, l := range h.lines {
		row := Row{Key: key, Values: l.values, Judged: make([][]rule.Observation, a.Slots)}
		var judge func(end int64) []rule.Observation
		switch p.Rule.Kind {
		case rule.SLOBurn:
			judge = p.burns(h, key, l, w)
		case rule.Forecasted:
			judge = p.forecasts(h, key, l)
		default:
			judge = p.unusual(h, l)
		}
		for i := range row.Judged {
			row.Judged[i] = judge(h.end(p, a.First+int64(i)*p.interval))
		}
		rows = append(rows, row)
	}
	return byKey(rows)
}

func (p *Plan) burns(h *history, key string, l *line, w *witnesses) func(end int64) []rule.Observation {
	minutes := make([]rule.MinuteCount, len(l.points))
	for i, one := range l.points {
		if one.total > 0 {
			minutes[i] = rule.MinuteCount{Bad: one.value, Total: one.total}
		}
	}
	series := rule.NewMinuteSeries(h.from, minutes)
	return func(end int64) []rule.Observation {
		out := make([]rule.Observation, len(p.machines))
		users := -1
		if p.Rule.Few(series, end) {
			users = w.count(key, l.values, end)
		}
		for i := range out {
			b := p.Rule.Burn(i, series, end, users)
			out[i] = rule.Observation{Verdict: b.Verdict, Value: b.Rate}
		}
		return out
	}
}

func (p *Plan) forecasts(h *history, key string, l *line) func(end int64) []rule.Observation {
	var points []rule.Point
	for i, one := range l.points {
		if one.total > 0 {
			points = append(points, rule.Point{Time: h.from + int64(i+1)*h.grid(), Value: one.value})
		}
	}
	return func(end int64) []rule.Observation {
		n, _ := slices.BinarySearchFunc(points, end, func(p rule.Point, t int64) int {
			if p.Time <= t {
				return -1
			}
			return 1
		})
		outlook := rule.Forecast(points[:n], p.capacity(key, end), end, p.Rule.MinSamples, p.bytes())
		out := make([]rule.Observation, len(p.machines))
		for i, level := range p.Rule.Levels {
			if out[i] = outlook.Verdict(level.Severity); n == 0 || end-points[n-1].Time > halfHour {
				out[i].Verdict = rule.None
			}
		}
		return out
	}
}

// capacity is what is there to be used by a group: the newest of the last hour.
func (p *Plan) capacity(key string, end int64) float64 {
	if p.Rule.Forecast == nil {
		return 0
	}
	if len(p.histories) == 1 {
		return p.Rule.Forecast.Capacity
	}
	h := p.histories[1]
	l := h.lines[key]
	if l == nil {
		return 0
	}
	for t := end; t > end-2*halfHour; t -= h.grid() {
		if one := h.at(l, t); one.total > 0 {
			return one.value
		}
	}
	return 0
}

func (p *Plan) bytes() bool {
	q := p.Rule.Query
	return q.Unit == "By" || containsAny(q.Metric, "bytes", "memory.usage", "filesystem.usage")
}

func (p *Plan) unusual(h *history, l *line) func(end int64) []rule.Observation {
	var earlier []float64
	return func(end int64) []rule.Observation {
		earlier = earlier[:0]
		weeks := 0
		for back := int64(1); back <= weeksBack; back++ {
			before := len(earlier)
			for t := end - back*week - halfHour; t <= end-back*week+halfHour; t += h.grid() {
				if one := h.at(l, t); one.total > 0 {
					earlier = append(earlier, one.value)
				}
			}
			if len(earlier)-before >= minHourPoints {
				weeks++
			}
		}
		o := rule.Observation{Verdict: rule.Insufficient}
		if now := h.at(l, end); !(now.total > 0) {
			o.Verdict = rule.None
		} else if weeks >= p.Rule.MinSamples {
			o = rule.Unusual(now.value, earlier, 1, p.Rule.Query.MinAbs)
		}
		out := make([]rule.Observation, len(p.machines))
		for i := range out {
			out[i] = o
		}
		return out
	}
}
