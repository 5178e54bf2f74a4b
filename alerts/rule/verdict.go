package rule

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Limit is a level's pair of bounds, parsed.
type Limit struct{ Fire, Recover Bound }

// ParseLimit reads the bounds of a level.
func ParseLimit(l Level) (Limit, error) {
	fire, err := ParseBound(l.Fire)
	if err != nil {
		return Limit{}, fmt.Errorf("read fire: %w", err)
	}
	if l.Recover == "" {
		return Limit{Fire: fire}, nil
	}
	back, err := ParseBound(l.Recover)
	if err != nil {
		return Limit{}, fmt.Errorf("read recover: %w", err)
	}
	return Limit{fire, back}, nil
}

// Verdict compares a value: bad if it fires, good if it recovers or nothing is said about recovery,
// else grey.
func (l Limit) Verdict(v float64) Verdict {
	switch {
	case math.IsNaN(v):
		return None
	case l.Fire.Holds(v):
		return Breach
	case l.Recover.Op == 0 || l.Recover.Holds(v):
		return OK
	}
	return Grey
}

// Judge makes verdicts of numbers for all levels of a rule.
type Judge struct {
	Limits             []Limit
	MinSamples, MinBad float64
}

// Judge parses the rule's limits once. The rule has its defaults.
func (r Rule) Judge() (Judge, error) {
	j := Judge{MinSamples: float64(r.MinSamples), MinBad: float64(r.MinBad)}
	for i, l := range r.Levels {
		limit, err := ParseLimit(l)
		if err != nil {
			return Judge{}, fmt.Errorf("level %d: %w", i, err)
		}
		j.Limits = append(j.Limits, limit)
	}
	return j, nil
}

// Number appends an observation for each level of an aggregate of so many samples: none without
// samples, insufficient with too few.
func (j *Judge) Number(value, samples float64, out []Observation) []Observation {
	for _, l := range j.Limits {
		v := l.Verdict(value)
		switch {
		case samples <= 0:
			v = None
		case samples < j.MinSamples:
			v = Insufficient
		}
		out = append(out, Observation{v, value})
	}
	return out
}

// Ratio appends an observation for each level of bad out of total. A share that fires on fewer than
// MinBad is insufficient; a good one is good however few were bad.
func (j *Judge) Ratio(bad, total float64, out []Observation) []Observation {
	if total <= 0 {
		return j.Number(0, 0, out)
	}
	from := len(out)
	out = j.Number(bad/total, total, out)
	for i := range out[from:] {
		if o := &out[from+i]; o.Verdict == Breach && bad < j.MinBad {
			o.Verdict = Insufficient
		}
	}
	return out
}

// Count appends an observation for each level of a number of which nothing means zero.
func (j *Judge) Count(n float64, out []Observation) []Observation {
	for _, l := range j.Limits {
		out = append(out, Observation{l.Verdict(n), n})
	}
	return out
}

// Late is what a verdict of level i is worth while data are still arriving: they can hide a breach
// but not invent one where more data only add to the value, and they can invent an absence or a
// ratio. So a breach by presence stands, and everything else is held.
func (r Rule) Late(i int, v Verdict) Verdict {
	if v == Failed || v == Breach && r.presence(i) {
		return v
	}
	return Held
}

func (r Rule) presence(i int) bool {
	switch r.Kind {
	case LogMatch, Uptime, TLSExpiry, IssueNew, IssueRegression, IssueSpike, External:
		limit, err := ParseBound(r.Levels[i].Fire)
		return err != nil || limit.Op.Up()
	case Threshold:
		limit, err := ParseBound(r.Levels[i].Fire)
		if err != nil {
			return false
		}
		switch r.Query.Aggregate {
		case "max", "count", "increase", "rate":
			return limit.Op.Up()
		case "min":
			return !limit.Op.Up()
		}
	}
	return false
}

// Region is what one region says of a probe at a slot. Blind says that all of the region's probes
// fail, of which it has several: see BlindRegion.
type Region struct{ Failed, Blind bool }

// BlindRegion says whether a region that fails so many of its probes rather has a problem itself.
func BlindRegion(failing, probes int) bool { return probes >= 3 && failing == probes }

