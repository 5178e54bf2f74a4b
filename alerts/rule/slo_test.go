package rule

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// objective is the rule of the vectors: 99.9 % in 30 days.
func objective() Rule {
	return Rule{
		ID: "slo", Name: "SLO", Kind: SLOBurn, Service: "shop", SLO: &SLO{Target: 0.999},
		Levels: []Level{{Severity: Page}, {Severity: Ticket}},
	}.WithDefaults()
}

// burnRun evaluates one level minute by minute: minutes(t) is what happens in minute t after the
// start, before which there were quiet days. It returns the minutes at which a trigger came.
func burnRun(r Rule, level int, quiet MinuteCount, length int, minutes func(t int) MinuteCount) []int {
	before := make([]MinuteCount, 3*24*60)
	for i := range before {
		before[i] = quiet
	}
	s := NewMinuteSeries(base, before)
	start := s.End()
	m := r.Machine(level)
	var state State
	var events []Event
	var at []int
	for t := 1; t <= length; t++ {
		s.Add(minutes(t - 1))
		slot := start + int64(t)*60
		b := r.Burn(level, s, slot, -1)
		events = Step(&m, &state, Observation{b.Verdict, b.Rate}, slot, events[:0])
		for _, e := range events {
			if e.Kind.Trigger() {
				at = append(at, t)
			}
		}
	}
	return at
}

func TestAnObjectiveFollowsItsVectors(t *testing.T) {
	const requests = 1000
	outage := func(minutes int, share float64) func(int) MinuteCount {
		return func(t int) MinuteCount {
			if t < minutes {
				return MinuteCount{share * requests, requests}
			}
			return MinuteCount{0, requests}
		}
	}
	const steady = math.MaxInt
	for _, c := range []struct {
		name    string
		level   int
		minutes int
		share   float64
		want    int // the minute of the first trigger; 0 is none
	}{
		{"S 1 min", 0, 1, 1, 0},
		{"S 2 min", 0, 2, 1, 0},
		{"S 3 min", 0, 3, 1, 0},
		{"S 4 min", 0, 4, 1, 4},
		{"S 10 min", 0, 10, 1, 4},
		{"S steady 50 %", 0, steady, 0.5, 5},
		{"S steady 10 %", 0, steady, 0.1, 12},
		{"S steady 5 %", 0, steady, 0.05, 21},
		{"S steady 2 %", 0, steady, 0.02, 47},
		{"S steady 1 %", 0, steady, 0.01, 219},
		{"S 10 min of 5 %", 0, 10, 0.05, 0},
		{"S steady 0.2 %", 0, steady, 0.002, 0},
		{"S steady 0.2 % ticket", 1, steady, 0.002, 2163},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := burnRun(objective(), c.level, MinuteCount{0, requests}, 2400, outage(c.minutes, c.share))
			if c.want == 0 && len(got) > 0 || c.want > 0 && (len(got) == 0 || got[0] != c.want) {
				t.Errorf("triggers at %v, want %d", got, c.want)
			}
		})
	}
}

// poisson draws a number of requests.
func poisson(r *rand.Rand, mean float64) float64 {
	if mean > 30 {
		return max(0, math.Round(mean+math.Sqrt(mean)*r.NormFloat64()))
	}
	limit, p, n := math.Exp(-mean), r.Float64(), 0.0
	for p > limit {
		p *= r.Float64()
		n++
	}
	return n
}

func randomMinute(r *rand.Rand, mean, share float64) MinuteCount {
	bad := poisson(r, mean*share)
	return MinuteCount{bad, bad + poisson(r, mean*(1-share))}
}

func TestAnObjectiveUnderRandomTrafficPagesInTime(t *testing.T) {
	const runs = 60
	for _, c := range []struct {
		mean, share float64
		median, p95 int // minutes to page, as measured for the design
	}{
		{20, 0.05, 29, 58},
		{20, 0.2, 8, 10},
		{60, 0.02, 55, 83},
		{60, 0.05, 21, 25},
		{300, 0.02, 51, 66},
	} {
		r := rand.New(rand.NewPCG(uint64(c.mean), 7))
		var at []int
		for range runs {
			got := burnRun(objective(), 0, MinuteCount{0.0002 * c.mean, c.mean}, 480, func(int) MinuteCount {
				return randomMinute(r, c.mean, c.share)
			})
			if len(got) == 0 {
				t.Errorf("%v/min at %v: never paged", c.mean, c.share)
				continue
			}
			at = append(at, got[0])
		}
		slices.Sort(at)
		median, p95 := at[len(at)/2], at[len(at)*95/100]
		t.Logf("%v/min at %v: median %d (%d), p95 %d (%d)", c.mean, c.share, median, c.median, p95, c.p95)
		if float64(median) > 1.4*float64(c.median) || float64(p95) > 1.6*float64(c.p95) || float64(median) < 0.6*float64(c.median) {
			t.Errorf("%v/min at %v: median %d, p95 %d; measured before: %d, %d", c.mean, c.share, median, p95, c.median, c.p95)
		}
	}
}

