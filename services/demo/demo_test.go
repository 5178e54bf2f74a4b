package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, time.November, 21, 10, 10, 33, 0, time.UTC)

// receiver is an intake that keeps what it gets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies map[string][][]byte // by path
	// refuse may answer instead.
	refuse func(w http.ResponseWriter, r *http.Request) bool
}

func receive(t testing.TB, refuse func(http.ResponseWriter, *http.Request) bool) *receiver {
	t.Helper()
	rec := &receiver{bodies: map[string][][]byte{}, refuse: refuse}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client gave up
		}
		if rec.refuse != nil && rec.refuse(w, r) {
			return
		}
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err == nil {
				body, err = io.ReadAll(z)
			}
			if err != nil {
				t.Errorf("decompress %s: %v", r.URL.Path, err)
			}
		}
		auth := r.Header.Get("Authorization") + r.Header.Get("X-Sentry-Auth") + r.URL.Path
		if !strings.Contains(auth, "0123456789abcdef") {
			t.Errorf("%s has no key", r.URL.Path)
		}
		rec.mu.Lock()
		rec.bodies[r.URL.Path] = append(rec.bodies[r.URL.Path], body)
		rec.mu.Unlock()
	}))
	t.Cleanup(rec.Close)
	return rec
}

func (r *receiver) options() Options {
	return Options{URL: r.URL + "/", Key: "0123456789abcdef", Project: 7, Hours: 1, Seed: 3, Now: now}
}