// Reach judges a probe by the regions that answered: k of them have to see it fail, or all there
// are. A blind region is left out unless every region is: then the trouble is not the regions'.
// atLeast is how many have to answer. The value is the number of failing regions.
func Reach(answers []Region, regions, k, atLeast int) Observation {
	allBlind := !slices.ContainsFunc(answers, func(r Region) bool { return !r.Blind })
	answering, failing := 0, 0
	for _, r := range answers {
		if r.Blind && !allBlind {
			continue
		}
		answering++
		if r.Failed {
			failing++
		}
	}
	o := Observation{OK, float64(failing)}
	switch {
	case answering == 0:
		o.Verdict = None
	case failing >= min(max(k, 1), max(regions, 1)):
		o.Verdict = Breach
	case answering < min(atLeast, regions):
		o.Verdict = Insufficient
	}
	return o
}

// Certificate is what a probe saw of one.
type Certificate struct {
	Remaining, Lifetime Duration
	// Valid says that its chain and name convince a browser. Stale says that a newer one exists which
	// is not served.
	Valid, Stale bool
}

// TLS judges a certificate for a level's severity by the share of its life that is left, because
// lifetimes shrink. Renewal is due with a third left, so a quarter is a broken renewal. working says
// that it is working time, when a page for tomorrow's trouble is welcome. Certificates that live for
// days have their last hours scaled. One that is not valid is an error to users now, however much is left.
// The value is the seconds until then: 0 for one that is not valid, negative once it has expired.
func TLS(c Certificate, severity Severity, working bool) Observation {
	o := Observation{OK, float64(c.Remaining)}
	if !c.Valid {
		o.Value = min(o.Value, 0)
	}
	last := min(Day, c.Lifetime/16)
	soon := max(c.Lifetime/10, min(2*Day, c.Lifetime/8))
	switch {
	case !c.Valid, c.Remaining <= last:
		o.Verdict = Breach
	case severity == Page:
		if working && c.Remaining <= soon {
			o.Verdict = Breach
		} else if c.Remaining <= soon {
			o.Verdict = Grey // at night: neither new evidence nor the end of it
		}
	case c.Remaining <= c.Lifetime/4, c.Stale:
		o.Verdict = Breach
	}
	return o
}

// Gone judges a series or heartbeat by its newest sample: nothing in the window before end is bad. One
// that was never seen cannot be gone. The value is its age in seconds.
func Gone(newest, end int64, window Duration) Observation {
	if newest <= 0 {
		return Observation{Insufficient, 0}
	}
	age := max(end-newest, 0)
	if age >= int64(window) {
		return Observation{Breach, float64(age)}
	}
	return Observation{OK, float64(age)}
}

// Verdict says whether so many events of so many users are worth telling; a nil query asks for one
// event. The value is the number of events.
func (q *IssueQuery) Verdict(events, users int) Observation {
	need, people := 1, 0
	if q != nil {
		need, people = max(q.Events, 1), q.Users
	}
	if events >= need && users >= people {
		return Observation{Breach, float64(events)}
	}
	return Observation{OK, float64(events)}
}

// Limits of what is unusual.
const (
	unusual    = 5.0 // robust deviations
	usual      = 3.0
	enough     = 1000.0
	spikeTimes = 5.0
	spikeDays  = 8
	spikeCalm  = 0.6 // of the limit
)

// Unusual judges x against the same hour of earlier weeks: the distance from their median in robust
// deviations (median absolute deviation), at least 5 of them and at least minAbs. weeks is how many
// have to be known. The value is the number of deviations.
func Unusual(x float64, history []float64, weeks int, minAbs float64) Observation {
	if math.IsNaN(x) {
		return Observation{None, 0}
	}
	if len(history) < max(weeks, 1) {
		return Observation{Insufficient, 0}
	}
	middle := median(history)
	away := make([]float64, len(history))
	for i, h := range history {
		away[i] = math.Abs(h - middle)
	}
	distance := math.Abs(x - middle)
	// Weeks that are all alike do not make the smallest change a miracle.
	spread := max(1.4826*median(away), 0.01*math.Abs(middle))
	z := 0.0
	if distance > 0 {
		z = min(distance/spread, enough)
	}
	switch {
	case z >= unusual && distance >= minAbs:
		return Observation{Breach, z}
	case z >= usual && distance >= minAbs:
		return Observation{Grey, z}
	}
	return Observation{OK, z}
}

