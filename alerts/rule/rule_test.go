package rule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// checkout is a valid rule that pages.
func checkout() Rule {
	return Rule{
		ID: "checkout-error-rate", Name: "Checkout errors", Kind: ErrorRate, Service: "checkout", Team: "Platform",
		Levels:      []Level{{Fire: ">= 0.05", Recover: "< 0.03", Severity: Page, For: new(5 * Minute)}},
		FirstAction: "Roll back the newest deploy.", State: Live,
	}
}

func hot() Rule {
	return Rule{
		ID: "checkout-cpu", Name: "CPU", Kind: Threshold, Service: "checkout", FirstAction: "Look at it.",
		Query:  Query{Metric: "process.cpu.utilization", Aggregate: "avg"},
		Levels: []Level{{Fire: "> 0.9", Severity: Page}},
	}
}

func problems(err error) []string {
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		return nil
	}
	var fields []string
	for _, p := range invalid.Problems {
		fields = append(fields, p.Field)
	}
	return fields
}

func TestADurationReadsWhatItWrites(t *testing.T) {
	for text, want := range map[string]Duration{
		"0": 0, "0s": 0, "30s": 30, "5m": 300, "1h30m": 5400, "3d": 3 * Day, "1w": 7 * Day, "1d2h3m4s": Day + 2*Hour + 184, "90m": 5400,
	} {
		d, err := ParseDuration(text)
		if err != nil || d != want {
			t.Errorf("%q: %v, %v, want %v", text, d, err, want)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%q: %q is read as %v, %v", text, d.String(), again, err)
		}
	}
}

func TestWhatIsNoDurationIsRefused(t *testing.T) {
	for _, text := range []string{"", "5", "m", "-5m", "1.5h", "5m1h", "5m5m", "5 m", "1y", "99999999999d", "4000d", "0x5m"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, d)
		}
	}
}

func TestABoundReadsWhatItWrites(t *testing.T) {
	for text, want := range map[string]Bound{
		">= 0.05": {GreaterEqual, 0.05}, ">5%": {Greater, 0.05}, " <= 1e3 ": {LessEqual, 1000}, "< -2": {Less, -2},
	} {
		b, err := ParseBound(text)
		if err != nil || b != want {
			t.Errorf("%q: %v, %v", text, b, err)
		}
		if again, err := ParseBound(b.String()); err != nil || again != b {
			t.Errorf("%q: %q is read as %v, %v", text, b.String(), again, err)
		}
	}
	for _, text := range []string{"", "5", "= 5", ">", "> x", ">> 5", "> NaN", "< Inf", "=> 5"} {
		if b, err := ParseBound(text); err == nil {
			t.Errorf("%q is read as %v", text, b)
		}
	}
}

