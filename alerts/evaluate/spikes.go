package evaluate

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	spikeDays = 28
	// maxHot is how many issues are compared with their past in one read; the rest is not as bad.
	maxHot = 20
	// hotShare of the least number of events makes an issue worth a look at its past.
	hotShare = 0.5
	// maxBuckets is how many buckets one read has.
	maxBuckets = 90_000
)

// spikes judges the issues of a project that happen often by how often they used to, at the same time
// of earlier days.
func (r *Reader) spikes(ctx context.Context, a Ask) ([]Row, error) {
	p := a.Plan
	from, to := a.span()
	groups, err := r.errorCounts(ctx, p, from, to, 0)
	if err != nil {
		return nil, err
	}
	least := hotShare * float64(p.Rule.MinSamples)
	rows := countRows(a, from, groups)
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(peak(b), peak(a)) })
	for i := range rows {
		row := &rows[i]
		var past []count // of the issue, where it may matter
		if i < maxHot && peak(*row) >= least {
			issue, err := strconv.ParseUint(row.Key, 10, 64)
			if err != nil {
				return nil, &telemetry.InvalidError{Message: "an issue has no number"}
			}
			counts, err := r.errorCounts(ctx, p, from-spikeDays*day, to, issue)
			if err != nil {
				return nil, err
			}
			past = counts[row.Key]
		}
		row.Judged = make([][]rule.Observation, a.Slots)
		for slot := range row.Judged {
			o := rule.Observation{Verdict: rule.OK, Value: row.Numbers[slot].Value}
			switch {
			case o.Value == 0:
				o.Verdict = rule.None
			case o.Value >= least:
				end := a.First + int64(slot)*p.interval - p.delay
				o = rule.Spike(o.Value, earlier(past, from-spikeDays*day, end, p), p.Rule.MinSamples)
			}
			row.Judged[slot] = slices.Repeat([]rule.Observation{o}, len(p.machines))
		}
	}
	return byKey(rows), nil
}

func peak(row Row) float64 {
	most := 0.0
	for _, n := range row.Numbers {
		most = max(most, n.Value)
	}
	return most
}

// earlier are the counts of a window on the days before, since the first event that is known.
func earlier(events []count, past, end int64, p *Plan) []float64 {
	var out []float64
	if len(events) == 0 {
		return nil
	}
	born := past + events[0].n*p.step
	for back := int64(1); back <= spikeDays; back++ {
		to := end - back*day
		if to-p.window < born {
			break
		}
		first, _ := slices.BinarySearchFunc(events, (to-p.window-past)/p.step, func(c count, n int64) int { return cmp.Compare(c.n, n) })
		out = append(out, countIn(events[first:], (to-p.window-past)/p.step, (to-past)/p.step).Value)
	}
	return out
}

// errorCounts counts events by issue, of one issue or of all if it is 0, in buckets from a time on.
func (r *Reader) errorCounts(ctx context.Context, p *Plan, from, to int64, issue uint64) (map[string][]count, error) {
	groups := map[string][]count{}
	ask := telemetry.ErrorCountsAsk{Step: time.Duration(p.step) * time.Second, By: telemetry.ByIssue, Issue: issue, Environment: p.Rule.Environment}
	for begin := from; begin < to; begin += maxBuckets * p.step {
		sc, err := r.scope(begin, min(to, begin+maxBuckets*p.step))
		if err != nil {
			return nil, err
		}
		before := (begin - from) / p.step
		err = r.store.ErrorCounts(ctx, sc, ask, func(n int, group string, events, _ int64) error {
			if len(groups) > maxGroups {
				return &telemetry.LimitError{Limit: "groups"}
			}
			groups[group] = append(groups[group], count{n: before + int64(n), total: float64(events), bad: float64(events)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return groups, nil
}
