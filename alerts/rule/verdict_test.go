package rule

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func letters(list []Observation) string {
	var b strings.Builder
	for _, o := range list {
		b.WriteString(o.Verdict.String())
	}
	return b.String()
}

func judge2(t *testing.T) Judge {
	t.Helper()
	r := checkout()
	r.Levels = append(r.Levels, Level{Fire: "> 0.01", Severity: Ticket})
	j, err := r.WithDefaults().Judge()
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestARatioIsJudgedAtEveryLevel(t *testing.T) {
	j := judge2(t)
	for _, c := range []struct {
		bad, total float64
		want       string
	}{
		{0, 0, "NN"},
		{0, 19, "II"},
		{19, 19, "II"},
		{0, 20, "OO"},
		{5, 100, "BB"},
		{4.999, 100, "GI"},
		{5, 101, "GB"},
		{3, 100, "GI"},
		{30, 1000, "GB"},
		{29, 1000, "OB"},
		{10, 1000, "OO"},
		{4, 20, "II"},
		{5, 20, "BB"},
	} {
		if got := letters(j.Ratio(c.bad, c.total, nil)); got != c.want {
			t.Errorf("%v of %v: %s, want %s", c.bad, c.total, got, c.want)
		}
	}
}

func TestANumberNeedsSamplesAndMustBeOne(t *testing.T) {
	r := hot()
	r.Levels[0].Recover = "< 0.8"
	j, err := r.WithDefaults().Judge()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		value, samples float64
		want           string
	}{
		{1, 0, "N"}, {1, 2, "I"}, {1, 3, "B"}, {0.9, 3, "G"}, {0.8, 3, "G"}, {0.79, 3, "O"}, {math.NaN(), 3, "N"},
	} {
		if got := letters(j.Number(c.value, c.samples, nil)); got != c.want {
			t.Errorf("%v of %v samples: %s, want %s", c.value, c.samples, got, c.want)
		}
	}
	if got := letters(j.Count(0, nil)); got != "O" {
		t.Errorf("a count of nothing: %s", got)
	}
}

func TestLateDataHideABreachAndInventAnAbsence(t *testing.T) {
	threshold := func(aggregate, fire string) Rule {
		return Rule{Kind: Threshold, Query: Query{Metric: "m", Aggregate: aggregate}, Levels: []Level{{Fire: fire}}}
	}
	for _, c := range []struct {
		r    Rule
		want string // of B, G, O, N, I, E, H
	}{
		{threshold("max", "> 1"), "BHHHHEH"},
		{threshold("count", "> 1"), "BHHHHEH"},
		{threshold("max", "< 1"), "HHHHHEH"},
		{threshold("min", "< 1"), "BHHHHEH"},
		{threshold("avg", "> 1"), "HHHHHEH"},
		{threshold("p99", "> 1"), "HHHHHEH"},
		{Rule{Kind: LogMatch, Levels: []Level{{Fire: ">= 1"}}}, "BHHHHEH"},
		{Rule{Kind: LogMatch, Levels: []Level{{Fire: "< 1"}}}, "HHHHHEH"},
		{Rule{Kind: Uptime}, "BHHHHEH"},
		{checkout(), "HHHHHEH"},
		{Rule{Kind: Absence}, "HHHHHEH"},
		{Rule{Kind: Cron}, "HHHHHEH"},
		{objective(), "HHHHHEH"},
		{Rule{Kind: Anomaly}, "HHHHHEH"},
	} {
		r := c.r.WithDefaults()
		var got strings.Builder
		for _, v := range "BGONIEH" {
			got.WriteString(r.Late(0, Verdict(v)).String())
		}
		if got.String() != c.want {
			t.Errorf("%s %s: %s, want %s", r.Kind, r.Query.Aggregate, got.String(), c.want)
		}
	}
}

