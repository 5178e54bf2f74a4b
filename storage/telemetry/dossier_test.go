package telemetry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// Ten minutes, and the hour before.
func before(t testing.TB) telemetry.Scope { return scope(t, 1, -time.Hour, 0) }
func now(t testing.TB) telemetry.Scope    { return scope(t, 1, 0, 10*time.Minute) }

func TestLogPatternsAreWhatIsNewOrMoreFrequent(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var records []*telemetrypb.LogRecord
	add := func(n int, since time.Duration, severity uint32, body func(i int) string) {
		for i := range n {
			records = append(records, &telemetrypb.LogRecord{Time: at(since + time.Duration(i)*time.Second), Severity: severity, Body: body(i)})
		}
	}
	timeout := func(i int) string {
		return fmt.Sprintf(`call %d to "host %d" took %dms: id=%08x-0000-4000-8000-%012x hash deadbeef%d at 0x%x`, i, i, i*7, i, i, i, i)
	}
	steady := func(i int) string { return fmt.Sprintf("disk 'sd%d' is slow, it's %d%% full", i, i) }
	add(6, -time.Hour, 13, steady)
	add(2, time.Second, 13, steady) // twice as often, by the length of the ranges
	add(3, -time.Hour, 17, timeout)
	add(4, time.Second, 17, timeout)
	add(1, time.Minute, 21, func(int) string { return "panic: " + strings.Repeat("long ü", 1000) })
	add(50, time.Minute, 9, func(i int) string { return "no warning" })
	insertLogs(t, s, "a", logFrame(1, "api", records...), logFrame(1, "web", &telemetrypb.LogRecord{Time: at(1), Severity: 17, Body: "grüße 1"}))

	got, err := s.LogPatterns(t.Context(), before(t), now(t), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if p := got[i]; len(p.Example) > 300 || len(p.Template) > 300 || !utf8.ValidString(p.Example+p.Template) {
			t.Errorf("pattern %d is long: %+v", i, got[i])
		}
		got[i].Template, _, _ = strings.Cut(got[i].Template, " long")
		got[i].Example = ""
	}
	diff(t, "patterns", []telemetry.LogPattern{
		{Template: `call <n> to <text> took <n>ms: id=<id> hash <id> at <id>`, Level: "error", Now: 4, Before: 3},
		{Template: "grüße <n>", Level: "error", Now: 1},
		{Template: "panic:", Level: "fatal", Now: 1},
	}, got)

	got, err = s.LogPatterns(t.Context(), before(t), now(t), "web", 1)
	if err != nil || len(got) != 1 || got[0].Example != "grüße 1" {
		t.Errorf("patterns of web: %+v, %v", got, err)
	}
	got, err = s.LogPatterns(t.Context(), scope(t, 1, -time.Minute, 0), scope(t, 1, time.Second, 3*time.Second), "api", 10)
	if err != nil || len(got) != 2 || !strings.HasPrefix(got[1].Template, "disk <text> is slow, it's <n>%") {
		t.Errorf("patterns of two seconds: %+v, %v", got, err)
	}
}

