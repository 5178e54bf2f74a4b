package probe

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// intake is what results are sent to; it keeps what it is sent by path and key.
type intake struct {
	mu     sync.Mutex
	status map[string]int // by path; absent is 200
	bodies map[string][]string
}

func (i *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	i.mu.Lock()
	defer i.mu.Unlock()
	if status := i.status[r.URL.Path]; status != 0 {
		w.WriteHeader(status)
		return
	}
	key := r.URL.Path + " " + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	i.bodies[key] = append(i.bodies[key], string(body))
}

func (i *intake) set(path string, status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status[path] = status
}

func (i *intake) got(key string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.bodies[key], "\n")
}

func newIntake(t *testing.T) (*intake, string) {
	i := &intake{status: map[string]int{}, bodies: map[string][]string{}}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	return i, server.URL
}

var someResult = Result{Probe: "p1", Region: "eu", At: time.Unix(1700000000, 0), OK: true, StatusCode: 204, Timings: Timings{Total: 120}}

func TestResultsAreSentAsMetricsByTheProjectsKey(t *testing.T) {
	in, url := newIntake(t)
	s := newSender(url+"/", slog.New(slog.DiscardHandler))
	s.key(7, "key-7")
	r := someResult
	r.Certificate = &Certificate{NotBefore: r.At.Add(-time.Hour), NotAfter: r.At.Add(3 * time.Hour), ChainValid: true}
	s.result(7, Probe{ID: "p1", Name: "Shop", Kind: HTTP, Service: "shop"}, r, false)
	s.alive(7, "eu", r.At)
	s.flush(t.Context(), r.At)
	var sent struct {
		ResourceMetrics []struct{ ScopeMetrics []struct{ Metrics []gauge } }
	}
	if err := json.Unmarshal([]byte(in.got("/v1/metrics key-7")), &sent); err != nil {
		t.Fatalf("%v: %s", err, in.got("/v1/metrics key-7"))
	}
	got := map[string]float64{}
	for _, g := range sent.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		got[g.Name+" "+g.Unit] = g.Gauge.Points[0].Value
	}
	want := map[string]float64{
		"midwatch.probe.up ": 1, "midwatch.probe.duration s": 0.12, "midwatch.probe.status_code ": 204, "midwatch.probe.alive ": 1,
		"midwatch.probe.certificate.remaining s": 3 * 3600, "midwatch.probe.certificate.lifetime s": 4 * 3600, "midwatch.probe.certificate.valid ": 0,
	}
	if !maps.Equal(got, want) {
		t.Errorf("sent %v", got)
	}
	if logs := in.got("/v1/logs key-7"); logs != "" {
		t.Errorf("logs: %s", logs)
	}
}

func TestAFailureIsToldInWordsWhenItBeginsLastsAndEnds(t *testing.T) {
	var h history
	var told []int
	at := time.Unix(1700000000, 0)
	for i, ok := range []bool{true, true, false, false, true, true} {
		if h.worth(Result{OK: ok, At: at.Add(time.Duration(i) * time.Minute)}) {
			told = append(told, i)
		}
	}
	if !slices.Equal(told, []int{2, 4}) {
		t.Errorf("told %v", told)
	}
	told, h = nil, history{}
	for i := range 12 {
		if h.worth(Result{At: at.Add(time.Duration(i) * time.Minute)}) {
			told = append(told, i)
		}
	}
	if !slices.Equal(told, []int{0, 5, 10}) {
		t.Errorf("a lasting failure is told at %v", told)
	}
}

func TestWhatTheIntakeDoesNotTakeWaitsAndIsSentOnce(t *testing.T) {
	in, url := newIntake(t)
	s := newSender(url, slog.New(slog.DiscardHandler))
	s.key(7, "k")
	r := someResult
	r.OK, r.Error = false, "connection refused by 192.88.98.7:443"
	now := r.At
	s.result(7, Probe{ID: "p1", Name: "Shop"}, r, true)
	in.set("/v1/logs", 503)
	s.flush(t.Context(), now)
	in.set("/v1/logs", 0)
	s.flush(t.Context(), now) // too early
	if logs := in.got("/v1/logs k"); logs != "" {
		t.Fatalf("it was not held back: %s", logs)
	}
	s.flush(t.Context(), now.Add(maxBackoff))
	if n := strings.Count(in.got("/v1/metrics k"), "midwatch.probe.up"); n != 1 {
		t.Errorf("the metrics were sent %d times", n)
	}
	if logs := in.got("/v1/logs k"); strings.Count(logs, "Shop failed from eu: connection refused by 192.88.98.7:443") != 1 || !strings.Contains(logs, LogService) {
		t.Errorf("logs: %s", logs)
	}
}