func TestAProbeIsDownWhenEnoughRegionsSaySo(t *testing.T) {
	good, bad, blind := Region{}, Region{Failed: true}, Region{Failed: true, Blind: true}
	for _, c := range []struct {
		answers    []Region
		regions, k int
		want       string
	}{
		{nil, 3, 2, "N0"},
		{[]Region{good, good, good}, 3, 2, "O0"},
		{[]Region{bad, good, good}, 3, 2, "O1"},
		{[]Region{bad, bad, good}, 3, 2, "B2"},
		{[]Region{bad, blind, good}, 3, 2, "O1"},
		{[]Region{blind, blind, blind}, 3, 2, "B3"},
		{[]Region{bad}, 3, 2, "I1"},
		{[]Region{good}, 3, 2, "I0"},
		{[]Region{bad}, 1, 2, "B1"},
		{[]Region{good}, 1, 2, "O0"},
	} {
		o := Reach(c.answers, c.regions, c.k, 2)
		if got := fmt.Sprintf("%s%v", o.Verdict, o.Value); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if BlindRegion(2, 2) || BlindRegion(2, 3) || !BlindRegion(3, 3) {
		t.Error("a region is blind when all of at least three probes fail")
	}
}

func TestACertificateIsJudgedByTheShareOfItsLife(t *testing.T) {
	year, week := 90*Day, 6*Day
	for _, c := range []struct {
		c       Certificate
		working bool
		want    string // page, ticket
	}{
		{Certificate{30 * Day, year, true, false}, true, "OO"},
		{Certificate{year / 4, year, true, false}, true, "OB"},
		{Certificate{year/4 + 1, year, true, false}, true, "OO"},
		{Certificate{9 * Day, year, true, false}, true, "BB"},
		{Certificate{9 * Day, year, true, false}, false, "GB"},
		{Certificate{Day + 1, year, true, false}, false, "GB"},
		{Certificate{Day, year, true, false}, false, "BB"},
		{Certificate{-Hour, year, true, false}, false, "BB"},
		{Certificate{60 * Day, year, false, false}, false, "BB"},
		{Certificate{60 * Day, year, true, true}, true, "OB"},
		{Certificate{2 * Day, week, true, false}, true, "OO"},
		{Certificate{36 * Hour, week, true, false}, true, "OB"},
		{Certificate{18 * Hour, week, true, false}, true, "BB"},
		{Certificate{9 * Hour, week, true, false}, false, "BB"},
	} {
		got := letters([]Observation{TLS(c.c, Page, c.working), TLS(c.c, Ticket, c.working)})
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.c, got, c.want)
		}
	}
	for c, want := range map[Certificate]string{
		{60 * Day, year, true, false}:   "certificate expires in 60 d",
		{60 * Day, year, false, false}:  "certificate not valid",
		{-3 * Day, year, false, false}:  "certificate expired",
		{-3 * Hour, year, false, false}: "certificate expired",
	} {
		r := Rule{Kind: TLSExpiry, Service: "shop"}
		if got := r.Headline(0, TLS(c, Page, true).Value, base, base); got != "[PAGE] shop: "+want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

func TestWhatWasNeverSeenIsNotGone(t *testing.T) {
	for newest, want := range map[int64]Observation{
		0:          {Insufficient, 0},
		base - 299: {OK, 299},
		base - 300: {Breach, 300},
		base + 5:   {OK, 0},
	} {
		if got := Gone(newest, base, 5*Minute); got != want {
			t.Errorf("%d: %+v", newest, got)
		}
	}
}

func TestTheUnusualIsFarFromTheMedianOfItsHour(t *testing.T) {
	weeks := []float64{100, 110, 90, 105}
	for _, c := range []struct {
		x, minAbs float64
		history   []float64
		want      Verdict
	}{
		{102, 0, weeks, OK},
		{138, 0, weeks, Grey},
		{160, 0, weeks, Breach},
		{40, 0, weeks, Breach},
		{160, 100, weeks, OK},
		{160, 0, weeks[:2], Insufficient},
		{100.5, 0, []float64{100, 100, 100}, OK},
		{106, 0, []float64{100, 100, 100}, Breach},
		{1, 5, []float64{0, 0, 0}, OK},
		{6, 5, []float64{0, 0, 0}, Breach},
		{0, 0, []float64{0, 0, 0}, OK},
		{math.NaN(), 0, weeks, None},
	} {
		if got := Unusual(c.x, c.history, 3, c.minAbs); got.Verdict != c.want || math.IsInf(got.Value, 0) || math.IsNaN(got.Value) {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestASpikeIsFiveTimesTheUsual(t *testing.T) {
	eight := slices.Repeat([]float64{10}, 8)
	for _, c := range []struct {
		count   float64
		earlier []float64
		want    Verdict
	}{
		{50, eight, Breach},
		{49, eight, Grey},
		{29, eight, OK},
		{100, eight[:7], Insufficient},
		{20, make([]float64, 8), Breach},
		{19, make([]float64, 8), Grey},
		{11, make([]float64, 8), OK},
	} {
		if got := Spike(c.count, c.earlier, 20); got.Verdict != c.want || got.Value != c.count {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestAnIssueIsToldOnceItHasEnoughEventsAndUsers(t *testing.T) {
	q := &IssueQuery{Events: 3, Users: 2}
	for _, c := range []struct {
		q             *IssueQuery
		events, users int
		want          Verdict
	}{
		{nil, 1, 0, Breach}, {nil, 0, 0, OK}, {q, 3, 2, Breach}, {q, 2, 2, OK}, {q, 3, 1, OK},
	} {
		if got := c.q.Verdict(c.events, c.users); got.Verdict != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestTheWorstGroupsAreFollowedAndOpenOnesNeverDropped(t *testing.T) {
	var groups []Candidate
	for i := range 10 {
		groups = append(groups, Candidate{Key: fmt.Sprint("g", i), Value: float64(i), Breach: i >= 3})
	}
	groups[0].Status, groups[1].Status = Firing, Pending
	a := Admit(groups, Limits{Open: 4, Tracked: 5}, false)
	want := Admission{Keep: []int{0, 1, 9, 8, 2}, Overflowing: 5, Examples: []string{"g7", "g6", "g5", "g4", "g3"}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	if o := a.Observation(); o.Verdict != Breach || o.Value != 5 {
		t.Errorf("%+v", o)
	}
	low := Admit(groups, Limits{Open: 3, Tracked: 3}, true)
	if diff := cmp.Diff([]int{0, 1, 3}, low.Keep); diff != "" {
		t.Error(diff)
	}
	for i := range groups {
		groups[i].Status = Firing
	}
	if all := Admit(groups, Limits{Open: 2, Tracked: 3}, false); len(all.Keep) != 10 || all.Observation().Verdict != OK {
		t.Errorf("open groups were dropped: %+v", all)
	}
}

func TestALimitThatIsNoneIsRefused(t *testing.T) {
	for _, l := range []Level{{}, {Fire: "5"}, {Fire: "> 5", Recover: "less"}} {
		r := checkout()
		r.Levels = []Level{l}
		if _, err := r.Judge(); err == nil {
			t.Errorf("%+v is read", l)
		}
	}
}

func TestQuantilesHaveNames(t *testing.T) {
	for name, want := range map[string]float64{"p50": 0.5, "p99.9": 0.999, "p1": 0.01} {
		if q, ok := Quantile(name); !ok || math.Abs(q-want) > 1e-12 {
			t.Errorf("%s: %v, %v", name, q, ok)
		}
	}
	for _, name := range []string{"", "p", "pp", "p0", "p100", "p-5", "p+5", "p1e1", "99", "p99.9999", "pNaN", "avg"} {
		if q, ok := Quantile(name); ok {
			t.Errorf("%s is %v", name, q)
		}
	}
}

func TestTheMedianOfAnEvenNumberLiesBetween(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	if m := median(values); m != 2.5 || values[0] != 4 {
		t.Errorf("%v of %v", m, values)
	}
	if m := median(nil); m != 0 {
		t.Errorf("of none: %v", m)
	}
}

func TestTheWorseOfTwoValuesIsThatOfTheKind(t *testing.T) {
	for _, test := range []struct {
		kind Kind
		fire string
		low  bool
	}{{Threshold, "> 1", false}, {Threshold, "< 1", true}, {Forecasted, "", true}, {TLSExpiry, "", true}, {SLOBurn, "", false}, {Anomaly, "", false}} {
		r := Rule{Kind: test.kind, Levels: []Level{{Fire: test.fire, Severity: Ticket}}}.WithDefaults()
		if got := r.Machine(0).LowIsBad; got != test.low {
			t.Errorf("%s %q: the lower value is the worse: %t", test.kind, test.fire, got)
		}
	}
}
