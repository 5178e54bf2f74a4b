package rehearse

import (
	"strconv"

	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/rule"
)

// The variants of the heat map: shares of the threshold and of the hold.
var (
	thresholdShares = [...]float64{0.8, 0.9, 1, 1.1, 1.2}
	holdShares      = [...]float64{0.5, 1, 1.5, 2, 3}
)

const variants = len(thresholdShares) * len(holdShares)

// heatMap counts the triggers of the worst level with other limits. It steps all variants of a group
// beside each other through the numbers that are there anyway.
type heatMap struct {
	plan     *evaluate.Plan // with a level for each threshold; nil where the kind has limits of its own
	machines [variants]rule.Machine
	states   map[string]*[variants]rule.State
	values   []float64
	pages    [variants]int
	events   []rule.Event
}

func newHeat(p *evaluate.Plan) *heatMap {
	h := &heatMap{states: map[string]*[variants]rule.State{}}
	h.plan, h.values = p.Scaled(thresholdShares[:])
	if h.plan == nil {
		return h
	}
	m := p.Rule.Machine(0)
	for t := range thresholdShares {
		for k, share := range holdShares {
			variant := m
			variant.For = int64(share * float64(m.For))
			h.machines[t*len(holdShares)+k] = variant
		}
	}
	return h
}

func (h *heatMap) add(t *evaluate.Table) {
	if h.plan == nil {
		return
	}
	interval := int64(h.plan.Rule.Interval)
	var verdicts []rule.Observation
	for r := range t.Rows {
		row := &t.Rows[r]
		states := h.states[row.Key]
		if states == nil {
			states = new([variants]rule.State)
			h.states[row.Key] = states
		}
		for slot := range t.Slots {
			verdicts = h.plan.Verdicts(row, slot, verdicts[:0])
			for v := range variants {
				if quiet(&h.machines[v], &states[v], verdicts[v/len(holdShares)].Verdict) {
					continue
				}
				h.events = rule.Step(&h.machines[v], &states[v], verdicts[v/len(holdShares)], t.First+int64(slot)*interval, h.events[:0])
				for _, e := range h.events {
					if e.Kind.Trigger() {
						h.pages[v]++
					}
				}
			}
		}
	}
}

// quiet reports whether a step would change nothing: most of the time all is well and was so before.
func quiet(m *rule.Machine, s *rule.State, v rule.Verdict) bool {
	return v == rule.OK && s.Status == rule.StatusOK && m.Share == 0 && s.SilentSince == 0 && !s.NoData && s.NoDataSince == 0
}

func (h *heatMap) result() Heat {
	out := Heat{Thresholds: []float64{}, Holds: []int64{}, Pages: [][]int{}}
	if h.plan == nil {
		return out
	}
	for t, value := range h.values {
		out.Thresholds = append(out.Thresholds, rounded(value))
		out.Pages = append(out.Pages, append([]int(nil), h.pages[t*len(holdShares):(t+1)*len(holdShares)]...))
	}
	for k := range holdShares {
		out.Holds = append(out.Holds, h.machines[k].For)
	}
	return out
}

// rounded is a limit without what multiplication has left behind it: 0.04 and not 0.04000000000000001.
func rounded(v float64) float64 {
	const digits = 12
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v
	}
	return r
}