func TestWhatTheIntakeRefusesIsNotSentAgain(t *testing.T) {
	in, url := newIntake(t)
	s := newSender(url, slog.New(slog.DiscardHandler))
	s.key(7, "k")
	in.set("/v1/metrics", 401)
	s.result(7, Probe{ID: "p1"}, someResult, false)
	s.flush(t.Context(), someResult.At)
	if s.held != 0 || len(s.projects[7].points) != 0 {
		t.Errorf("%d points are held", s.held)
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	s := newSender("http://127.0.0.1:1", slog.New(slog.DiscardHandler))
	for i := range 100 {
		s.key(uint32(i), "k")
	}
	for i := range maxHeld * 4 {
		s.result(uint32(i%2+1), Probe{ID: "p1"}, someResult, false)
	}
	if got := len(s.projects[1].points); got != maxHeld {
		t.Errorf("%d points of a project are held", got)
	}
	for i := range maxTotalHeld {
		s.result(uint32(i%100), Probe{ID: "p1"}, someResult, false)
	}
	if s.held > maxTotalHeld {
		t.Errorf("%d points are held", s.held)
	}
	s.batch(1, someResult.At.Add(2*maxHeldAge))
	if got := len(s.projects[1].points); got != 0 {
		t.Errorf("%d points are held that are too old", got)
	}
}

// list is a source that can fail.
type list struct {
	mu       sync.Mutex
	projects []Project
	err      error
}

func (l *list) Projects(context.Context) ([]Project, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.projects, l.err
}

func (l *list) set(projects []Project, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.projects, l.err = projects, err
}

// memory is a transport that only counts what it is sent.
type memory struct {
	mu  sync.Mutex
	ups map[string]int // samples of a probe
}

func (m *memory) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent struct {
		ResourceMetrics []struct{ ScopeMetrics []struct{ Metrics []gauge } }
	}
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, resource := range sent.ResourceMetrics {
		for _, g := range resource.ScopeMetrics[0].Metrics {
			if g.Name == "midwatch.probe.up" {
				for _, p := range g.Gauge.Points {
					m.ups[p.Attributes[0].Value.String]++
				}
			}
		}
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}

func (m *memory) take() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.ups
	m.ups = map[string]int{}
	return out
}

// refused are probes that end at once without a socket: their addresses are not public.
func refused(ids ...string) []Probe {
	var out []Probe
	for _, id := range ids {
		out = append(out, Probe{ID: id, Name: id, Kind: TCP, Target: "127.0.0.1:1"})
	}
	return out
}

// everyHalfMinute reports whether these probes and no others have run for five minutes; what is sent
// at the edges may count for either side.
func everyHalfMinute(got map[string]int, ids ...string) bool {
	for _, id := range ids {
		if got[id] < 9 || got[id] > 11 {
			return false
		}
	}
	return len(got) == len(ids)
}

func TestARunnerKeepsToItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &list{projects: []Project{{Number: 1, Key: "k", Probes: append(refused("a", "b"),
			Probe{ID: "elsewhere", Name: "x", Kind: TCP, Target: "127.0.0.1:1", Regions: []string{"us"}},
			Probe{ID: "paused", Name: "x", Kind: TCP, Target: "127.0.0.1:1", Paused: true},
			Probe{ID: "broken", Name: "x", Kind: "icmp"},
		)}}}
		r := NewRunner("http://intake.test", New(Config{Region: "eu"}), source, slog.New(slog.DiscardHandler))
		sent := &memory{ups: map[string]int{}}
		r.sender.http = &http.Client{Transport: sent}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()

		time.Sleep(5*time.Minute + sendInterval)
		if got := sent.take(); !everyHalfMinute(got, "a", "b") {
			t.Errorf("in five minutes: %v", got)
		}
		source.set(nil, errors.New("gone"))
		time.Sleep(5 * time.Minute)
		if got := sent.take(); !everyHalfMinute(got, "a", "b") {
			t.Errorf("while the source fails: %v", got)
		}
		source.set([]Project{{Number: 1, Key: "k", Probes: refused("b", "c")}}, nil)
		time.Sleep(pollInterval + sendInterval)
		sent.take()
		time.Sleep(5 * time.Minute)
		if got := sent.take(); !everyHalfMinute(got, "b", "c") {
			t.Errorf("after a change: %v", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