func TestATotalOutageUnderRandomTrafficPagesFromFourMinutesOn(t *testing.T) {
	const runs = 40
	r := rand.New(rand.NewPCG(1, 9))
	for minutes := 1; minutes <= 6; minutes++ {
		pages := 0
		for range runs {
			got := burnRun(objective(), 0, MinuteCount{0.06, 300}, 30, func(t int) MinuteCount {
				share := 0.0002
				if t < minutes {
					share = 1
				}
				return randomMinute(r, 300, share)
			})
			pages += min(len(got), 1)
		}
		if minutes <= 3 && pages > 0 || minutes == 4 && pages < runs-3 || minutes > 4 && pages < runs {
			t.Errorf("%d of %d outages of %d minutes paged", pages, runs, minutes)
		}
	}
}

func TestLittleTrafficIsJudgedByItsFailures(t *testing.T) {
	r := objective()
	series := func(total, bad int) *MinuteSeries {
		minutes := make([]MinuteCount, 3*24*60)
		for i := range total {
			minutes[len(minutes)-1-i].Total = 1
		}
		for i := range bad {
			minutes[len(minutes)-1-i].Bad = 1
		}
		return NewMinuteSeries(base, minutes)
	}
	for _, c := range []struct {
		total, bad, users int
		page, ticket      Verdict
		lowTraffic        bool
	}{
		{0, 0, -1, None, None, false},
		{10, 1, 1, Insufficient, Insufficient, false},
		{10, 4, 4, Insufficient, Insufficient, false},
		{10, 5, 1, Insufficient, Insufficient, false},
		{10, 5, 2, Insufficient, Breach, true},
		{10, 5, -1, Insufficient, Breach, true},
		{60, 9, 9, Insufficient, Insufficient, false}, // 60 requests in the hour, and fewer than 10 bad ones
		{60, 10, 9, Breach, Breach, false},
		{60, 0, 0, OK, OK, false},
	} {
		s := series(c.total, c.bad)
		page, ticket := r.Burn(0, s, s.End(), c.users), r.Burn(1, s, s.End(), c.users)
		if page.Verdict != c.page || ticket.Verdict != c.ticket || ticket.LowTraffic != c.lowTraffic || page.LowTraffic {
			t.Errorf("%+v: page %v, ticket %v %v", c, page.Verdict, ticket.Verdict, ticket.LowTraffic)
		}
	}
}

func TestAnIncompleteSeriesIsHeld(t *testing.T) {
	r := objective()
	s := NewMinuteSeries(base, make([]MinuteCount, 60))
	if b := r.Burn(0, s, s.End()+60, -1); b.Verdict != Held {
		t.Errorf("got %v", b.Verdict)
	}
	if b := r.Burn(0, s, s.End()+59, -1); b.Verdict == Held {
		t.Error("a part of a minute is waited for")
	}
}

func TestLimitsOfOtherPeriodsSpendTheSameShares(t *testing.T) {
	r := objective()
	r.SLO.Period = 7 * Day
	minutes := make([]MinuteCount, 60)
	for i := range minutes {
		minutes[i] = MinuteCount{1, 100}
	}
	s := NewMinuteSeries(base, minutes)
	b := r.Burn(0, s, s.End(), -1)
	if math.Abs(b.Limit-1.4) > 1e-9 || math.Abs(b.Rate-10) > 1e-9 || b.Long != 6*Hour {
		t.Errorf("got %+v", b)
	}
}

func TestAWindowSumsItsMinutesOnly(t *testing.T) {
	s := NewMinuteSeries(base, []MinuteCount{{1, 10}, {2, 20}, {4, 40}})
	for _, c := range []struct {
		end    int64
		window Duration
		want   MinuteCount
	}{
		{base + 180, Minute, MinuteCount{4, 40}},
		{base + 180, Hour, MinuteCount{7, 70}},
		{base + 120, Minute, MinuteCount{2, 20}},
		{base, Hour, MinuteCount{}},
		{base + 600, 8 * Minute, MinuteCount{4, 40}},
	} {
		if got := s.Window(c.end, c.window); got != c.want {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
}

func BenchmarkBurn(b *testing.B) {
	r := objective()
	s := NewMinuteSeries(base, slices.Repeat([]MinuteCount{{1, 1000}}, 3*24*60))
	b.ReportAllocs()
	for b.Loop() {
		r.Burn(0, s, s.End(), -1)
	}
}
