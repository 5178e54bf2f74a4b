package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// live evaluates rules from one time to another, each 10 s, and compares with one read of it all.
func live(t *testing.T, w *world, from, to int64, rules ...rule.Rule) []string {
	t.Helper()
	for _, r := range rules {
		w.put(r)
	}
	w.now = begin + from
	d := &desk{}
	e := w.evaluator("a", d)
	w.until(e, to, 10)
	for _, r := range rules {
		if r.Kind == rule.IssueNew || r.Kind == rule.IssueRegression {
			continue
		}
		if diff := gocmp.Diff(ranged(t, w, r, begin+from), events(t, w, r.ID)); diff != "" {
			t.Errorf("%s: events (-range +live):\n%s", r.ID, diff)
		}
	}
	return d.told()
}

func TestObjectivesBurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	good := func(at int64) float64 {
		if at >= 3600 && at < 3660 || at >= 5400 && at < 5700 {
			return 0
		}
		return 5
	}
	s.counter("http_server_request_duration_seconds_count", "http_response_status_code=200", 0, 9000, 10, rate(good))
	s.counter("http_server_request_duration_seconds_count", "http_response_status_code=500", 0, 9000, 10, rate(func(at int64) float64 { return 5 - good(at) }))
	s.send(t, w.store, w.project)
	got := live(t, w, 3000, 9000, rule.Rule{
		ID: "slo", Name: "slo", Kind: rule.SLOBurn, State: rule.Live, FirstAction: "look at it", SLO: &rule.SLO{Target: 0.999}, Levels: []rule.Level{{Severity: rule.Page}},
	})
	// One minute of a total outage pages nobody, five do after four.
	if diff := gocmp.Diff([]string{"64 note slo/page/ page healed", "94 fire slo/page/ page", "105 resolve slo/page/ page"}, got); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

