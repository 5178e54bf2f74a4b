package rule

// MinuteCount is what happened in one minute.
type MinuteCount struct{ Bad, Total float64 }

// MinuteSeries holds counts of consecutive minutes so that the sum over any of them costs two
// look-ups: all windows of all rules on one objective share one read.
type MinuteSeries struct {
	start int64 // Unix seconds of the first minute
	sums  []MinuteCount
}

// NewMinuteSeries is the series of the minutes from start (Unix seconds, on a minute) on. The
// minutes have to be complete: what is still arriving is left out.
func NewMinuteSeries(start int64, minutes []MinuteCount) *MinuteSeries {
	s := &MinuteSeries{start: start - start%60, sums: make([]MinuteCount, 1, len(minutes)+1)}
	for _, m := range minutes {
		s.Add(m)
	}
	return s
}

// Add appends the next minute.
func (s *MinuteSeries) Add(m MinuteCount) {
	last := s.sums[len(s.sums)-1]
	s.sums = append(s.sums, MinuteCount{last.Bad + m.Bad, last.Total + m.Total})
}

// End is when the last minute ended.
func (s *MinuteSeries) End() int64 { return s.start + int64(len(s.sums)-1)*60 }

// Window sums the minutes of the window before end; those outside of the series count as empty.
func (s *MinuteSeries) Window(end int64, window Duration) MinuteCount {
	at := func(t int64) MinuteCount {
		i := (t - s.start) / 60
		return s.sums[min(max(i, 0), int64(len(s.sums)-1))]
	}
	from, to := at(end-int64(window)), at(end)
	return MinuteCount{to.Bad - from.Bad, to.Total - from.Total}
}

// burnPair is a pair of windows of the SRE workbook (chapter 5, table 5-8) and the share of the
// budget that may be spent in the long one.
type burnPair struct {
	severity    Severity
	long, short Duration
	share       float64
}

var burnPairs = [...]burnPair{
	{Page, Hour, 5 * Minute, 0.02},
	{Page, 6 * Hour, 30 * Minute, 0.05},
	{Ticket, 3 * Day, 6 * Hour, 0.10},
}

// The fallback for objectives with little traffic: so many failures of so many users in a window are
// a ticket.
const (
	fewBad   = 5
	fewUsers = 2
	// FewWindow is that window.
	FewWindow = 30 * Minute
)

// Few reports whether an objective has little traffic at end, of which so much failed that it counts how
// many users saw it. It is the only case in which Burn looks at them.
func (r Rule) Few(s *MinuteSeries, end int64) bool {
	end -= end % 60
	return s.End() >= end && s.Window(end, Hour).Total < float64(r.MinSamples) && s.Window(end, FewWindow).Bad >= fewBad
}

// Burn is what an objective's windows say for one severity.
type Burn struct {
	Verdict Verdict
	// Rate is how many times faster than allowed the budget is spent over Long, the window of the pair
	// that is nearest to its limit, and Limit that limit.
	Rate, Limit float64
	Long        Duration
	// LowTraffic says that the fallback has judged.
	LowTraffic bool
}

// Burn judges the rule's objective for level i at end, the slot less its delay, floored to a minute.
// users is how many users saw failures in the last 30 minutes, negative if nothing tells: then the
// failures alone count, since not to know who saw them is no sign that it was one person. A series that
// does not reach end is incomplete: held.
func (r Rule) Burn(i int, s *MinuteSeries, end int64, users int) Burn {
	end -= end % 60
	if s.End() < end {
		return Burn{Verdict: Held}
	}
	severity := r.Levels[i].Severity
	var worst Burn
	for _, p := range burnPairs {
		if p.severity != severity {
			continue
		}
		b := r.burn(p, s, end)
		if worst.Long == 0 || graver(b, worst) {
			worst = b
		}
	}
	if severity == Ticket && r.Few(s, end) && (users < 0 || users >= fewUsers) {
		worst.Verdict, worst.LowTraffic = Breach, true
	}
	return worst
}

// graver orders two burns: by what their verdicts force, then by how near they are to their limits.
func graver(a, b Burn) bool {
	order := func(v Verdict) int {
		switch v {
		case Breach:
			return 4
		case Grey:
			return 3
		case OK:
			return 2
		case Insufficient:
			return 1
		}
		return 0
	}
	if order(a.Verdict) != order(b.Verdict) {
		return order(a.Verdict) > order(b.Verdict)
	}
	return a.Rate*b.Limit > b.Rate*a.Limit
}

// burn judges one pair. The budget has to burn over the long window, over the short one, and now. For
// the fast pair now is one slot: an outage that has ended is not burning. For a slow pair one slot is
// too noisy, so now is a sixth of the short window; but a sixth of 30 minutes still remembers an
// outage that is over, long enough to page after a total one of three minutes. So a slow pair whose
// last slot does not burn as fast is grey: not evidence, and not recovery.
func (r Rule) burn(p burnPair, s *MinuteSeries, end int64) Burn {
	budget := 1 - r.SLO.Target
	rate := func(c MinuteCount) float64 {
		if c.Total <= 0 {
			return 0
		}
		return c.Bad / c.Total / budget
	}
	slot := max(r.Interval, Minute)
	fast := p.long == Hour
	now := slot
	if !fast {
		now = max(p.short/6, slot)
	}
	long := s.Window(end, p.long)
	b := Burn{Verdict: OK, Rate: rate(long), Limit: p.share * float64(r.SLO.Period) / float64(p.long), Long: p.long}
	if long.Total <= 0 {
		b.Verdict = None
		return b
	}
	if long.Total < float64(r.MinSamples) {
		b.Verdict = Insufficient
		return b
	}
	// A rate of exactly the limit burns; the sums of many minutes carry rounding.
	limit := b.Limit * (1 - 1e-9)
	if b.Rate < limit || rate(s.Window(end, p.short)) < limit || rate(s.Window(end, now)) < limit {
		return b
	}
	switch {
	case long.Bad < float64(r.MinBad):
		b.Verdict = Insufficient // few failures of few requests burn fast and mean little
	case !fast && rate(s.Window(end, slot)) < limit:
		b.Verdict = Grey
	default:
		b.Verdict = Breach
	}
	return b
}
