package rehearse

import (
	"cmp"
	"slices"

	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/rule"
)

// chart thins the values of the groups out as they come: the worst value of each stretch.
type chart struct {
	plan     *evaluate.Plan
	from, to int64
	lowIsBad bool
	lines    map[string]*line
}

type line struct {
	name   string
	values [maxPoints]float64
	there  [maxPoints]bool
	worst  float64
}

// maxLines bounds the groups that are followed; of these the worst are shown.
const maxLines = 2000

func newChart(p *evaluate.Plan, from, to int64) *chart {
	return &chart{plan: p, from: from, to: to, lowIsBad: p.Rule.Machine(0).LowIsBad, lines: map[string]*line{}}
}

func (c *chart) add(t *evaluate.Table) {
	interval := int64(c.plan.Rule.Interval)
	var verdicts []rule.Observation
	for r := range t.Rows {
		row := &t.Rows[r]
		l := c.lines[row.Key]
		if l == nil {
			if len(c.lines) >= maxLines {
				continue
			}
			l = &line{name: row.Key}
			c.lines[row.Key] = l
		}
		for slot := range t.Slots {
			verdicts = c.plan.Verdicts(row, slot, verdicts[:0])
			o := verdicts[0]
			if o.Verdict == rule.None {
				continue
			}
			at := t.First + int64(slot)*interval
			i := min(max((at-c.from)*maxPoints/(c.to-c.from), 0), maxPoints-1)
			if !l.there[i] || (o.Value > l.values[i]) != c.lowIsBad {
				l.values[i], l.there[i] = o.Value, true
			}
			if worse := o.Value; c.lowIsBad {
				l.worst = max(l.worst, -worse)
			} else {
				l.worst = max(l.worst, worse)
			}
		}
	}
}

func (c *chart) series() []Series {
	lines := make([]*line, 0, len(c.lines))
	for _, l := range c.lines {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b *line) int { return cmp.Or(cmp.Compare(b.worst, a.worst), cmp.Compare(a.name, b.name)) })
	out := []Series{}
	for _, l := range lines[:min(len(lines), maxSeries)] {
		s := Series{Group: l.name, Points: [][2]float64{}}
		for i, v := range l.values {
			if l.there[i] && v-v == 0 {
				at := c.from + (int64(i)*2+1)*(c.to-c.from)/(2*maxPoints)
				s.Points = append(s.Points, [2]float64{float64(at * 1000), v})
			}
		}
		out = append(out, s)
	}
	return out
}