// TestLittleTrafficIsJudgedByItsUsers is the fallback of 1.4: five failures in half an hour are a ticket,
// unless all that is known of them is that they happened to one user.
func TestLittleTrafficIsJudgedByItsUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	const failures, until = 3600, 4800 // one in 200 s, while there are few requests
	step := func(from, to int64) func(at int64) float64 {
		return func(at int64) float64 { return float64(max(0, min(at, to)-from) / 200) }
	}
	s := &sender{}
	var events []*telemetrypb.ErrorEvent
	want := map[string]bool{}
	for service, c := range map[string]struct {
		users map[int64]string // of the error events, by time
		logs  []string         // users of the failed requests in logs, in turn; nil: there are metrics
		told  bool
	}{
		"silent":      {nil, nil, true},
		"anonymous":   {map[int64]string{3700: "", 3800: ""}, nil, true},
		"one":         {map[int64]string{3700: "ann", 3800: "ann", 4700: "ann"}, nil, false},
		"two":         {map[int64]string{3700: "ann", 4500: "bob"}, nil, true},
		"apart":       {map[int64]string{1000: "bob", 3700: "ann", 4700: "ann"}, nil, false},
		"log-one":     {map[int64]string{3700: "ann", 4500: "bob"}, []string{"ann"}, false},
		"log-two":     {nil, []string{"ann", "bob"}, true},
		"log-event":   {map[int64]string{3700: "ann", 4700: "ann"}, []string{""}, false},
		"log-silence": {nil, []string{""}, true},
	} {
		if c.told {
			want["fire "+service] = true
		}
		for at, user := range c.users {
			events = append(events, &telemetrypb.ErrorEvent{
				ProjectId: w.project, EventId: fmt.Appendf(nil, "%016x", len(events)), IssueId: 7, Time: uint64(begin+at) * 1e9, ReceivedAt: uint64(begin+at) * 1e9, UserId: user,
				Tags: []*telemetrypb.KeyValue{{Key: "service", Value: service}},
			})
		}
		if c.logs == nil {
			s.counter("http_server_request_duration_seconds_count", "service_name="+service+" http_response_status_code=200", 0, 7200, 20, step(0, 7200))
			s.counter("http_server_request_duration_seconds_count", "service_name="+service+" http_response_status_code=500", 0, 7200, 20, step(failures, until))
			continue
		}
		var records []*telemetrypb.LogRecord
		for at := int64(0); at < 7200; at += 200 {
			r := &telemetrypb.LogRecord{Time: uint64(begin+at) * 1e9, Body: "GET /", Severity: 9, Attributes: []*telemetrypb.KeyValue{{Key: "status", Value: "200"}}}
			if at >= failures && at < until {
				r.Attributes[0].Value = "500"
				r.Attributes = append(r.Attributes, &telemetrypb.KeyValue{Key: "user.id", Value: c.logs[int(at/200)%len(c.logs)]})
			}
			records = append(records, r)
		}
		w.logs(service, records...)
	}
	s.send(t, w.store, w.project)
	b := telemetry.NewErrorBlock()
	b.Add(1, &telemetrypb.ErrorFrame{Events: events})
	if err := w.store.InsertErrors(t.Context(), "a", b); err != nil {
		t.Fatal(err)
	}
	objective := rule.Rule{Kind: rule.SLOBurn, State: rule.Live, FirstAction: "look at it", SLO: &rule.SLO{Target: 0.999}}
	metric, logged := objective, objective
	metric.ID, metric.Name, metric.Query = "metric", "metric", rule.Query{By: []string{"service.name"}}
	logged.ID, logged.Name = "logged", "logged"
	logged.Query = rule.Query{Source: rule.Logs, By: []string{"service"}, Bad: []rule.Match{{Label: "status", Op: "=", Value: "500"}}}
	got := map[string]bool{}
	for _, text := range live(t, w, 3600, 5400, metric, logged) {
		parts := strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == '/' })
		got[parts[1]+" "+parts[4]] = true
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestADiskThatFillsIsForecast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	const from = -3*day - 3600
	s.gauge("disk_used_bytes", "device=a", from, 7200, 300, func(at int64) float64 { return 60e9 + 10e9*float64(at-from)/day })
	s.gauge("disk_used_bytes", "device=b", from, 7200, 300, func(int64) float64 { return 60e9 })
	for _, device := range []string{"a", "b"} {
		s.gauge("disk_size_bytes", "device="+device, from, 7200, 300, func(int64) float64 { return 100e9 })
	}
	s.send(t, w.store, w.project)
	got := live(t, w, 0, 7200, rule.Rule{
		ID: "disk", Name: "disk", Kind: rule.Forecasted, State: rule.Live, FirstAction: "look at it",
		Query: rule.Query{Metric: "disk_used_bytes", By: []string{"device"}}, Forecast: &rule.ForecastSpec{CapacityMetric: "disk_size_bytes"},
	})
	if len(got) != 1 || !strings.HasSuffix(got[0], "fire disk/ticket/a ticket") {
		t.Errorf("told %q, want a ticket for a", got)
	}
}

