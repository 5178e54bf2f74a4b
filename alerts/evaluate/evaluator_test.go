package evaluate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// errorRate pages for the error rate of a service.
func errorRate(id string) rule.Rule {
	return rule.Rule{
		ID: id, Name: id, Kind: rule.ErrorRate, Service: "shop", State: rule.Live, FirstAction: "look at it",
		Query:  rule.Query{By: []string{"service"}},
		Levels: []rule.Level{{Fire: ">= 5%", Recover: "< 3%", Severity: rule.Page, For: seconds(180)}},
	}
}

func hot(id string) rule.Rule {
	return rule.Rule{
		ID: id, Name: id, Kind: rule.Threshold, State: rule.Live,
		Query:  rule.Query{Metric: "temperature", Aggregate: "avg", By: []string{"room"}},
		Levels: []rule.Level{{Fire: "> 30", Recover: "< 25", Severity: rule.Ticket, For: seconds(300)}},
	}
}

// between is a value in [from, to), in seconds after begin, and another one elsewhere.
func between(from, to int64, in, out float64) func(int64) float64 {
	return func(at int64) float64 {
		if at >= from && at < to {
			return in
		}
		return out
	}
}

// rate is a counter that grows by so much a second.
func rate(perSecond func(at int64) float64) func(int64) float64 {
	v := 1000.0
	last := int64(-1)
	return func(at int64) float64 {
		if last >= 0 {
			v += perSecond(at) * float64(at-last)
		}
		last = at
		return v
	}
}

func outage(s *sender) {
	s.counter("http_server_request_duration_seconds_count", "service=shop http_response_status_code=200", 0, 7200, 15, rate(between(0, 7200, 9, 9)))
	s.counter("http_server_request_duration_seconds_count", "service=shop http_response_status_code=503", 0, 7200, 15, rate(between(1800, 2700, 1, 0)))
	s.counter("http_server_request_duration_seconds_count", "service=blog http_response_status_code=200", 0, 7200, 15, rate(between(0, 7200, 9, 9)))
	s.counter("http_server_request_duration_seconds_count", "service=blog http_response_status_code=500", 0, 7200, 15, rate(between(3600, 3660, 20, 0)))
	s.gauge("temperature", "room=cellar", 0, 7200, 15, between(1200, 4800, 40, 20))
	s.gauge("temperature", "room=attic", 0, 7200, 15, between(1200, 1260, 40, 20))
}

func TestRulesFireAndResolveLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	w.put(errorRate("errors"))
	w.put(hot("hot"))
	d := &desk{}
	w.now = begin + 900
	w.until(w.evaluator("a", d), 7200, 10)
	want := []string{
		"27 fire hot/ticket/cellar ticket",
		"35 fire errors/page/shop page",
		"53 resolve errors/page/shop page",
		"64 note errors/page/blog page healed",
		"89 resolve hot/ticket/cellar ticket",
	}
	if diff := gocmp.Diff(want, d.told()); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	headlines := []string{d.signals[1].Instance.Headline, d.signals[3].Text}
	if diff := gocmp.Diff([]string{
		"shop: 10 % errors for 3 min (limit 5 %) (shop)",
		"shop: 30.8 % errors (limit 5 %) (blog) from 01:00 to 01:04",
	}, headlines); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

