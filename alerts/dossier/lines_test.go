package dossier

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// A night in Berlin: checkout has been failing since 02:41, and it is 02:47.
func night(t testing.TB) about {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 21, 1, 41, 0, 0, time.UTC)
	return about{
		Incident: catalog.Incident{
			ID: "019aa3c2-7d10-7b52-9c1e-5f2f6f0d9a11", Number: 12, Organisation: "org", Project: 1, Service: "checkout", Since: since,
		},
		worst: incident.Instance{
			Rule: "checkout-errors", Name: "Checkout errors", Kind: rule.ErrorRate, Value: 0.12, Unit: "1", Limit: ">= 5 %",
			Labels: map[string]string{"service": "checkout"},
		},
		environment: "production", at: since.Add(6 * time.Minute), onset: since.Add(-lead), zone: zone, pages: "https://midwatch.example/p/1/",
	}
}

func (a about) minutes(n int) time.Time { return a.Since.Add(time.Duration(n) * time.Minute) }

// whole is all parts of a dossier with much to tell.
func whole(t testing.TB, a about) []part {
	t.Helper()
	section := func(title string, lines []notify.Line) part {
		return part{section: notify.Section{Title: title, Lines: lines}}
	}
	c := curve{
		rule: rule.Rule{Kind: rule.ErrorRate, Query: rule.Query{Source: rule.Metrics, Metric: "http.server.request.duration"}}.WithDefaults(),
		unit: "1", start: a.minutes(-60), step: time.Minute, since: a.Since, bound: rule.Bound{Op: rule.GreaterEqual, Value: 0.05},
	}
	for i := range 67 {
		v := 0.004 + 0.002*math.Sin(float64(i))
		if i >= 60 {
			v = math.Min(0.12, 0.05+0.02*float64(i-60))
		}
		c.values = append(c.values, v)
	}
	chart, err := c.draw(a)
	if err != nil {
		t.Fatal(err)
	}
	return []part{
		feel(a, 1212, 340),
		{chart: &chart, facts: c.facts()},
		section("Deploys", deployLines(a, []catalog.Deploy{
			{At: a.minutes(-50), Service: "search", Release: "2026.11.3", Environment: "production", Source: "api"},
			{At: a.minutes(-3), Service: "checkout", Release: "1.42.0", Environment: "production", Person: "ann", URL: "https://ci.example/42", Source: "api"},
			{At: a.minutes(-2), Service: "checkout", Release: "1.43.0-rc1", Environment: "staging", Source: "api"},
		}, []telemetry.ReleaseSeen{{Release: "1.42.0", Environment: "production", FirstAt: a.minutes(0)}})),
		section("Errors that are new or more frequent", issueLines(a, []telemetry.IssueMove{
			{ID: 0x5b, Title: "TypeError: Cannot read properties of undefined (reading 'amount') in calculateTotal of the cart that was left open over night", Release: "1.42.0", Now: 1180, Users: 331},
			{ID: 0xabcdef0123456789, Title: "TimeoutError: payments.internal", Now: 31, Before: 4, Users: 12},
			{ID: 7, Title: "connection reset", Now: 1},
		}, map[uint64]catalog.Issue{0x5b: {FirstSeen: a.minutes(-1)}, 7: {FirstSeen: a.minutes(-9000)}})),
		section("Log messages that are new or more frequent", logLines(a, []telemetry.LogPattern{
			{Template: `card gateway answered <n> for "order" after <n>ms`, Example: "card gateway answered 502", Level: "error", Now: 412},
			{Template: "<n>: retry", Example: "3: retry", Level: "warn", Now: 1, Before: 0},
		})),
		section("Jobs that failed or are late", jobLines(a, []catalog.Monitor{
			{Slug: "nightly-export", Name: "Nightly export", State: catalog.MonitorState{Status: catalog.MonitorMissed, Since: a.minutes(-20)}},
			{Slug: "backup", State: catalog.MonitorState{Status: catalog.MonitorOK}},
		})),
		section("Probes that fail", probeLines(a, []telemetry.MetricSeries{
			{Labels: map[string]string{"probe": "p1", "probe_name": "Shop", "region": "eu"}, Points: []telemetry.Point{{Value: 1}, {Value: 0}}},
			{Labels: map[string]string{"probe": "p1", "probe_name": "Shop", "region": "us"}, Points: []telemetry.Point{{Value: 0}}},
			{Labels: map[string]string{"probe": "p2", "probe_name": "Blog", "region": "eu"}, Points: []telemetry.Point{{Value: 1}}},
		})),
		section("Disk and memory", resourceLines(a, []telemetry.ResourceGauge{
			{Metric: "node_filesystem_avail_bytes", Labels: map[string]string{"instance": "shop-1", "mountpoint": "/"}, Value: 9},
			{Metric: "node_filesystem_size_bytes", Labels: map[string]string{"instance": "shop-1", "mountpoint": "/"}, Value: 100},
			{Metric: "system_memory_usage_bytes", Labels: map[string]string{"host_name": "shop-1", "state": "used"}, Value: 5},
			{Metric: "system_memory_usage_bytes", Labels: map[string]string{"host_name": "shop-1", "state": "free"}, Value: 3},
		})),
		section("Also open", otherLines(a, []catalog.Incident{
			{ID: a.ID, Project: 1, Service: "checkout"},
			{ID: "b", Number: 11, Project: 1, Service: "checkout", Severity: "ticket", Title: "checkout: memory 91 % of its limit", Since: a.minutes(-200)},
			{ID: "c", Number: 10, Project: 1, Service: "blog", Severity: "ticket", Title: "blog: slow"},
		})),
		section("The last time", lastLines(a,
			catalog.Incident{ID: "d", Title: "checkout: 31 % errors", Since: a.minutes(-70_000), ResolvedAt: a.minutes(-69_991)},
			[]catalog.IncidentEntry{{Kind: "opened", Text: "Opened"}, {Kind: "note", Person: "u1", Text: "Rolled back checkout 1.39.2,\nthe errors ended at once"}},
			map[string]string{"u1": "Ann"})),
	}
}