func run1(t testing.TB, o Options) {
	t.Helper()
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// sorted makes what came comparable: which request came first is up to the scheduler.
func (r *receiver) sorted() map[string][]string {
	out := map[string][]string{}
	for path, bodies := range r.bodies {
		for _, body := range bodies {
			out[path] = append(out[path], string(body))
		}
		slices.Sort(out[path])
	}
	return out
}

func TestTheSameOptionsTellTheSameStory(t *testing.T) {
	t.Parallel()
	first, second, third := receive(t, nil), receive(t, nil), receive(t, nil)
	run1(t, first.options())
	run1(t, second.options())
	other := third.options()
	other.Seed++
	run1(t, other)
	if !maps.EqualFunc(first.sorted(), second.sorted(), slices.Equal) {
		t.Error("the same seed and time made different requests")
	}
	if maps.EqualFunc(first.sorted(), third.sorted(), slices.Equal) {
		t.Error("another seed made the same requests")
	}
}

func TestVolume(t *testing.T) {
	t.Parallel()
	rec := receive(t, nil)
	o := rec.options()
	o.Hours = 6
	var out bytes.Buffer
	o.Out = &out
	run1(t, o)

	lines := 0
	bodies := map[string]int{}
	for _, body := range rec.bodies["/v1/ingest/logs"] {
		for text := range bytes.Lines(body) {
			var record struct {
				Time, Level, Service, Message string
				TraceID                       string `json:"trace_id"`
			}
			if err := json.Unmarshal(text, &record); err != nil {
				t.Fatalf("log line %s: %v", text, err)
			}
			at, err := time.Parse(time.RFC3339Nano, record.Time)
			if err != nil || at.After(now) || at.Before(now.Add(-6*time.Hour-time.Minute)) {
				t.Fatalf("log line of %q (%v)", record.Time, err)
			}
			if record.Service != web || record.Message == "" || record.Level == "" {
				t.Fatalf("log line %s", text)
			}
			bodies[record.Message]++
			lines++
		}
	}
	traces := map[string]map[string]bool{}
	for _, body := range rec.bodies["/v1/logs"] {
		var message collectorlogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(body, &message); err != nil {
			t.Fatal(err)
		}
		for _, r := range message.GetResourceLogs() {
			service := r.GetResource().GetAttributes()[0].GetValue().GetStringValue()
			for _, record := range r.GetScopeLogs()[0].GetLogRecords() {
				lines++
				bodies[record.GetBody().GetStringValue()]++
				if trace := string(record.GetTraceId()); trace != "" {
					if traces[trace] == nil {
						traces[trace] = map[string]bool{}
					}
					traces[trace][service] = true
				}
			}
		}
	}
	across := 0
	for _, services := range traces {
		if len(services) > 1 {
			across++
		}
	}

	samples, perReading := 0, 0
	for _, body := range rec.bodies["/v1/metrics"] {
		var message collectormetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(body, &message); err != nil {
			t.Fatal(err)
		}
		perReading = 0
		for i, r := range message.GetResourceMetrics() {
			n := 0
			for _, m := range r.GetScopeMetrics()[0].GetMetrics() {
				n += len(m.GetGauge().GetDataPoints()) + len(m.GetSum().GetDataPoints())
				for _, p := range m.GetHistogram().GetDataPoints() {
					n += len(p.GetBucketCounts()) + 2
				}
			}
			samples += n
			if i < 6 {
				perReading += n
			}
		}
	}

	kinds := map[string]bool{}
	releases := map[string]int{}
	events, runs := 0, 0
	for _, body := range rec.bodies["/api/7/envelope/"] {
		parts := bytes.SplitN(body, []byte("\n"), 3)
		if strings.Contains(string(parts[1]), `"check_in"`) {
			runs++
			continue
		}
		var e struct {
			Timestamp string `json:"timestamp"`
			Platform  string `json:"platform"`
			Release   string `json:"release"`
			Message   *struct{ Formatted string }
			Exception struct{ Values []struct{ Type string } }
		}
		if err := json.Unmarshal(parts[2], &e); err != nil {
			t.Fatalf("event %s: %v", parts[2], err)
		}
		events++
		releases[e.Release]++
		if e.Message != nil {
			kinds["message"] = true
		} else {
			kinds[e.Platform+" "+e.Exception.Values[0].Type] = true
		}
	}
	t.Logf("%d log lines (%d different), %d traces in several services, %d samples, %d series, %d events of %d kinds, releases %v, %d envelopes of runs",
		lines, len(bodies), across, samples, perReading, events, len(kinds), releases, runs)
	t.Logf("%s", out.String())

	between := func(name string, got, low, high int) {
		t.Helper()
		if got < low || got > high {
			t.Errorf("%s: %d, want %d to %d", name, got, low, high)
		}
	}
	between("log lines", lines, 50_000, 70_000)
	between("series", perReading, 150, 700)
	between("events", events, 1_000, 2_000)
	between("kinds of errors", len(kinds), 12, 12)
	between("traces in several services", across, 1_000, 20_000)
	between("events of the bad release", releases[badRelease], 500, 1_200)
	between("check-ins by envelope", runs, 16, 16)
	between("check-ins by ping", len(rec.bodies["/ping/0123456789abcdef/cache-warmer/start"])+len(rec.bodies["/ping/0123456789abcdef/cache-warmer/0"]), 2, 2)
	if last := strings.TrimSpace(out.String()); !strings.Contains(last, "logs "+grouped(int64(lines))+"/"+grouped(int64(lines))) || !strings.Contains(last, "check-ins 20/20") {
		t.Errorf("the last word on progress is %q", last)
	}
}

// TestCountersOnlyRise within the life of a process.
func TestCountersOnlyRise(t *testing.T) {
	t.Parallel()
	s := newStory(Options{Hours: 6, Rate: 1, Seed: 1, Now: now})
	m := newMeters(s)
	type series struct{ instance, metric, attributes string }
	type value struct {
		start uint64
		n     float64
	}
	seen := map[series]value{}
	restarts := 0
	for at := s.begin; !at.After(s.now); at = at.Add(step) {
		for _, r := range m.read(at) {
			check := func(metric string, attributes string, v value) {
				k := series{r.instance, metric, attributes}
				before, known := seen[k]
				switch {
				case known && before.start != v.start:
					restarts++
				case known && v.n < before.n:
					t.Fatalf("%v falls from %g to %g at %s", k, before.n, v.n, at)
				}
				if v.start > uint64(at.UnixNano()) {
					t.Fatalf("%v starts after %s", k, at)
				}
				seen[k] = v
			}
			for _, metric := range r.metrics {
				for _, p := range metric.GetSum().GetDataPoints() {
					check(metric.GetName(), attributeText(p), value{p.GetStartTimeUnixNano(), p.GetAsDouble()})
				}
				for _, p := range metric.GetHistogram().GetDataPoints() {
					var total uint64
					for _, n := range p.GetBucketCounts() {
						total += n
					}
					if total != p.GetCount() {
						t.Fatalf("%s has %d in its buckets and %d in all", metric.GetName(), total, p.GetCount())
					}
					check(metric.GetName(), histogramText(p), value{p.GetStartTimeUnixNano(), float64(p.GetCount())})
				}
			}
		}
	}
	if restarts == 0 {
		t.Error("no process restarts")
	}
}

func attributeText(p *metricspb.NumberDataPoint) string {
	var b strings.Builder
	for _, a := range p.GetAttributes() {
		b.WriteString(a.String())
	}
	return b.String()
}

func histogramText(p *metricspb.HistogramDataPoint) string {
	var b strings.Builder
	for _, a := range p.GetAttributes() {
		b.WriteString(a.String())
	}
	return b.String()
}

func TestStory(t *testing.T) {
	t.Parallel()
	s := newStory(Options{Hours: 6, Rate: 1, Seed: 1, Now: now})
	deaths, bad := 0, 0
	for slot := slotOf(s.begin); slot <= lastSlot(s.now); slot++ {
		if s.outOfMemory(slot) {
			deaths++
		}
		if s.bad(slotTime(slot)) {
			bad++
		}
	}
	if deaths == 0 {
		t.Error("the worker never runs out of memory")
	}
	if minutes := time.Duration(bad) * slotLength; minutes < 30*time.Minute || minutes > time.Hour {
		t.Errorf("the bad release serves for %s", minutes)
	}
	if got := s.release(s.now); got != fixedRelease {
		t.Errorf("release at the end is %s", got)
	}
	for after, want := range map[time.Duration]bool{untilBroken - time.Minute: false, untilBroken + time.Minute: true, untilMended + time.Minute: false} {
		if got := s.bad(s.now.Add(after)); got != want {
			t.Errorf("%s after now orders fail: %t", after, got)
		}
	}
}

func TestDeploysAreTold(t *testing.T) {
	t.Parallel()
	rec := receive(t, nil)
	told := false
	o := rec.options()
	o.Told = func(context.Context) error {
		told = true
		return nil
	}
	run1(t, o)
	if !told {
		t.Error("nobody was told that the past is there")
	}
	got := map[string]int{}
	for _, body := range rec.bodies["/api/v1/midwatch/deploys"] {
		var d struct{ Service, Environment, Release string }
		if err := json.Unmarshal(body, &d); err != nil || d.Environment != environment {
			t.Fatalf("deploy %s: %v", body, err)
		}
		got[d.Service+" "+d.Release]++
	}
	want := map[string]int{}
	for _, service := range services {
		for _, release := range []string{goodRelease, badRelease, fixedRelease} {
			want[service+" "+release] = 1
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deploys (-want +got):\n%s", diff)
	}
}

func TestTimetable(t *testing.T) {
	t.Parallel()
	s := newStory(Options{Hours: 1, Rate: 1, Seed: 1, Now: now})
	table, err := newTimetable(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.first(); err != nil {
		t.Fatal(err)
	}
	begun, ended := map[string]int{}, map[string]int{}
	var late []time.Time
	for at := s.now; at.Before(s.now.Add(2 * time.Hour)); at = at.Add(slotLength) {
		runs, err := table.until(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			if r.ended {
				ended[r.job.slug]++
				continue
			}
			begun[r.job.slug]++
			if r.job.late > 0 {
				late = append(late, at)
			}
		}
	}
	want := map[string]int{
		"billing-export": 2, "search-reindex": 6, "inventory-sync": 24, "payout-reconcile": 12, "session-cleanup": 7,
		"fraud-scoring": 120, "disk-snapshots": 1, "cache-warmer": 59,
	}
	if diff := cmp.Diff(want, begun); diff != "" {
		t.Errorf("runs in two hours (-want +got):\n%s", diff)
	}
	for slug, n := range begun {
		if n-ended[slug] > 1 {
			t.Errorf("%s: %d runs began, %d ended", slug, n, ended[slug])
		}
	}
	due := s.now.Add(8 * time.Minute).Truncate(time.Minute)
	if got := late[0].Sub(due); got < 14*time.Minute || got > 15*time.Minute {
		t.Errorf("the late job runs %s after it is due", got)
	}
}

func TestMoment(t *testing.T) {
	t.Parallel()
	rec := receive(t, nil)
	o, err := rec.options().complete()
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{Options: o, story: newStory(o), client: &http.Client{Transport: &http.Transport{}}}
	defer d.client.CloseIdleConnections()
	d.meters = newMeters(d.story)
	if d.timetable, err = newTimetable(d.story); err != nil {
		t.Fatal(err)
	}
	slot := lastSlot(d.story.now) + 1
	if err := d.moment(t.Context(), slot, slot+stepSlots-1); err != nil {
		t.Fatal(err)
	}
	if err := d.moment(t.Context(), slot+stepSlots, slot+stepSlots-1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/ingest/logs", "/v1/logs", "/v1/metrics", "/ping/0123456789abcdef/cache-warmer/start"} {
		if len(rec.bodies[path]) != 1 {
			t.Errorf("%s: %d requests, want one", path, len(rec.bodies[path]))
		}
	}
}

func TestLiveEndsWithTheContext(t *testing.T) {
	t.Parallel()
	rec := receive(t, nil)
	o := rec.options()
	o.Hours, o.Live = 0.05, true
	ctx, cancel := context.WithCancel(t.Context())
	o.Out = writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "present") {
			cancel()
		}
		return len(p), nil
	})
	if err := Run(ctx, o); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestBusyIntakeIsTriedAgain(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	rec := receive(t, func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Path]++
		if seen[r.URL.Path] > 1 {
			return false
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[len(seen)%2])
		return true
	})
	o := rec.options()
	o.Hours = 0.1
	calm := receive(t, nil)
	same := calm.options()
	same.Hours = 0.1
	run1(t, o)
	run1(t, same)
	if !maps.EqualFunc(rec.sorted(), calm.sorted(), slices.Equal) {
		t.Error("a busy intake did not get what a calm one gets")
	}
}