func TestABoundHoldsAtItsValueOnlyIfItSaysSo(t *testing.T) {
	for text, want := range map[string][3]bool{
		">= 5": {false, true, true}, "> 5": {false, false, true}, "<= 5": {true, true, false}, "< 5": {true, false, false},
	} {
		b, err := ParseBound(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{b.Holds(4), b.Holds(5), b.Holds(6)}; got != want {
			t.Errorf("%s holds at 4, 5, 6: %v", text, got)
		}
	}
	if (Bound{}).Holds(0) {
		t.Error("the zero Bound holds")
	}
}

func TestARuleReadsWhatItWrites(t *testing.T) {
	want := checkout().WithDefaults()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(got, got.WithDefaults()); diff != "" {
		t.Errorf("defaults of defaults: %s", diff)
	}
}

func TestAMisspeltKeyIsRefused(t *testing.T) {
	for _, text := range []string{`{"id":"a","treshold":5}`, `{"levels":[{"fires":"> 1"}]}`, `{"id":"a"} x`, `{"window":"5"}`, `{"window":5}`, "", `[]`} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
	if _, err := Parse([]byte(`{"name":"` + strings.Repeat("x", maxRuleBytes) + `"}`)); err == nil {
		t.Error("a huge rule is read")
	}
}

func TestDefaultsFollowTheKind(t *testing.T) {
	for kind, want := range map[Kind]string{
		Threshold:  "5m 1m 5m 5m 3 0 keep ticket cause",
		LogMatch:   "5m 1m 0s 10m 0 0 ok ticket cause",
		LogRatio:   "5m 1m 5m 5m 50 0 ok ticket cause",
		ErrorRate:  "5m 30s 3m 5m 20 5 ok page symptom",
		IssueNew:   "5m 30s 0s 0s 0 0 ok mail symptom",
		IssueSpike: "5m 1m 1m 15m 20 0 ok ticket symptom",
		Cron:       "5m 1m 0s 0s 0 0 breach ticket cause",
		Uptime:     "1m 30s 1m30s 1m 2 0 keep page symptom",
		TLSExpiry:  "1h 1h 0s 0s 0 0 keep page leading",
		SLOBurn:    "1h 1m 3m 5m 50 10 ok page symptom",
		Forecasted: "3d 5m 30m 1h 36 0 keep page leading",
		Absence:    "5m 1m 5m 1m 0 0 breach ticket cause",
		Anomaly:    "5m 5m 15m 15m 3 0 keep mail cause",
	} {
		r := Rule{Kind: kind, Levels: defaultLevels(kind)}
		if r.Levels == nil {
			r.Levels = []Level{{}}
		}
		r = r.WithDefaults()
		l := r.Levels[0]
		got := fmt.Sprint(r.Window, " ", r.Interval, " ", *l.For, " ", *r.RecoverFor, " ", r.MinSamples, " ", r.MinBad, " ",
			r.NoData, " ", l.Severity, " ", r.Class)
		if got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
}

func TestZeroIsAChoiceAndNotADefault(t *testing.T) {
	r, err := Parse([]byte(`{"id":"a","kind":"threshold","recover_for":"0s","reopen":"0s","levels":[{"fire":"> 1","for":"0s"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	m := r.WithDefaults().Machine(0)
	if m.For != 0 || m.RecoverFor != 0 || m.Reopen != 0 {
		t.Errorf("%+v", m)
	}
}

func TestClassesComeFromTheTable(t *testing.T) {
	status := []Match{{Label: "http.response.status_code", Op: "=~", Value: "5.."}}
	for _, c := range []struct {
		kind    Kind
		query   Query
		visible bool
		want    Class
	}{
		{Threshold, Query{Metric: requests, Aggregate: "p99"}, false, Symptom},
		{Threshold, Query{Metric: "messaging.process.duration", Aggregate: "p95"}, false, Symptom},
		{Threshold, Query{Metric: requests, Aggregate: "rate"}, false, Cause},
		{Threshold, Query{Metric: requests, Aggregate: "rate", Where: status}, false, Symptom},
		{Threshold, Query{Metric: "process.cpu.utilization", Aggregate: "p99"}, true, Cause},
		{Threshold, Query{Metric: "k8s.pod.restarts", Aggregate: "increase"}, false, Cause},
		{LogMatch, Query{Text: "timeout"}, false, Cause},
		{LogMatch, Query{Where: status}, false, Symptom},
		{LogRatio, Query{Where: []Match{{Label: "http.route", Op: "!=", Value: ""}}, Text: "x"}, false, Symptom},
		{LogRatio, Query{Text: "x"}, false, Cause},
		{Cron, Query{}, true, Symptom},
		{Cron, Query{}, false, Cause},
		{Absence, Query{}, true, Symptom},
		{Uptime, Query{}, false, Symptom},
		{TLSExpiry, Query{}, false, Leading},
		{Forecasted, Query{}, false, Leading},
		{Anomaly, Query{Metric: requests}, false, Cause},
		{External, Query{}, true, Symptom},
		{External, Query{}, false, Cause},
	} {
		if got := ClassOf(c.kind, c.query, c.visible); got != c.want {
			t.Errorf("%s %+v: %s, want %s", c.kind, c.query, got, c.want)
		}
	}
}

func TestAClassMayBeLoweredFreely(t *testing.T) {
	r := checkout()
	r.Class = Cause
	r.Levels[0].Severity = Ticket
	if err := Validate(r, Env{}); err != nil {
		t.Error(err)
	}
}

func TestACauseThatCannotPageNamesWhatPages(t *testing.T) {
	other := checkout()
	other.ID, other.Service = "billing-errors", "billing"
	err := Validate(hot(), Env{Rules: []Rule{checkout(), other}})
	if err == nil || !strings.Contains(err.Error(), "checkout-error-rate pages for this") || strings.Contains(err.Error(), "billing") {
		t.Error(err)
	}
	if err := Validate(hot(), Env{}); err == nil || !strings.Contains(err.Error(), "no symptom rule of checkout pages yet") {
		t.Error(err)
	}
	r := hot()
	r.Levels[0].Severity = Ticket
	if err := Validate(r, Env{}); err != nil {
		t.Error(err)
	}
}

func TestACauseLeadsOnlyWithAWallAndASecondPerson(t *testing.T) {
	r := hot()
	r.Class, r.Owner = Leading, "ada"
	err := Validate(r, Env{})
	for _, missing := range []string{"consequence", "time_to_symptom", "wall", "approved_by"} {
		if err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s is not asked for: %v", missing, err)
		}
	}
	r.Consequence, r.TimeToSymptom, r.Wall, r.ApprovedBy = "Orders fail.", 3*Hour, "quota", "ada"
	if err := Validate(r, Env{}); err == nil {
		t.Error("who wrote the rule has approved it")
	}
	r.ApprovedBy = "grace"
	if err := Validate(r, Env{}); err != nil {
		t.Error(err)
	}
	r.Wall = "cpu"
	if err := Validate(r, Env{}); err == nil {
		t.Error("the list of walls is open")
	}
}

func TestALeadingRuleIsAsUrgentAsItsTime(t *testing.T) {
	for _, c := range []struct {
		left     Duration
		active   string
		severity Severity
		fine     bool
	}{
		{4*Hour - 1, "", Page, true},
		{4 * Hour, "", Page, false},
		{4 * Hour, "Mon-Fri 08:00-20:00 UTC", Page, true},
		{Day, "", Ticket, true},
		{Day + 1, "", Ticket, false},
		{Day + 1, "Mon-Fri 08:00-20:00 UTC", Page, false},
		{Day + 1, "", Mail, true},
	} {
		r := hot()
		r.Class, r.Consequence, r.Wall, r.ApprovedBy = Leading, "Orders fail.", "disk", "grace"
		r.TimeToSymptom, r.Active, r.Levels[0].Severity = c.left, c.active, c.severity
		if err := Validate(r, Env{}); (err == nil) != c.fine {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestEveryThingThatIsWrongIsNamed(t *testing.T) {
	for field, change := range map[string]func(*Rule){
		"id":                 func(r *Rule) { r.ID = "Checkout" },
		"name":               func(r *Rule) { r.Name = " " },
		"kind":               func(r *Rule) { r.Kind = "guess" },
		"class":              func(r *Rule) { r.Class = "reason" },
		"area":               func(r *Rule) { r.Area = "cpu" },
		"state":              func(r *Rule) { r.State = "on" },
		"quiet":              func(r *Rule) { r.Quiet = "yes" },
		"active":             func(r *Rule) { r.Active = "sometimes" },
		"runbook_url":        func(r *Rule) { r.FirstAction = "" },
		"first_action":       func(r *Rule) { r.FirstAction = "Look" },
		"interval":           func(r *Rule) { r.Interval = 7 },
		"window":             func(r *Rule) { r.Window = 30 },
		"delay":              func(r *Rule) { r.Delay = 2 * Hour },
		"query.source":       func(r *Rule) { r.Query.Source, r.Query.Text = Errors, "x" },
		"query.aggregate":    func(r *Rule) { r.Query.Aggregate = "median" },
		"query.bad":          func(r *Rule) { r.Query.Metric = "mine" },
		"query.where[0]":     func(r *Rule) { r.Query.Where = []Match{{Label: "a", Op: "~", Value: "b"}} },
		"query.bad[0]":       func(r *Rule) { r.Query.Bad = []Match{{Label: "a", Op: "=~", Value: "("}} },
		"query.by[0]":        func(r *Rule) { r.Query.By = []string{"user_id"} },
		"query.by[1]":        func(r *Rule) { r.Query.By = []string{"host", "host"} },
		"levels":             func(r *Rule) { r.Levels = nil },
		"levels[0].severity": func(r *Rule) { r.Levels[0].Severity = "loud" },
		"levels[0].fire":     func(r *Rule) { r.Levels[0].Fire = "a lot" },
		"levels[0].recover":  func(r *Rule) { r.Levels[0].Recover = "< 0.06" },
		"levels[0].for":      func(r *Rule) { r.Levels[0].For = new(Duration(29)) },
		"levels[1]":          func(r *Rule) { r.Levels = append([]Level{{Fire: "> 1", Severity: Mail}}, r.Levels...) },
		"levels[1].name":     func(r *Rule) { r.Levels = append(r.Levels, r.Levels[0]) },
		"debounce.mode":      func(r *Rule) { r.Debounce.Mode = "lucky" },
		"debounce.ratio":     func(r *Rule) { r.Debounce = Debounce{RatioMode, 1.1} },
		"no_data":            func(r *Rule) { r.NoData = "ignore" },
		"flap.n":             func(r *Rule) { r.Flap.N = 9 },
		"recur.n":            func(r *Rule) { r.Recur.N = 1 },
		"limits.open":        func(r *Rule) { r.Limits.Open = 3000 },
		"limits.tracked":     func(r *Rule) { r.Limits.Tracked = 100_000 },
		"slo":                func(r *Rule) { r.SLO = &SLO{Target: 0.9} },
		"forecast":           func(r *Rule) { r.Forecast = &ForecastSpec{Capacity: 1} },
		"summary":            func(r *Rule) { r.Summary = "{{vlaue}}" },
		"depends_on[0]":      func(r *Rule) { r.DependsOn = []string{"nobody"} },
		"labels":             func(r *Rule) { r.Labels = map[string]string{"": "x"} },
	} {
		t.Run(field, func(t *testing.T) {
			r := checkout()
			change(&r)
			env := Env{
				Cardinality: map[string]int{"user_id": 1_000_000, "host": 3}, Collection: 30,
				Active: func(string) error { return errors.New("is no time of the week") },
			}
			if err := Validate(r, env); !slices.Equal(problems(err), []string{field}) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRecoveryLiesOnTheGoodSide(t *testing.T) {
	for _, c := range []struct {
		fire, back string
		fine       bool
	}{
		{">= 5", "< 5", true},
		{"> 5", "<= 5", true},
		{">= 5", "<= 5", false},
		{"> 5", "< 5", true},
		{"> 5", "< 6", false},
		{"> 5", "> 3", false},
		{"< 5", "> 5", true},
		{"< 5", ">= 7", true},
		{"<= 5", ">= 5", false},
		{"< 5", "> 4", false},
	} {
		r := checkout()
		r.Levels[0].Fire, r.Levels[0].Recover = c.fire, c.back
		if err := Validate(r, Env{}); (err == nil) != c.fine {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestWhatIsFineIsSaved(t *testing.T) {
	slo := Rule{
		ID: "slo", Name: "SLO", Kind: SLOBurn, SLO: &SLO{Target: 0.999}, RunbookURL: "https://wiki.example/slo",
		Service: "checkout", DependsOn: []string{"checkout-error-rate"},
	}
	disk := Rule{
		ID: "disk", Name: "Disk", Kind: Forecasted, FirstAction: "Delete old logs.",
		Query: Query{Metric: "system.filesystem.usage", By: []string{"host.name"}}, Forecast: &ForecastSpec{CapacityMetric: "limit"},
	}
	tls := Rule{ID: "tls", Name: "TLS", Kind: TLSExpiry, FirstAction: "Renew it."}
	cron := Rule{ID: "cron", Name: "Backup", Kind: Cron, Query: Query{Monitor: "backup"}}
	fresh := Rule{ID: "new", Name: "New issues", Kind: IssueNew}
	slow := checkout()
	slow.Debounce = Debounce{Mode: RatioMode}
	slow.Summary = "{{ value }} errors of {{service}}, limit {{limit}}"
	for _, r := range []Rule{checkout(), slo, disk, tls, cron, fresh, slow} {
		if err := Validate(r, Env{Rules: []Rule{checkout()}}); err != nil {
			t.Errorf("%s: %v", r.ID, err)
		}
	}
}

func TestDetailsAndGuessesDoNotPage(t *testing.T) {
	for _, kind := range []Kind{IssueNew, IssueRegression, Anomaly} {
		r := Rule{ID: "a", Name: "a", Kind: kind, FirstAction: "Look at it.", Levels: []Level{{Severity: Page, For: new(Hour)}}}
		r.Query.Metric = "x"
		if err := Validate(r, Env{}); !slices.Contains(problems(err), "levels[0].severity") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestShortSlotsAreForSymptoms(t *testing.T) {
	r := checkout()
	r.Interval = 10
	if err := Validate(r, Env{}); err != nil {
		t.Error(err)
	}
	r = hot()
	r.Interval, r.Levels[0].Severity = 10, Ticket
	if err := Validate(r, Env{}); !slices.Equal(problems(err), []string{"interval"}) {
		t.Error(err)
	}
}

func TestDependenciesDoNotGoInCircles(t *testing.T) {
	a, b, c := checkout(), checkout(), checkout()
	a.ID, b.ID, c.ID = "a", "b", "c"
	a.DependsOn, b.DependsOn, c.DependsOn = []string{"b"}, []string{"c"}, []string{"a"}
	err := Validate(a, Env{Rules: []Rule{a, b, c}})
	if err == nil || !strings.Contains(err.Error(), "a → b → c → a") {
		t.Error(err)
	}
	c.DependsOn = nil
	if err := Validate(a, Env{Rules: []Rule{a, b, c}}); err != nil {
		t.Error(err)
	}
	a.DependsOn = []string{"a"}
	if err := Validate(a, Env{Rules: []Rule{a}}); err == nil {
		t.Error("a rule depends on itself")
	}
}

func TestADelayBelowTheLagIsAWarning(t *testing.T) {
	r := checkout()
	r.Delay = 10
	if w := Warnings(r, Env{Lag: 45}); len(w) != 1 || w[0].Field != "delay" || !strings.Contains(w[0].Message, "45s") {
		t.Error(w)
	}
	if w := Warnings(r, Env{Lag: 10}); len(w) != 0 {
		t.Error(w)
	}
}

func TestEveryWallMakesALeadingRule(t *testing.T) {
	for _, wall := range Walls() {
		r := Rule{
			Kind: Threshold, Class: Leading, Wall: wall, Consequence: "Orders fail.", TimeToSymptom: Hour, ApprovedBy: "grace",
		}
		if class, err := r.Classify(); err != nil || class != Leading {
			t.Errorf("%s: %v, %v", wall, class, err)
		}
	}
}

func TestEveryKindReadsItsDefaultSource(t *testing.T) {
	for kind, d := range kinds {
		if len(reads[kind]) == 0 || reads[kind][0] != d.source {
			t.Errorf("%s reads %v, and %s by default", kind, reads[kind], d.source)
		}
	}
}

func TestStateSurvivesEditsOfEverythingButTheQuery(t *testing.T) {
	r := checkout()
	id := Identity(r)
	r.Name, r.Levels[0].Fire, r.Window = "New name", "> 0.5", 10*Minute
	if Identity(r) != id || Identity(r.WithDefaults()) != id {
		t.Error("the identity follows a name, a limit or a default")
	}
	r.Query.By = []string{"host"}
	if Identity(r) == id {
		t.Error("the identity does not follow the groups")
	}
}

func TestSlotsOfARuleAreSpreadAndStable(t *testing.T) {
	shards, offsets := map[int]int{}, map[int64]int{}
	for i := range 6000 {
		id := fmt.Sprintf("rule-%d", i)
		shards[Shard("p", id, 64)]++
		offsets[Offset("p", id, Minute)]++
	}
	if len(shards) != 64 || len(offsets) != 60 {
		t.Fatalf("%d shards, %d offsets", len(shards), len(offsets))
	}
	for _, n := range shards {
		if n < 47 || n > 160 {
			t.Errorf("a shard has %d of 6000 rules", n)
		}
	}
	for _, n := range offsets {
		if n < 50 || n > 160 {
			t.Errorf("an offset has %d of 6000 rules", n)
		}
	}
	for now := int64(base); now < base+200; now++ {
		s := Slot(now, Minute, 17)
		if s > now || now-s >= 60 || (s-17)%60 != 0 {
			t.Fatalf("the slot of %d is %d", now, s)
		}
	}
	if Slot(17, Minute, 17) != 17 || Slot(16, Minute, 17) != -43 {
		t.Error("slots before the first")
	}
}

func FuzzARuleIsRefusedOrWorks(f *testing.F) {
	for _, r := range []Rule{checkout(), hot(), objective()} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"id":"a","name":"a","kind":"cron","summary":"{{value}} {{"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		_ = Warnings(r, Env{Lag: Hour})
		_, _ = r.Sentence(), Identity(r)
		if head := r.Headline(0, 0.5, base, base+60); utf8.RuneCountInString(head) > maxHeadline {
			t.Errorf("a headline has %d characters: %s", utf8.RuneCountInString(head), head)
		}
		if Validate(r, Env{Rules: []Rule{checkout()}}) != nil {
			return
		}
		r = r.WithDefaults()
		_ = r.Expand(r.Summary, 0, 1, nil)
		for i := range r.Levels {
			m := r.Machine(i)
			var s State
			slot := int64(base)
			var events []Event
			for range 300 {
				slot += m.Interval
				events = Step(&m, &s, Observation{Breach, 1}, slot, events)
			}
			if fired := slices.ContainsFunc(events, func(e Event) bool { return e.Kind.Trigger() }); !fired && m.For < 250*m.Interval {
				t.Errorf("level %d never fires: %+v", i, m)
			}
		}
		again := mustJSON(t, r)
		if _, err := Parse(again); err != nil && len(again) <= maxRuleBytes {
			t.Errorf("%s: %v", again, err)
		}
	})
}