func TestIssueMoversAreWhatIsNewOrMoreFrequent(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var events []*telemetrypb.ErrorEvent
	id := byte(0)
	add := func(issue uint64, n int, since time.Duration, release string) {
		for i := range n {
			id++
			e := event(1, issue, id, since+time.Duration(i)*time.Second)
			e.Title, e.Release = fmt.Sprint("issue ", issue), release
			events = append(events, e)
		}
	}
	add(1, 12, -time.Hour, "1.0") // steady: 12 an hour
	add(1, 3, 0, "1.0")
	add(2, 2, -time.Minute, "1.0")
	add(2, 1, 0, "1.0")
	add(2, 1, time.Minute, "1.1")
	add(3, 3, time.Minute, "1.1") // new
	add(4, 9, -time.Hour, "1.0")  // over
	other := event(2, 9, 200, 0)
	insertErrors(t, s, "a", append(events, other)...)
	insertErrors(t, s, "b", events...) // each sent twice

	got, err := s.IssueMovers(t.Context(), before(t), now(t), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []telemetry.IssueMove{
		{ID: 3, Title: "issue 3", Release: "1.1", Now: 3, Users: 2},
		{ID: 2, Title: "issue 2", Release: "1.1", Now: 2, Before: 2, Users: 2},
	}
	diff(t, "movers", want, got)
	got, err = s.IssueMovers(t.Context(), before(t), now(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "the first mover", want[:1], got)
}

func TestReleasesAreSeenOnce(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	release := func(id byte, d time.Duration, environment, release string) *telemetrypb.ErrorEvent {
		e := event(1, 7, id, d)
		e.Environment, e.Release = environment, release
		return e
	}
	insertErrors(t, s, "a",
		release(1, -50*time.Hour, "prod", "1.0"), release(2, time.Minute, "prod", "1.0"), // not new
		release(3, time.Minute, "test", "1.0"), release(4, 2*time.Minute, "prod", "1.1"), release(5, 3*time.Minute, "prod", "1.1"),
		release(6, 4*time.Minute, "prod", ""),
	)
	logsOf := func(version string, d time.Duration) *telemetrypb.LogFrame {
		f := logFrame(1, "api", &telemetrypb.LogRecord{Time: at(d), Body: "hello"})
		f.Batches[0].Groups[0].Resource = pairs("service.version", version, "deployment.environment.name", "prod", "host.name", d.String())
		return f
	}
	insertLogs(t, s, "a", logsOf("v1", -time.Minute), logsOf("v1", time.Minute), logsOf("v2", 90*time.Second), logsOf("v2", 5*time.Minute), logFrame(1, "api", &telemetrypb.LogRecord{Time: at(1)}))
	want := []telemetry.ReleaseSeen{
		{Environment: "test", Release: "1.0", FirstAt: noon.Add(time.Minute)},
		{Environment: "prod", Service: "api", Release: "v2", FirstAt: noon.Add(90 * time.Second)},
		{Environment: "prod", Release: "1.1", FirstAt: noon.Add(2 * time.Minute)},
	}
	got, err := s.ReleasesSeen(t.Context(), now(t), 10)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "releases", want, got)
	if got, err = s.ReleasesSeen(t.Context(), scope(t, 2, 0, time.Hour), 10); err != nil || len(got) != 0 {
		t.Errorf("another project: %+v, %v", got, err)
	}
}

func TestResourceGaugesAreThoseOfTheServiceAndItsHosts(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertMetrics(t, s, "a", metricFrame(1,
		series("process_memory_usage_bytes", gauge, 1, pairs("job", "shop/api", "host_name", "h1"), sample(-2*time.Minute, 1), sample(-time.Minute, 2), sample(time.Minute, 3)),
		series("process_memory_usage_bytes", gauge, 2, pairs("job", "shop/web", "host_name", "h2"), sample(-time.Minute, 5)),
		series("node_filesystem_avail_bytes", gauge, 3, pairs("instance", "h1", "mountpoint", "/"), sample(-time.Minute, 7)),
		series("node_filesystem_avail_bytes", gauge, 4, pairs("instance", "h2", "mountpoint", "/"), sample(-time.Minute, 8)),
		series("system_filesystem_usage", gauge, 5, pairs("host_name", "h1"), sample(-15*time.Minute, 9)), // ended
		series("requests_total", counter, 6, pairs("job", "shop/api"), sample(-time.Minute, 1)),
	))
	f := func(service string, want ...float64) {
		t.Helper()
		got, err := s.ResourceGauges(t.Context(), 1, service, noon, 10)
		if err != nil {
			t.Fatal(err)
		}
		values := []float64{}
		for _, g := range got {
			if g.Unit != "s" || g.At != noon.Add(-time.Minute) || len(g.Labels) == 0 || g.Metric == "" {
				t.Errorf("%+v", g)
			}
			values = append(values, g.Value)
		}
		diff(t, "gauges of "+service, want, values)
	}
	f("api", 2, 7)
	f("web", 5, 8)
	f("none")
	f("", 7, 8, 2, 5)
}

func TestBadAsksForADossierAreRefused(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	ctx, one, two := t.Context(), now(t), scope(t, 2, 0, time.Hour)
	var got []error
	note := func(_ any, err error) { got = append(got, err) }
	note(s.LogPatterns(ctx, one, two, "", 10))
	note(s.IssueMovers(ctx, one, two, 10))
	note(s.LogPatterns(ctx, one, one, "", 0))
	note(s.IssueMovers(ctx, one, one, 101))
	note(s.ReleasesSeen(ctx, telemetry.Scope{}, 1))
	note(s.ResourceGauges(ctx, 0, "", noon, 1))
	for i, err := range got {
		if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
			t.Errorf("%d: %v, want an InvalidError", i, err)
		}
	}
}

func TestLagIsWhatMostRecordsTook(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var records []*telemetrypb.LogRecord
	for i := range 1000 {
		lag := time.Second
		if i < 20 {
			lag = time.Minute
		}
		records = append(records, &telemetrypb.LogRecord{Time: at(time.Duration(i)), ObservedTime: at(time.Duration(i) + lag)})
	}
	records = append(records, &telemetrypb.LogRecord{Time: at(time.Second), ObservedTime: at(0)}) // a clock ahead
	insertLogs(t, s, "a", logFrame(1, "api", records...))
	insertErrors(t, s, "a", event(1, 7, 1, 0))
	fill(t, s, 2)
	for _, c := range []struct {
		signal  string
		project uint32
		lag     time.Duration
		records int64
	}{
		{telemetry.SignalLogs, 1, time.Minute, 1001},
		{telemetry.SignalErrors, 1, time.Second, 1},
		{telemetry.SignalCheckins, 1, 0, 0},
		{telemetry.SignalMetrics, 2, 0, 0},
		{telemetry.SignalLogs, 2, 0, 1},
	} {
		lag, n, err := s.IngestLag(t.Context(), hour(t, c.project), c.signal)
		if err != nil || lag != c.lag || n != c.records {
			t.Errorf("IngestLag of %s of project %d: %v, %d, %v; want %v, %d", c.signal, c.project, lag, n, err, c.lag, c.records)
		}
	}
	if _, _, err := s.IngestLag(t.Context(), hour(t, 1), "spans"); err == nil {
		t.Error("an unknown signal has a lag")
	}
}

func TestVolumeIsCountedByMinute(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	fill(t, s, 1)
	fill(t, s, 2)
	insertMetrics(t, s, "more", metricFrame(1, series("m", gauge, 1, nil, sample(61*time.Second, 1), sample(62*time.Second, 1), sample(3*time.Minute, 1))))
	insertErrors(t, s, "more", event(1, 7, 2, time.Minute))
	got, err := s.VolumeByMinute(t.Context(), scope(t, 1, 0, 150*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "volume", []telemetry.Volume{
		{At: noon, Samples: 1, Logs: 1, Errors: 1, Checkins: 1},
		{At: noon.Add(time.Minute), Samples: 2, Errors: 1},
		{At: noon.Add(2 * time.Minute)},
	}, got)
	if _, err := s.VolumeByMinute(t.Context(), scope(t, 1, -32*24*time.Hour, 0)); err == nil {
		t.Error("more minutes than the limit were counted")
	}
}