// events are the events of a rule as the catalog has them, oldest first.
func events(t *testing.T, w *world, id string) []rule.Event {
	t.Helper()
	all, err := w.db.Transitions(t.Context(), w.project, id, unix(0), unix(w.now+1), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var out []rule.Event
	for _, transition := range all {
		var body transitionBody
		if err := json.Unmarshal(transition.Body, &body); err != nil {
			t.Fatal(err)
		}
		out = append(out, body.Event)
	}
	return sorted(out)
}

func sorted(events []rule.Event) []rule.Event {
	slices.SortStableFunc(events, func(a, b rule.Event) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Level, b.Level), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	return events
}

// ranged are the events of a rule by one read of all its slots.
func ranged(t *testing.T, w *world, r rule.Rule, from int64) []rule.Event {
	t.Helper()
	p, err := NewPlan(w.org, w.project, 1, r)
	if err != nil {
		t.Fatal(err)
	}
	first := p.Slot(from)
	tables, err := NewReader(w.store, w.project).Read(t.Context(), []Ask{{Plan: p, First: first, Slots: int((p.Slot(w.now)-first)/p.interval) + 1}})
	if err == nil {
		err = tables[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	around, err := p.Around(t.Context(), w.db, unix(first), unix(w.now))
	if err != nil {
		t.Fatal(err)
	}
	m := NewMemory(first - p.interval)
	var happened []Happened
	for i := range tables[0].Slots {
		happened = p.Step(m, &tables[0], i, around, happened)
	}
	var out []rule.Event
	for _, h := range happened {
		out = append(out, h.Event)
	}
	return sorted(out)
}

// TestLiveAndRehearsalAgree is P12: what is found slot by slot is what is found in a range.
func TestLiveAndRehearsalAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	r := rand.New(rand.NewPCG(1, 2))
	for pod := range 5 { // which come and go
		from := int64(r.IntN(4000))
		bad := rate(func(int64) float64 { return max(0, r.Float64()-0.6) })
		s.counter("jobs_total", fmt.Sprintf("pod=%d queue=%d result=ok", pod, pod%2), from, from+int64(r.IntN(3000)), 15, rate(func(int64) float64 { return r.Float64() }))
		s.counter("jobs_total", fmt.Sprintf("pod=%d queue=%d result=bad", pod, pod%2), from+600, from+int64(r.IntN(3000)), 20, bad)
	}
	for _, le := range []string{"0.1", "0.5", "1", "+Inf"} {
		s.counter("http_server_request_duration_seconds_bucket", "service=shop le="+le, 0, 7200, 15, rate(func(at int64) float64 {
			if slow := at >= 3000 && at < 4200; slow && le != "+Inf" && le != "1" {
				return 0.1
			}
			return 1
		}))
	}
	s.send(t, w.store, w.project)

	jobs := errorRate("jobs")
	jobs.Query = rule.Query{Metric: "jobs_total", By: []string{"queue"}, Bad: []rule.Match{{Label: "result", Op: "=", Value: "bad"}}}
	jobs.MinSamples, jobs.MinBad = 3, 1
	slow := hot("slow")
	slow.Query = rule.Query{Metric: "http.server.request.duration", Aggregate: "p95"}
	slow.Levels = []rule.Level{{Fire: "> 0.6", Severity: rule.Page, For: seconds(120)}, {Fire: "> 0.2", Recover: "< 0.1", Severity: rule.Ticket, For: seconds(300)}}
	slow.FirstAction = "look at it"
	odd := hot("odd")
	odd.Window, odd.Delay, odd.Query.Aggregate = 70, 35, "max"
	gone := hot("gone")
	gone.Query = rule.Query{Metric: "jobs_total", Aggregate: "rate", By: []string{"pod"}}
	gone.Levels[0].Fire, gone.Levels[0].Recover = "> 0.7", ""
	rules := []rule.Rule{errorRate("errors"), hot("hot"), jobs, slow, odd, gone}
	for _, r := range rules {
		w.put(r)
	}
	w.now = begin + 900
	e := w.evaluator("a", &desk{})
	w.until(e, 7200, 10)
	for _, r := range rules {
		live := events(t, w, r.ID)
		if diff := gocmp.Diff(ranged(t, w, r, begin+900), live); diff != "" {
			t.Errorf("%s: events (-range +live):\n%s", r.ID, diff)
		}
		if len(live) == 0 {
			t.Errorf("%s: nothing happened", r.ID)
		}
	}
}

// TestAPausedOwnerCannotCommit is R17: while one evaluator is frozen in the middle of a slot, another
// takes over; what the first then has to say is not heard.
func TestAPausedOwnerCannotCommit(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		w := newWorld(t, storagetest.OpenCatalog(t, cfg), storagetest.Telemetry(t))
		s := &sender{}
		outage(s)
		s.send(t, w.store, w.project)
		w.put(errorRate("errors"))
		first, second := &desk{}, &desk{}
		a, b := w.evaluator("a", first), w.evaluator("b", second)
		w.now = begin + 1500
		w.until(a, 2070, 10) // pending
		// Frozen between the read of the slot in which it fires and the commit.
		frozen := a.projects[w.project]
		w.until(b, 2160, 1)
		late := &step{Evaluator: a, project: frozen, chapter: a.book.projects[w.project], book: a.book, now: w.now}
		if err := late.advance(t.Context()); !errors.Is(err, catalog.ErrFenced) {
			t.Errorf("the frozen owner: %v, want %v", err, catalog.ErrFenced)
		}
		if got := append(first.told(), second.told()...); len(got) != 1 || !strings.Contains(got[0], "fire errors/page/shop") {
			t.Errorf("told %q, want one page", got)
		}
	})
}