// TestTheUnusualIsToldByTheSameHourOfEarlierWeeks is P12 for anomalies: each slot has its four weeks, whether
// they are kept from slot to slot or read at once.
func TestTheUnusualIsToldByTheSameHourOfEarlierWeeks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	noise := rand.New(rand.NewPCG(1, 2))
	// What is usual goes with the hour of the day, and is never quite the same.
	usual := func(at int64) float64 { return 100 + 30*math.Sin(2*math.Pi*float64(at)/day) + noise.Float64() }
	rush := between(3600, 6000, 300, 0) // of today
	for _, c := range []struct {
		queue string
		weeks int64 // that are known
		value func(at int64) float64
	}{
		{"odd", 4, func(at int64) float64 { return usual(at) + rush(at) }},
		{"daily", 4, func(at int64) float64 { return usual(at) + rush((at%day+day)%day) }},
		{"brief", 4, func(at int64) float64 { return usual(at) + between(3600, 4000, 300, 0)(at) }},
		{"low", 4, func(at int64) float64 { return usual(at) - rush(at)/5 }},
		{"young", 2, func(at int64) float64 { return usual(at) + rush(at) }},
	} {
		s.gauge("queue_length", "queue="+c.queue, -c.weeks*week-3600, 9000, 150, c.value)
	}
	s.send(t, w.store, w.project)
	got := live(t, w, 1800, 9000, rule.Rule{
		ID: "odd", Name: "odd", Kind: rule.Anomaly, State: rule.Live, Query: rule.Query{Metric: "queue_length", Aggregate: "avg", By: []string{"queue"}, MinAbs: 20},
	})
	var words []string
	for _, text := range got {
		at, text, _ := strings.Cut(text, " ")
		if minute, err := strconv.Atoi(at); err != nil || strings.HasPrefix(text, "fire") && minute < 60+15 {
			t.Errorf("told at %s, want nothing before it was unusual for 15 min", at)
		}
		words = append(words, text)
	}
	slices.Sort(words)
	want := []string{"fire odd/mail/low mail", "fire odd/mail/odd mail", "note odd/mail/brief mail healed", "resolve odd/mail/low mail", "resolve odd/mail/odd mail"}
	if diff := gocmp.Diff(want, words); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestProbesAreJudgedByRegions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	for i, region := range []string{"eu", "us", "asia"} {
		for _, probe := range []string{"home", "shop", "docs"} {
			down := between(0, 0, 0, 1)
			switch {
			case region == "eu":
				down = between(600, 1200, 0, 1) // blind: all of its probes fail
			case probe == "shop":
				down = between(1800, 2400+int64(i), 0, 1)
			}
			s.gauge("midwatch_probe_up", fmt.Sprintf("probe=%s region=%s kind=http", probe, region), 0, 3600, 30, down)
		}
	}
	for probe, left := range map[string]float64{"home": 60 * day, "shop": 20 * day} {
		s.gauge("midwatch_probe_certificate_remaining_seconds", "probe="+probe+" region=eu kind=http", 0, 7200, 60, func(at int64) float64 { return left - float64(at) })
		s.gauge("midwatch_probe_certificate_lifetime_seconds", "probe="+probe+" region=eu kind=http", 0, 7200, 60, func(int64) float64 { return 90 * day })
	}
	for probe, valid := range map[string][]float64{"docs": {0, 0, 1}, "blog": {0, 1, 1}} { // by region
		for i, region := range []string{"eu", "us", "asia"} {
			labels := "probe=" + probe + " kind=tls region=" + region
			s.gauge("midwatch_probe_certificate_remaining_seconds", labels, 0, 7200, 60, func(int64) float64 { return 60 * day })
			s.gauge("midwatch_probe_certificate_lifetime_seconds", labels, 0, 7200, 60, func(int64) float64 { return 90 * day })
			s.gauge("midwatch_probe_certificate_valid", labels, 0, 7200, 60, func(int64) float64 { return valid[i] })
		}
	}
	s.send(t, w.store, w.project)
	got := live(t, w, 300, 3900,
		rule.Rule{ID: "up", Name: "up", Kind: rule.Uptime, State: rule.Live, FirstAction: "look at it"},
		rule.Rule{ID: "tls", Name: "tls", Kind: rule.TLSExpiry, State: rule.Live, FirstAction: "look at it"})
	want := []string{"31 fire up/page/shop page", "41 resolve up/page/shop page"}
	var tls int
	for _, text := range got {
		if strings.HasSuffix(text, "fire tls/ticket/shop ticket") || strings.HasSuffix(text, "fire tls/page/docs page") {
			tls++
			continue
		}
		if len(want) == 0 || text != want[0] {
			t.Errorf("told %q", text)
			continue
		}
		want = want[1:]
	}
	if tls != 2 || len(want) > 0 {
		t.Errorf("told %q", got)
	}
}

func TestWhatIsAbsentIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	s.gauge("heartbeat", "worker=a", 0, 7200, 15, between(0, 0, 1, 1))
	s.gauge("heartbeat", "worker=b", 0, 1800, 15, between(0, 0, 1, 1))
	s.gauge("heartbeat", "worker=b", 3600, 7200, 15, between(0, 0, 1, 1))
	s.send(t, w.store, w.project)
	got := live(t, w, 900, 7200,
		rule.Rule{ID: "gone", Name: "gone", Kind: rule.Absence, State: rule.Live, Query: rule.Query{Metric: "heartbeat", By: []string{"worker"}}},
		rule.Rule{ID: "never", Name: "never", Kind: rule.Absence, State: rule.Live, Query: rule.Query{Metric: "nothing"}},
		rule.Rule{ID: "keeps", Name: "keeps", Kind: rule.Threshold, State: rule.Live, Query: rule.Query{Metric: "nothing"}, Levels: []rule.Level{{Fire: "> 1"}}})
	want := []string{"19 fire keeps/nodata ticket", "40 fire gone/ticket/b ticket", "61 resolve gone/ticket/b ticket"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestLogsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	var records []*telemetrypb.LogRecord
	for at := int64(0); at < 7200; at += 2 {
		r := &telemetrypb.LogRecord{Time: uint64(begin+at) * 1e9, Body: "GET /", Severity: 9, Attributes: []*telemetrypb.KeyValue{{Key: "status", Value: "200"}}}
		if at >= 1800 && at < 2700 && at%10 == 0 || at >= 3600 && at < 3660 {
			r.Attributes[0].Value = "503"
		}
		if at == 5000 {
			r.Body = "panic: everything is lost"
		}
		records = append(records, r)
	}
	w.logs("web", records...)
	got := live(t, w, 900, 7200,
		rule.Rule{
			ID: "ratio", Name: "ratio", Kind: rule.LogRatio, State: rule.Live, FirstAction: "look at it",
			Query:  rule.Query{By: []string{"service"}, Bad: []rule.Match{{Label: "status", Op: "=~", Value: "5.."}}},
			Levels: []rule.Level{{Fire: ">= 5%", Severity: rule.Page, For: seconds(180)}},
		},
		rule.Rule{
			ID: "panic", Name: "panic", Kind: rule.LogMatch, State: rule.Live, Query: rule.Query{Text: "panic", Where: []rule.Match{{Label: "service", Op: "=", Value: "web"}}},
			Levels: []rule.Level{{Fire: ">= 1"}},
		})
	want := []string{"34 fire ratio/page/web page", "54 resolve ratio/page/web page", "64 note ratio/page/web page healed", "83 fire panic/ticket/ ticket", "98 resolve panic/ticket/ ticket"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestIssuesThatAreNewOrSpikeAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	var events []*telemetrypb.ErrorEvent
	add := func(issue uint64, at int64) {
		id := fmt.Appendf(nil, "%016x", len(events))
		events = append(events, &telemetrypb.ErrorEvent{ProjectId: w.project, EventId: id[:16], IssueId: issue, Time: uint64(begin+at) * 1e9, ReceivedAt: uint64(begin+at) * 1e9})
	}
	for back := int64(1); back <= 12; back++ { // twice in any five minutes
		for at := int64(0); at < 7200; at += 150 {
			add(7, at-back*day)
		}
	}
	for at := int64(0); at < 7200; at += 150 {
		add(7, at)
	}
	for at := int64(3600); at < 4200; at += 5 {
		add(7, at)
	}
	b := telemetry.NewErrorBlock()
	b.Add(1, &telemetrypb.ErrorFrame{Events: events})
	if err := w.store.InsertErrors(t.Context(), "a", b); err != nil {
		t.Fatal(err)
	}
	err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
		var found []catalog.IssueEvents
		for i := range 15 {
			found = append(found, catalog.IssueEvents{Project: w.project, ID: uint64(100 + i), Title: fmt.Sprint("issue ", i), FirstSeen: unix(begin + 1800 + int64(i)), LastSeen: unix(begin + 1900), Count: 1})
		}
		found = append(found, catalog.IssueEvents{Project: w.project, ID: 7, Title: "old", FirstSeen: unix(begin - 12*day), LastSeen: unix(begin + 1900), Count: 1})
		return tx.AddIssueEvents(t.Context(), found)
	})
	if err != nil {
		t.Fatal(err)
	}
	got := live(t, w, 900, 7200,
		rule.Rule{ID: "new", Name: "new", Kind: rule.IssueNew, State: rule.Live},
		rule.Rule{ID: "spike", Name: "spike", Kind: rule.IssueSpike, State: rule.Live})
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("30 fire new/mail/%d mail", 100+i))
	}
	want = append(want, "30 fire new/mail/__more__ mail", "62 fire spike/ticket/7 ticket", "89 resolve spike/ticket/7 ticket")
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