func TestRefusalEndsThePast(t *testing.T) {
	t.Parallel()
	rec := receive(t, func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "no such key", http.StatusUnauthorized)
		return true
	})
	err := Run(t.Context(), rec.options())
	if err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "no such key") || strings.Contains(err.Error(), "0123456789abcdef") {
		t.Errorf("Run = %v, want an error that says why and has no key", err)
	}
}

func TestRejectedRecordsEndThePast(t *testing.T) {
	t.Parallel()
	rec := receive(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v1/metrics" {
			return false
		}
		answer, err := proto.Marshal(&collectormetrics.ExportMetricsServiceResponse{
			PartialSuccess: &collectormetrics.ExportMetricsPartialSuccess{RejectedDataPoints: 3, ErrorMessage: "too old"},
		})
		if err != nil {
			t.Error(err)
		}
		w.Write(answer) //nolint:errcheck // the client says what is missing
		return true
	})
	if err := Run(t.Context(), rec.options()); err == nil || !strings.Contains(err.Error(), "3 records were rejected: too old") {
		t.Errorf("Run = %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	good := Options{URL: "http://127.0.0.1:1", Key: "k", Project: 1, Now: now}
	for name, change := range map[string]func(*Options){
		"no address":   func(o *Options) { o.URL = "" },
		"no key":       func(o *Options) { o.Key = "" },
		"no project":   func(o *Options) { o.Project = 0 },
		"no time":      func(o *Options) { o.Now = time.Time{} },
		"hours":        func(o *Options) { o.Hours = -1 },
		"many hours":   func(o *Options) { o.Hours = 1e6 },
		"rate":         func(o *Options) { o.Rate = -1 },
		"large a rate": func(o *Options) { o.Rate = 1e9 },
	} {
		o := good
		change(&o)
		if err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-1": 0, "99999": time.Minute, "soon": 0, "Mon, 01 Jan 2001 00:00:00 GMT": 0, "Fri, 01 Jan 2100 00:00:00 GMT": time.Minute,
	} {
		if got := retryAfter(value); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", value, got, want)
		}
	}
}