// Spike judges the events of an issue in five minutes against the same five minutes of earlier days:
// five times their median, and at least atLeast. The value is the count.
func Spike(count float64, earlier []float64, atLeast int) Observation {
	if len(earlier) < spikeDays {
		return Observation{Insufficient, count}
	}
	limit := max(float64(atLeast), spikeTimes*median(earlier))
	switch {
	case count >= limit:
		return Observation{Breach, count}
	case count >= spikeCalm*limit:
		return Observation{Grey, count}
	}
	return Observation{OK, count}
}

// median is the middle of values, which stay as they are; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return v[n/2-1]/2 + v[n/2]/2
	}
	return v[len(v)/2]
}

// Missing steps an instance whose group is absent while others answer, all its levels. If what the
// group names has ended, the instance is frozen, and over with the second such slot; else the rule's policy for
// no data holds, and what is frozen closes unconfirmed after closeAfter (Rule.MissingGroupClose).
func Missing(m []Machine, s []State, ended bool, closeAfter Duration, slot int64, out []Event) []Event {
	if ended {
		// The absence of what has ended is neither good nor bad.
		m = slices.Clone(m)
		for i := range s {
			m[i].NoData = NoDataKeep
			if since := s[i].NoDataSince; since > 0 && slot-since >= m[i].Interval {
				return Remove(s, EntityGone, slot, out)
			}
		}
	}
	o := make([]Observation, len(m))
	for i := range o {
		o[i] = Observation{None, s[i].Value}
	}
	out = StepLevels(m, s, o, slot, out)
	if ended {
		return out
	}
	for i := range s {
		silent := slot - s[i].NoDataSince
		switch {
		case s[i].NoDataSince == 0: // the slot was stepped before, with data
		case m[i].NoData == NoDataKeep && silent >= int64(closeAfter):
			return Remove(s, DataGone, slot, out)
		}
	}
	return out
}

// Forgettable says whether the state of a group may be dropped: it is well, and nothing that it
// remembers matters at the slot any more.
func Forgettable(m *Machine, s *State, slot int64) bool {
	if s.Status.Open() || s.Status == Pending || s.NoData || s.Error {
		return false
	}
	memory := max(m.Reopen, m.FlapWindow, m.RecurWindow, int64(recurEvery))
	newest := max(s.ResolvedAt, s.RecurredAt)
	if n := s.Transients.N; n > 0 {
		newest = max(newest, s.Transients.At[n-1])
	}
	return slot-newest >= memory
}

// Overflow is the key of the instance that stands for the groups for which there is no room.
const Overflow = "__overflow__"

// Candidate is a group of a rule that has more of them than it may follow.
type Candidate struct {
	Key    string
	Value  float64
	Breach bool
	Status Status
}

// Admission is which groups are stepped, and what overflows.
type Admission struct {
	// Keep are indices of candidates, the most important first.
	Keep []int
	// Overflowing bad groups are not stepped; Examples are the worst five.
	Overflowing int
	Examples    []string
}

// Observation is that of the instance Overflow.
func (a Admission) Observation() Observation {
	if a.Overflowing > 0 {
		return Observation{Breach, float64(a.Overflowing)}
	}
	return Observation{OK, 0}
}

// Admit chooses the groups that a rule follows: those that are open always, then those with evidence,
// then the worst, up to limits.Tracked; no more than limits.Open may be or become open.
func Admit(groups []Candidate, limits Limits, lowIsBad bool) Admission {
	order := make([]int, len(groups))
	for i := range order {
		order[i] = i
	}
	class := func(g Candidate) int {
		switch {
		case g.Status.Open():
			return 0
		case g.Status == Pending:
			return 1
		case g.Breach:
			return 2
		}
		return 3
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := groups[i], groups[j]
		worse := cmp.Compare(b.Value, a.Value)
		if lowIsBad {
			worse = -worse
		}
		return cmp.Or(cmp.Compare(class(a), class(b)), worse, cmp.Compare(a.Key, b.Key))
	})
	var a Admission
	hot := 0
	for _, i := range order {
		g := groups[i]
		c := class(g)
		room := len(a.Keep) < limits.Tracked && (c == 3 || hot < limits.Open)
		if c == 0 || room {
			a.Keep = append(a.Keep, i)
			if c < 3 {
				hot++
			}
			continue
		}
		if g.Breach {
			a.Overflowing++
			if len(a.Examples) < 5 {
				a.Examples = append(a.Examples, g.Key)
			}
		}
	}
	return a
}