// page is the message of such a night as the desk writes it, with the dossier.
func page(t testing.TB) notify.Message {
	t.Helper()
	a := night(t)
	m := notifytest.Page()
	m.At, m.Since = a.at, a.Since
	m.Sections, m.Chart = nil, nil
	m.Facts = []notify.Fact{{Name: "Value", Value: "12 %"}, {Name: "Limit", Value: ">= 5 %"}, {Name: "Service", Value: "checkout"}, {Name: "Environment", Value: "production"}}
	frozen, err := json.Marshal(assemble(a, whole(t, a)))
	if err != nil {
		t.Fatal(err)
	}
	if err := Add(&m, frozen); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAPageWithItsDossierReadsWell(t *testing.T) {
	m := page(t)
	if diff := cmp.Diff(m, m.Bounded()); diff != "" {
		t.Errorf("it is cut:\n%s", diff)
	}
	notifytest.Golden(t, "page.txt", []byte(notify.Text(m)))
	html, err := notify.HTML(m, "cid:chart@midwatch")
	if err != nil {
		t.Fatal(err)
	}
	notifytest.Golden(t, "page.html", []byte(html))
	if folder := os.Getenv("MIDWATCH_TEST_PICTURES"); folder != "" {
		html, err = notify.HTML(m, "data:image/png;base64,"+base64.StdEncoding.EncodeToString(m.Chart.PNG))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "page.html"), []byte(html), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryLineOfADossierIsShort(t *testing.T) {
	a := night(t)
	long := strings.Repeat("ü long ", 100)
	a.Service, a.worst.Name, a.environment = long, long, ""
	var (
		deploys  []catalog.Deploy
		moves    []telemetry.IssueMove
		patterns []telemetry.LogPattern
		monitors []catalog.Monitor
		series   []telemetry.MetricSeries
		gauges   []telemetry.ResourceGauge
		open     []catalog.Incident
		entries  []catalog.IncidentEntry
	)
	for i := range 20 {
		deploys = append(deploys, catalog.Deploy{At: a.Since, Service: long, Release: long, Person: long})
		moves = append(moves, telemetry.IssueMove{ID: uint64(i), Title: long, Release: long, Now: math.MaxInt64, Users: math.MaxInt64})
		patterns = append(patterns, telemetry.LogPattern{Template: long, Example: long, Now: math.MaxInt64, Before: math.MaxInt64})
		monitors = append(monitors, catalog.Monitor{Slug: long, Name: long, State: catalog.MonitorState{Status: catalog.MonitorLate, Since: a.at}})
		series = append(series, telemetry.MetricSeries{Labels: map[string]string{"probe": fmt.Sprint(i), "probe_name": long, "region": long}, Points: []telemetry.Point{{Value: 0}}})
		gauges = append(gauges, telemetry.ResourceGauge{Metric: "system_filesystem_utilization_ratio", Labels: map[string]string{"host_name": long, "mountpoint": fmt.Sprint(i, long)}, Value: 1})
		open = append(open, catalog.Incident{ID: fmt.Sprint(i), Project: 1, Service: long, Title: long, Severity: "ticket", Since: a.at})
		entries = append(entries, catalog.IncidentEntry{Kind: "note", Person: long, Text: long})
	}
	for name, lines := range map[string][]notify.Line{
		"users": feel(a, math.MaxInt64, math.MaxInt64).section.Lines, "deploys": deployLines(a, deploys, nil), "issues": issueLines(a, moves, nil),
		"logs": logLines(a, patterns), "jobs": jobLines(a, monitors), "probes": probeLines(a, series), "resources": resourceLines(a, gauges),
		"others": otherLines(a, open), "last": lastLines(a, catalog.Incident{Title: long}, entries, nil),
	} {
		if len(lines) == 0 || len(lines) > maxLines {
			t.Errorf("%s: %d lines", name, len(lines))
		}
		for _, l := range lines {
			if n := utf8.RuneCountInString(l.Text); n > maxCharacter || n == 0 {
				t.Errorf("%s: %d characters: %s", name, n, l.Text)
			}
		}
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	a := night(t)
	parts := whole(t, a)
	parts[3] = part{name: "errors", err: fmt.Errorf("read: %w", context.DeadlineExceeded)}
	parts[4] = part{name: "log messages", err: &telemetry.LimitError{}}
	parts[5] = part{name: "jobs", err: errors.New("no database")}
	d := assemble(a, parts)
	last := d.Sections[len(d.Sections)-1]
	want := notify.Section{Title: "Left out", Lines: []notify.Line{
		{Text: "not known: errors, log messages (reading took too long)"}, {Text: "not known: jobs (could not be read)"},
	}}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Error(diff)
	}
	if len(d.Sections) != 7 {
		t.Errorf("%d sections", len(d.Sections))
	}
}

func TestADossierIsAddedOnce(t *testing.T) {
	a := night(t)
	frozen, err := json.Marshal(assemble(a, whole(t, a)))
	if err != nil {
		t.Fatal(err)
	}
	m := notify.Message{At: a.at.Add(time.Hour), Zone: "Europe/Berlin"}
	if err := Add(&m, frozen); err != nil {
		t.Fatal(err)
	}
	if f := m.Facts[len(m.Facts)-1]; f != (notify.Fact{Name: "Known at", Value: "02:47 CET"}) {
		t.Errorf("a late message says %v", f)
	}
	once, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := Add(&m, frozen); err != nil {
		t.Fatal(err)
	}
	twice, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(once), string(twice)); diff != "" {
		t.Error(diff)
	}
	if err := Add(&m, []byte("{")); err == nil {
		t.Error("a broken dossier is added")
	}
}

func TestHowFullThingsAreIsReadFromWhatExportersSay(t *testing.T) {
	g := func(metric string, v float64, pairs ...string) telemetry.ResourceGauge {
		labels := map[string]string{}
		for i := 0; i+1 < len(pairs); i += 2 {
			labels[pairs[i]] = pairs[i+1]
		}
		return telemetry.ResourceGauge{Metric: metric, Value: v, Labels: labels}
	}
	for _, c := range []struct {
		name string
		have []telemetry.ResourceGauge
		want []string
	}{
		{"OpenTelemetry's host metrics", []telemetry.ResourceGauge{
			g("system_filesystem_usage_bytes", 70, "host_name", "h", "mountpoint", "/", "state", "used", "type", "ext4"),
			g("system_filesystem_usage_bytes", 30, "host_name", "h", "mountpoint", "/", "state", "free", "type", "ext4"),
			g("system_filesystem_usage_bytes", 30, "host_name", "h", "mountpoint", "/snap", "state", "used", "type", "squashfs"),
		}, []string{"disk / of h 70 % full"}},
		{"a disk told twice", []telemetry.ResourceGauge{
			g("system_filesystem_utilization_ratio", 0.7, "host_name", "h", "mountpoint", "/"),
			g("system_filesystem_usage", 1, "host_name", "h", "mountpoint", "/", "state", "used"),
		}, []string{"disk / of h 70 % full"}},
		{"node_exporter", []telemetry.ResourceGauge{
			g("node_memory_MemAvailable_bytes", 25, "instance", "h:9100"), g("node_memory_MemTotal_bytes", 100, "instance", "h:9100"),
			g("node_memory_MemTotal_bytes", 100, "instance", "other:9100"),
		}, []string{"memory of h:9100 75 % used"}},
		{"a volume", []telemetry.ResourceGauge{
			g("kubelet_volume_stats_available_bytes", 5, "persistentvolumeclaim", "data"), g("kubelet_volume_stats_capacity_bytes", 100, "persistentvolumeclaim", "data"),
		}, []string{"volume data 95 % full"}},
		{"a heap in pools", []telemetry.ResourceGauge{
			g("jvm_memory_used_bytes", 30, "pool", "a", "host_name", "h"), g("jvm_memory_used_bytes", 30, "pool", "b", "host_name", "h"),
			g("jvm_memory_limit_bytes", 50, "pool", "a", "host_name", "h"), g("jvm_memory_limit_bytes", 50, "pool", "b", "host_name", "h"),
		}, []string{"Java heap of h 60 % used"}},
		{"a container without a limit", []telemetry.ResourceGauge{
			g("container_memory_working_set_bytes", 30, "container", "c"), g("container_spec_memory_limit_bytes", 0, "container", "c"),
		}, nil},
		{"processes", []telemetry.ResourceGauge{
			g("process_resident_memory_bytes", 1<<20), g("process_resident_memory_bytes", 2<<30, "instance", "b"),
		}, []string{"the largest of 2 processes has 2 GiB of memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, l := range resourceLines(night(t), c.have) {
				got = append(got, l.Text)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAReleaseIsToldOnceHoweverItIsKnown(t *testing.T) {
	a := night(t)
	f := func(want []string, noted []catalog.Deploy, seen ...telemetry.ReleaseSeen) {
		t.Helper()
		var got []string
		for _, l := range deployLines(a, noted, seen) {
			got = append(got, l.Text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	inErrors := telemetry.ReleaseSeen{Environment: "production", Release: "2.0", FirstAt: a.minutes(-1)}
	inLogs := telemetry.ReleaseSeen{Service: "checkout", Release: "2.0", FirstAt: a.minutes(1)}
	f([]string{"none in the 2 h before"}, nil)
	f([]string{"none in the 2 h before"}, []catalog.Deploy{{Release: "2.0", Environment: "staging", At: a.minutes(-1)}})
	f([]string{"2.0 of checkout first seen in errors 02:40 CET, 1 min before"}, nil, inErrors, inLogs)
	f([]string{"2.0 of checkout first seen in logs 02:42 CET, 1 min after it began"}, nil, inLogs)
	f([]string{"2.0 of checkout deployed 02:41 CET, as it began"}, []catalog.Deploy{{Release: "2.0", At: a.Since, Source: "api"}}, inErrors, inLogs)
	f([]string{"2.0 of checkout deployed 02:41 CET, as it began"}, []catalog.Deploy{
		{Release: "2.0", Service: "checkout", At: a.Since, Source: "api"}, {Release: "checkout@2.0", At: a.minutes(1), Source: catalog.DeployFromErrors},
	}, telemetry.ReleaseSeen{Release: "checkout@2.0", FirstAt: a.minutes(1)})
	f([]string{"2.0 first seen in errors 02:40 CET, 1 min before"}, []catalog.Deploy{{Release: "2.0", At: a.minutes(-1), Source: catalog.DeployFromErrors}}, inErrors)
}

func TestAPhraseFindsTheMessagesOfATemplate(t *testing.T) {
	for template, want := range map[string]string{
		`card gateway answered <n> for "order" after <n>ms`: `"card gateway answered"`,
		`say "hi" \ to <id>`: `"say \"hi\" \\ to"`,
		`<n>: <id>`:          "",
	} {
		if got := phrase(template); got != want {
			t.Errorf("%s: %s, want %s", template, got, want)
		}
	}
}

func TestAShareIsSaidAsPeopleDo(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{
		1: "Nearly all requests", 0.91: "About 9 in 10 requests", 0.41: "About 4 in 10 requests", 0.47: "About half of the requests",
		0.33: "About 1 in 3 requests", 0.12: "About 1 in 8 requests", 0.0004: "About 1 in 2,500 requests",
	} {
		if got := oneIn(share); got != want {
			t.Errorf("oneIn(%v) = %q, want %q", share, got, want)
		}
	}
}

// TestAnErrorThatIsBackIsSaidToBe is that only a regression since the trouble began is told as one.
func TestAnErrorThatIsBackIsSaidToBe(t *testing.T) {
	t.Parallel()
	a := night(t)
	life := catalog.IssueLife{Resolution: 1, ResolvedAt: a.minutes(-300), RegressedFrom: 1, RegressedAt: a.minutes(1)}
	before := life
	before.RegressedAt = a.minutes(-200)
	var got []string
	for _, l := range issueLines(a, []telemetry.IssueMove{{ID: 1, Title: "back", Now: 2}, {ID: 2, Title: "long back", Now: 2, Before: 5}},
		map[uint64]catalog.Issue{1: {FirstSeen: a.minutes(-9000), IssueLife: life}, 2: {FirstSeen: a.minutes(-9000), IssueLife: before}}) {
		got = append(got, l.Text)
	}
	want := []string{"back: 2 events, back after it was resolved " + a.clock(life.ResolvedAt), "long back: 2 events, 5 in the hour before"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