func TestAnotherReplicaTakesOverInTimeAndMissesNothing(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		w := newWorld(t, storagetest.OpenCatalog(t, cfg), storagetest.Telemetry(t))
		s := &sender{}
		outage(s)
		s.send(t, w.store, w.project)
		r := errorRate("errors")
		w.put(r)
		d := &desk{}
		a, b := w.evaluator("a", d), w.evaluator("b", d)
		w.now = begin + 1500
		for ; w.now < begin+2065; w.now++ {
			w.tick(a)
			w.tick(b)
		}
		if len(a.replica.held)+len(b.replica.held) != Shards || len(a.replica.held) == 0 || len(b.replica.held) == 0 {
			t.Fatalf("%d and %d shards are held", len(a.replica.held), len(b.replica.held))
		}
		dead, lives := a, b
		if b.projects[w.project] != nil {
			dead, lives = b, a
		}
		killed := w.now
		for len(lives.replica.held) < Shards {
			w.now++
			w.tick(lives)
			if w.now-killed > 17 {
				t.Fatalf("after 17 s %d of %d shards have an owner", len(lives.replica.held), Shards)
			}
		}
		_ = dead
		w.until(lives, 7200, 10)
		if diff := gocmp.Diff(ranged(t, w, r, begin+1500), events(t, w, "errors"), cmpopts.IgnoreFields(rule.Event{}, "Late")); diff != "" {
			t.Errorf("events (-range +live):\n%s", diff)
		}
	})
}

func TestACrashBeforeTheCommitChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	w.put(errorRate("errors"))
	d := &desk{}
	e := w.evaluator("a", d)
	w.now = begin + 1500
	for i := 0; w.now < begin+7200; i++ {
		w.now += 10
		d.fail = nil
		if i%3 > 0 { // what is evaluated now is lost with the commit
			d.fail = errors.New("crashed")
		}
		w.tick(e)
		if i%10 == 9 { // and here with the process
			e = w.evaluator("a", d)
		}
	}
	if diff := gocmp.Diff([]string{
		"35 fire errors/page/shop page",
		"53 resolve errors/page/shop page",
		"64 note errors/page/blog page healed",
	}, d.told()); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestAMetricIsSeenFromItsFirstSampleOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	w.put(rule.Rule{
		ID: "new", Name: "new", Kind: rule.Threshold, State: rule.Live, Interval: 30 * rule.Second, Window: rule.Minute, MinSamples: 1,
		Query: rule.Query{Metric: "born_late", Aggregate: "last"}, Levels: []rule.Level{{Fire: ">= 1", Severity: rule.Ticket, For: new(rule.Duration)}},
	})
	w.now = begin
	d := &desk{}
	e := w.evaluator("a", d)
	w.until(e, 120, 10) // it reads what there is, which is nothing
	s := &sender{}
	s.gauge("born_late", "", 120, 240, 10, func(int64) float64 { return 1 })
	s.send(t, w.store, w.project)
	w.until(e, 240, 10)
	if got := d.told(); len(got) != 1 {
		t.Errorf("told %q, want one ticket", got)
	}
}