// issue counts an event of an issue, as the writer does.
func (w *world) issue(id uint64, release string, at int64) {
	w.t.Helper()
	err := w.db.InTx(w.t.Context(), func(tx *catalog.Tx) error {
		return tx.AddIssueEvents(w.t.Context(), []catalog.IssueEvents{{
			Project: w.project, ID: id, Title: fmt.Sprint("issue ", id), Level: "error", Release: release, FirstSeen: unix(begin + at), LastSeen: unix(begin + at), Count: 1,
		}})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) resolve(id uint64, release string, at int64) {
	w.t.Helper()
	_, err := w.db.ResolveIssues(w.t.Context(), w.project, []uint64{id}, catalog.Resolution{At: unix(begin + at), By: "ann@example.org", Release: release})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestIssuesThatAreBackAreToldOnce(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		w := newWorld(t, storagetest.OpenCatalog(t, cfg), storagetest.Telemetry(t))
		w.put(rule.Rule{ID: "back", Name: "back", Service: "shop", Kind: rule.IssueRegression, State: rule.Live})
		w.put(rule.Rule{ID: "fatal", Name: "fatal", Kind: rule.IssueRegression, State: rule.Live, Query: rule.Query{Issue: &rule.IssueQuery{Levels: []string{"fatal"}}}})
		for id := uint64(1); id <= 3; id++ {
			w.issue(id, "1.0", -3600)
			w.resolve(id, "2.0", -1800)
		}
		w.issue(3, "2.0", -1700) // before there was a rule
		w.now = begin
		d := &desk{}
		e := w.evaluator("a", d)
		w.until(e, 600, 10)
		w.issue(1, "1.0", 610) // older than the fix
		w.issue(2, "2.0", 620)
		w.until(e, 1200, 10)
		w.issue(2, "2.1", 1210)
		w.until(e, 1800, 10)
		w.resolve(2, "", 1800)
		w.until(e, 2400, 10)
		e = w.evaluator("b", d) // what was told is kept
		w.until(e, 3000, 10)
		w.issue(2, "2.1", 3010)
		w.until(e, 3600, 10)
		want := []string{"10 fire back/mail/2.1 mail", "30 resolve back/mail/2.1 mail issue_resolved", "50 fire back/mail/2.2 mail"}
		if diff := gocmp.Diff(want, d.told()); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
		in := d.signals[0].Instance
		day := unix(begin).Format("2 Jan 2006 ")
		before := unix(begin - 1800).Format("2 Jan 2006 ")
		facts := []incident.Fact{{Name: "Resolved", Value: before + "23:30 UTC by ann@example.org, fixed in 2.0"}, {Name: "Back", Value: day + "00:10 UTC in 2.0"}}
		if diff := gocmp.Diff(facts, in.Facts); diff != "" {
			t.Errorf("facts (-want +got):\n%s", diff)
		}
		if in.Headline != "shop: a resolved issue is back in 2.0: issue 2" || in.Labels["issue"] != "2" || !in.Since.Equal(unix(begin+620)) {
			t.Errorf("%q of issue %q since %s", in.Headline, in.Labels["issue"], in.Since)
		}
	})
}

func TestManyIssuesThatAreBackAreFolded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	w.put(rule.Rule{ID: "back", Name: "back", Kind: rule.IssueRegression, State: rule.Live})
	w.now = begin
	d := &desk{}
	e := w.evaluator("a", d)
	w.until(e, 600, 10)
	for id := uint64(100); id < 115; id++ {
		w.issue(id, "", 0)
		w.resolve(id, "", 10)
		w.issue(id, "", 610+int64(id-100))
	}
	w.until(e, 900, 10)
	var want []string
	for id := 100; id < 110; id++ {
		want = append(want, fmt.Sprintf("10 fire back/mail/%d.1 mail", id))
	}
	want = append(want, "10 fire back/mail/__more__ mail")
	got := d.told()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	if last := d.signals[len(d.signals)-1].Instance.Headline; last != "back: more than 10 resolved issues are back in an hour" {
		t.Errorf("the rest is %q", last)
	}
	// What was folded was not told, so nothing of it ends.
	w.resolve(114, "", 905)
	w.resolve(100, "", 905)
	w.until(e, 1200, 10)
	if diff := gocmp.Diff([]string{"15 resolve back/mail/100.1 mail issue_resolved"}, d.told()[len(got):]); diff != "" {
		t.Errorf("signals after issues are resolved (-want +got):\n%s", diff)
	}
}

func TestANewIssueThatIsResolvedCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	w.put(rule.Rule{ID: "new", Name: "new", Kind: rule.IssueNew, State: rule.Live})
	w.now = begin
	d := &desk{}
	e := w.evaluator("a", d)
	w.until(e, 600, 10)
	w.issue(1, "", 610)
	w.issue(2, "", 611)
	w.issue(3, "", 612)
	w.resolve(3, "", 612) // before anybody was told
	w.until(e, 900, 10)
	w.resolve(1, "", 900)
	w.until(e, 1200, 10)
	w.issue(1, "", 1210) // is another rule's matter
	w.until(e, 1500, 10)
	want := []string{"10 fire new/mail/1 mail", "10 fire new/mail/2 mail", "15 resolve new/mail/1 mail issue_resolved"}
	if diff := gocmp.Diff(want, d.told()); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestARuleLooksAtItsOwnService(t *testing.T) {
	t.Parallel()
	query := func(by, where string) rule.Query {
		q := rule.Query{Metric: "m"}
		if by != "" {
			q.By = []string{by}
		}
		if where != "" {
			q.Where = []rule.Match{{Label: where, Op: "=~", Value: ".+"}}
		}
		return q
	}
	for _, c := range []struct {
		query  rule.Query
		labels map[string]string
		want   bool
	}{
		{query("", ""), map[string]string{"service_name": "shop", "job": "team/shop"}, true},
		{query("", ""), map[string]string{"service_name": "blog", "job": "team/blog"}, false},
		{query("", ""), map[string]string{"service": "blog"}, false},
		{query("", ""), map[string]string{"job": "node"}, true},
		{query("", ""), map[string]string{}, true},
		{query("", ""), map[string]string{"service": "shop", "deployment_environment_name": "test"}, false},
		{query("service.name", ""), map[string]string{"service_name": "blog"}, true},
		{query("", "job"), map[string]string{"service_name": "blog", "job": "blog"}, true},
		{query("", "service"), map[string]string{"service_name": "blog"}, true},
	} {
		p, err := NewPlan("o", 1, 1, rule.Rule{
			ID: "r", Kind: rule.Threshold, Service: "shop", Environment: "prod", Query: c.query, Levels: []rule.Level{{Fire: "> 1"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.concerns(c.labels) && matches(p.where, c.labels); got != c.want {
			t.Errorf("%+v of %v: %t", c.query, c.labels, got)
		}
	}
}

// TestFewRequestsAreJudgedByTheWindow is that a good request now and then does not hide that many fail.
func TestFewRequestsAreJudgedByTheWindow(t *testing.T) {
	t.Parallel()
	p, err := NewPlan("o", 1, 1, errorRate("errors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bad, total float64
		want       rule.Verdict
	}{{0, 0, rule.Breach}, {0, 9, rule.Breach}, {0, 10, rule.Grey}, {1, 10, rule.Breach}, {0, 1000, rule.Grey}} {
		row := Row{Numbers: []Numbers{{Number: Number{Samples: 100, Bad: 20, Total: 100}, End: &Number{Samples: c.total, Bad: c.bad, Total: c.total}}}}
		if got := p.Verdicts(&row, 0, nil)[0].Verdict; got != c.want {
			t.Errorf("%v bad of %v at the end: %s, want %s", c.bad, c.total, got, c.want)
		}
	}
}
