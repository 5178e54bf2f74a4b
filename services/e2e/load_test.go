package e2e

import (
	"bytes"
	"context"
	bits "encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/snappy"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/engine"
)

// plan says how long and how hard things are broken. `make test` has the short form, `make chaos`
// sets the long one.
type plan struct {
	// rounds of killing (MIDWATCH_CHAOS_ROUNDS), shared out to the forms of the process.
	rounds int
	// outage is how long ClickHouse stays away (MIDWATCH_OUTAGE, such as 10m).
	outage time.Duration
	// seed of everything that is left to chance (MIDWATCH_CHAOS_SEED); printed, to repeat a run.
	seed uint64
}

func readPlan(t *testing.T) plan {
	t.Helper()
	p := plan{rounds: 6, outage: 3 * time.Second, seed: rand.Uint64()}
	var err error
	if text := os.Getenv("MIDWATCH_CHAOS_ROUNDS"); text != "" {
		if p.rounds, err = strconv.Atoi(text); err != nil || p.rounds < 1 {
			t.Fatalf("MIDWATCH_CHAOS_ROUNDS is %q; it is a number of rounds", text)
		}
	}
	if text := os.Getenv("MIDWATCH_OUTAGE"); text != "" {
		if p.outage, err = time.ParseDuration(text); err != nil || p.outage <= 0 {
			t.Fatalf("MIDWATCH_OUTAGE is %q; it is a duration such as 10m", text)
		}
	}
	if text := os.Getenv("MIDWATCH_CHAOS_SEED"); text != "" {
		if p.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MIDWATCH_CHAOS_SEED is %q; it is a number", text)
		}
	}
	t.Logf("MIDWATCH_CHAOS_SEED=%d", p.seed)
	return p
}

// ledger notes what happened to each record of a kind. Its ids are 0, 1, 2 and so on.
type ledger struct {
	mu    sync.Mutex
	acked []bool
	n     int // how many are
}

// take gives out the next n ids and returns the first.
func (g *ledger) take(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := len(g.acked)
	g.acked = append(g.acked, make([]bool, n)...)
	return first
}

func (g *ledger) acknowledge(first, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := first; i < first+n; i++ {
		g.acked[i] = true
	}
	g.n += n
}

func (g *ledger) acknowledged() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// compare holds what is stored, rows by id, against what was acknowledged. What was sent and not
// acknowledged may be there once.
func (g *ledger) compare(t *testing.T, what string, stored map[int]int) {
	t.Helper()
	var lost, doubled []int
	for id, acked := range g.acked {
		switch n := stored[id]; {
		case n == 0 && acked:
			lost = append(lost, id)
		case n > 1:
			doubled = append(doubled, id)
		}
	}
	strangers := 0
	for id := range stored {
		if id < 0 || id >= len(g.acked) {
			strangers++
		}
	}
	few := func(ids []int) []int { return ids[:min(len(ids), 20)] }
	if len(lost)+len(doubled)+strangers > 0 {
		t.Errorf("of %d acknowledged %s %d are lost %v, of %d sent %d are doubled %v, and %d were never sent",
			g.n, what, len(lost), few(lost), len(g.acked), len(doubled), few(doubled), strangers)
		return
	}
	t.Logf("%s: %d sent, %d acknowledged, %d stored; 0 lost, 0 doubled", what, len(g.acked), g.n, len(stored))
}

const (
	issueClasses     = 5
	monitorsPerKind  = 4
	checkinPhases    = 2                     // begin and end
	recordsInRequest = 20                    // of the small requests
	retryPause       = 40 * time.Millisecond // the mean
	giveUpOneIn      = 10                    // failed tries
	cutOneIn         = 25                    // requests, where clients are impatient
)

// load is clients of every kind, each with one request under way. They send what was not
// acknowledged again, byte for byte the same, as real ones do.
type load struct {
	t      *testing.T
	s      *server
	seed   uint64
	client *http.Client
	// pause is the mean time between two requests of a client.
	pause time.Duration
	// impatient clients sometimes hang up before the answer, and sometimes give up.
	impatient bool

	logs, metrics, events, checkins ledger
	refused                         atomic.Int64 // answers of 429 and 503
	cut                             atomic.Int64 // requests without an answer

	mu       sync.Mutex
	statuses map[string]string // of each monitor, by what was acknowledged

	ctx     context.Context // ends when the last try must be over
	cancel  context.CancelFunc
	stopped chan struct{}
	clients sync.WaitGroup
	made    uint64
	failed  atomic.Bool
}

func newLoad(t *testing.T, s *server, seed uint64) *load {
	l := &load{
		t: t, s: s, seed: seed, pause: 40 * time.Millisecond,
		client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}},
		statuses: map[string]string{}, stopped: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(t.Context())
	// When the test fails half-way its clients must be gone before it is over.
	t.Cleanup(func() {
		l.cancel()
		l.clients.Wait()
		l.client.CloseIdleConnections()
	})
	return l
}

// request is what a client sends, the same on every try.
type request struct {
	url    string
	header []string // pairs
	body   []byte
}

// job is one request with the records in it.
type job struct {
	request
	ledger   *ledger
	first, n int
	// mayGiveUp says that nothing follows from whether it arrives.
	mayGiveUp bool
	// done runs when it is acknowledged.
	done func()
}

// start lets one client of every kind begin, and two of JSON logs.
func (l *load) start() {
	l.run(l.jsonLogs("a"))
	l.run(l.jsonLogs("b"))
	l.run(l.otlpLogs(recordsInRequest, 0))
	l.run(l.otlpMetrics(recordsInRequest, 0))
	l.run(l.remoteWrite())
	l.run(l.sentryEvents(0))
	l.run(l.pings())
	l.run(l.sentryCheckins())
}

// run starts a client that sends what next makes until the load is stopped.
func (l *load) run(next func(*rand.Rand) job) {
	l.made++
	rng := rand.New(rand.NewPCG(l.seed, l.made))
	l.clients.Go(func() {
		for {
			j := next(rng)
			if l.deliver(j.request, rng, j.mayGiveUp && l.impatient) {
				j.ledger.acknowledge(j.first, j.n)
				if j.done != nil {
					j.done()
				}
			}
			select {
			case <-l.stopped:
				return
			case <-l.ctx.Done():
				return
			case <-time.After(l.pause/2 + rand.N(l.pause+1)):
			}
		}
	})
}

// deliver sends a request until it is acknowledged, or its client gives up.
func (l *load) deliver(r request, rng *rand.Rand, mayGiveUp bool) bool {
	for {
		limit := 15 * time.Second
		if l.impatient && rng.IntN(cutOneIn) == 0 {
			limit = time.Duration(1+rng.IntN(30)) * time.Millisecond
		}
		status, header, answer, err := l.try(r, limit)
		switch {
		case err != nil:
			l.cut.Add(1)
		case status/100 == 2:
			return true
		case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
			l.refused.Add(1)
			if header.Get("Retry-After") == "" {
				l.fail("%s answers %d without Retry-After: %s", r.url, status, answer)
				return false
			}
		default:
			l.fail("%s answers %d: %s", r.url, status, answer)
			return false
		}
		if mayGiveUp && rng.IntN(giveUpOneIn) == 0 {
			return false
		}
		select {
		case <-l.ctx.Done():
			if !l.failed.Load() {
				l.fail("%s: not acknowledged before the end: %d %s %v", r.url, status, answer, err)
			}
			return false
		case <-time.After(retryPause/2 + rand.N(retryPause)):
		}
	}
}

// fail ends the load: one client that is refused says enough.
func (l *load) fail(format string, args ...any) {
	l.failed.Store(true)
	l.cancel()
	l.t.Errorf(format, args...)
}

// try sends a request once.
func (l *load) try(r request, limit time.Duration) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(r.header); i += 2 {
		if req.Header.Del(r.header[i]); r.header[i+1] != "" {
			req.Header.Set(r.header[i], r.header[i+1])
		}
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil, err
	}
	if strings.Contains(r.url, "/v1/metrics") || strings.Contains(r.url, "/v1/logs") {
		if resp.StatusCode == http.StatusOK && len(answer) > 0 && string(answer) != "{}" {
			return http.StatusBadRequest, nil, answer, nil // a partial success is none here
		}
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// stop ends the load; what is under way is delivered first.
func (l *load) stop() {
	close(l.stopped)
	last := time.AfterFunc(l.s.patience, l.cancel)
	defer last.Stop()
	l.clients.Wait()
}

// acknowledged is how much was, in words.
func (l *load) acknowledged() string {
	return fmt.Sprintf("%d logs, %d samples, %d events, %d check-ins acknowledged",
		l.logs.acknowledged(), l.metrics.acknowledged(), l.events.acknowledged(), l.checkins.acknowledged())
}

func (l *load) total() int {
	return l.logs.acknowledged() + l.metrics.acknowledged() + l.events.acknowledged() + l.checkins.acknowledged()
}

// ---- the clients

func (l *load) jsonLogs(name string) func(*rand.Rand) job {
	return func(rng *rand.Rand) job {
		n := 1 + rng.IntN(2*recordsInRequest)
		first := l.logs.take(n)
		var body bytes.Buffer
		for i := first; i < first+n; i++ {
			fmt.Fprintf(&body, `{"time":%q,"level":"info","service":"chaos","message":"a record by JSON %s","n":"%d"}`+"\n",
				time.Now().UTC().Format(time.RFC3339Nano), name, i)
		}
		return job{request: request{url: l.s.http + "/v1/ingest/logs", body: body.Bytes()}, ledger: &l.logs, first: first, n: n, mayGiveUp: true}
	}
}

func text(name, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

var otlpProtobuf = []string{"Content-Type", "application/x-protobuf"}

// noise is text that does not compress.
func noise(rng *rand.Rand, bytes int) string {
	b := make([]byte, 0, bytes/2+8)
	for len(b) < bytes/2 {
		b = bits.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return hex.EncodeToString(b)
}

// otlpLogs sends n records a request, each with so many bytes of noise.
func (l *load) otlpLogs(n, bytes int) func(*rand.Rand) job {
	return func(rng *rand.Rand) job {
		first := l.logs.take(n)
		var records []*logspb.LogRecord
		for i := first; i < first+n; i++ {
			records = append(records, &logspb.LogRecord{
				TimeUnixNano: uint64(time.Now().UnixNano()), SeverityText: "INFO",
				Body:       &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "a record by OTLP " + noise(rng, bytes)}},
				Attributes: []*commonpb.KeyValue{text("n", strconv.Itoa(i))},
			})
		}
		body := l.encode(&collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
			Resource:  &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", "chaos")}},
			ScopeLogs: []*logspb.ScopeLogs{{LogRecords: records}},
		}}})
		return job{request: request{l.s.otlp + "/v1/logs", otlpProtobuf, body}, ledger: &l.logs, first: first, n: n, mayGiveUp: true}
	}
}

// otlpMetrics sends n samples a request, each of a series of its own. Those with noise in a label
// are series that come once.
func (l *load) otlpMetrics(n, bytes int) func(*rand.Rand) job {
	client := fmt.Sprint("otlp ", bytes)
	var last time.Time
	return func(rng *rand.Rand) job {
		first := l.metrics.take(n)
		last = after(last)
		var points []*metricspb.NumberDataPoint
		for i := range n {
			labels := []*commonpb.KeyValue{text("client", client), text("i", strconv.Itoa(i))}
			if bytes > 0 {
				labels = append(labels, text("noise", noise(rng, bytes)))
			}
			points = append(points, &metricspb.NumberDataPoint{
				TimeUnixNano: uint64(last.UnixNano()), Attributes: labels,
				Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: float64(first + i)},
			})
		}
		body := l.encode(&colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
			ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{{
				Name: "chaos", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: points}},
			}}}},
		}}})
		return job{request: request{l.s.otlp + "/v1/metrics", otlpProtobuf, body}, ledger: &l.metrics, first: first, n: n, mayGiveUp: true}
	}
}

// after is now, or the millisecond after last: samples of one series have times of their own.
func after(last time.Time) time.Time {
	now := time.Now().Truncate(time.Millisecond)
	if !now.After(last) {
		return last.Add(time.Millisecond)
	}
	return now
}

func (l *load) remoteWrite() func(*rand.Rand) job { return l.remoteWriteOf("chaos", &l.metrics) }

func (l *load) remoteWriteOf(name string, g *ledger) func(*rand.Rand) job {
	var last time.Time
	return func(*rand.Rand) job {
		first := g.take(recordsInRequest)
		last = after(last)
		message := func(b []byte, number protowire.Number, m []byte) []byte {
			return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), m)
		}
		label := func(name, value string) []byte { return message(message(nil, 1, []byte(name)), 2, []byte(value)) }
		var body []byte
		for i := range recordsInRequest {
			sample := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(float64(first+i)))
			sample = protowire.AppendVarint(protowire.AppendTag(sample, 2, protowire.VarintType), uint64(last.UnixMilli()))
			series := message(nil, 1, label("__name__", name))
			series = message(series, 1, label("client", "remote write"))
			series = message(series, 1, label("i", strconv.Itoa(i)))
			body = message(body, 1, message(series, 2, sample))
		}
		return job{
			request: request{l.s.http + "/api/v1/write", []string{"Content-Type", "application/x-protobuf", "Content-Encoding", "snappy"}, snappy.Encode(nil, body)},
			ledger:  g, first: first, n: recordsInRequest, mayGiveUp: true,
		}
	}
}

func (l *load) encode(m proto.Message) []byte {
	body, err := proto.Marshal(m)
	if err != nil {
		l.t.Error(err)
	}
	return body
}

// identity is a UUID that holds an id of a ledger.
func identity(id int) uuid.UUID {
	var u uuid.UUID
	copy(u[:8], "chaos-id")
	bits.BigEndian.PutUint64(u[8:], uint64(id))
	return u
}

// digits are those of a UUID, without dashes.
func digits(u uuid.UUID) string { return hex.EncodeToString(u[:]) }

// idIn is the id in the hex digits of an identity, -1 where it is none.
func idIn(text string) int {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 16 || string(b[:8]) != "chaos-id" {
		return -1
	}
	return int(bits.BigEndian.Uint64(b[8:]))
}

var sentryAuth = []string{"Authorization", "", "X-Sentry-Auth", "Sentry sentry_version=7, sentry_key=" + key, "Content-Type", "application/x-sentry-envelope"}

func (l *load) envelope(itemType, payload string) request {
	return request{l.s.http + "/api/1/envelope/", sentryAuth, fmt.Appendf(nil, "{}\n{\"type\":%q}\n%s\n", itemType, payload)}
}

// sentryEvents sends one event a request, with so many bytes of noise.
func (l *load) sentryEvents(bytes int) func(*rand.Rand) job {
	return func(rng *rand.Rand) job {
		id := l.events.take(1)
		var extra strings.Builder
		for bytes := bytes; bytes > 0; bytes -= 8 << 10 {
			fmt.Fprintf(&extra, `,"n%d":%q`, bytes, noise(rng, 8<<10))
		}
		payload := fmt.Sprintf(`{"event_id":%q,"timestamp":%q,"platform":"go","level":"error","fingerprint":["chaos-%d"],"exception":{"values":[{"type":"Chaos%d","value":"broken"}]},"extra":{"x":"y"%s}}`,
			digits(identity(id)), time.Now().UTC().Format(time.RFC3339Nano), id%issueClasses, id%issueClasses, extra.String())
		return job{request: l.envelope("event", payload), ledger: &l.events, first: id, n: 1, mayGiveUp: true}
	}
}

// runs makes the check-ins of jobs: each run begins and then ends, well or badly, one after the
// other. send makes the request; status is empty for the beginning.
func (l *load) runs(kind string, send func(slug string, run uuid.UUID, status string) request) func(*rand.Rand) job {
	var run, phase int
	return func(rng *rand.Rand) job {
		if phase == 0 {
			run = l.checkins.take(checkinPhases)
		}
		slug := fmt.Sprintf("chaos-%s-%d", kind, run/checkinPhases%monitorsPerKind)
		j := job{ledger: &l.checkins, first: run + phase, n: 1}
		if phase == 0 {
			j.request = send(slug, identity(run), "")
			j.done = func() { l.setStatus(slug, "running") }
		} else {
			status := "ok"
			if rng.IntN(4) == 0 {
				status = "failed"
			}
			j.request = send(slug, identity(run), status)
			j.done = func() { l.setStatus(slug, status) }
		}
		phase = (phase + 1) % checkinPhases
		return j
	}
}

// setStatus notes what a monitor has to be. One that has failed is so until a run ends well.
func (l *load) setStatus(slug, status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if status == "running" && l.statuses[slug] == "failed" {
		return
	}
	l.statuses[slug] = status
}

func (l *load) pings() func(*rand.Rand) job {
	return l.runs("ping", func(slug string, run uuid.UUID, status string) request {
		action := map[string]string{"": "/start", "ok": "", "failed": "/fail"}[status]
		return request{
			fmt.Sprintf("%s/ping/%s/%s%s?create=1&rid=%s", l.s.http, key, slug, action, run),
			[]string{"Authorization", ""},
			[]byte("said by the job"),
		}
	})
}

func (l *load) sentryCheckins() func(*rand.Rand) job {
	return l.runs("sentry", func(slug string, run uuid.UUID, status string) request {
		status = map[string]string{"": "in_progress", "ok": "ok", "failed": "error"}[status]
		return l.envelope("check_in", fmt.Sprintf(
			`{"check_in_id":%q,"monitor_slug":%q,"status":%q,"monitor_config":{"schedule":{"type":"interval","value":1,"unit":"day"}}}`, digits(run), slug, status))
	})
}

// ---- what became of it

// verify stops the load, waits until all of it is stored, and counts by ids, in the API and in the
// tables. It kills the server, after whatever the caller wants to know of it while it runs.
func (l *load) verify(before ...func(*testing.T, *server)) {
	l.t.Helper()
	s := l.s
	l.stop()
	l.impatient = false
	// Each stream is read in order: what is sent now is seen after everything else.
	now := time.Now()
	for _, r := range []request{
		{url: s.http + "/v1/ingest/logs", body: fmt.Appendf(nil, `{"time":%q,"message":"the newest record"}`, now.Format(time.RFC3339Nano))},
		{s.otlp + "/v1/metrics", []string{"Content-Type", "application/json"}, fmt.Appendf(nil,
			`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"newest","gauge":{"dataPoints":[{"asDouble":1,"timeUnixNano":"%d"}]}}]}]}]}`, now.UnixNano())},
		l.envelope("event", `{"message":"the newest event","level":"error"}`),
		{s.http + "/ping/" + key + "/newest?create=1&rid=" + uuid.NewString(), []string{"Authorization", ""}, nil},
	} {
		if !l.deliver(r, nil, false) {
			return
		}
	}
	s.awaitLog("the newest record")
	s.awaitMetric("newest")
	s.awaitIssue("the newest event")
	s.awaitMonitor("newest", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 1 })
	// The check-in above was the last one, so the states are what they will be.
	var states struct{ Monitors []monitor }
	if err := s.api("/projects/1/monitors", around(), &states); err != nil {
		l.t.Fatal(err)
	}
	for _, m := range states.Monitors {
		if want := l.statuses[m.Slug]; want != "" && m.Status != want {
			l.t.Errorf("monitor %s is %s, by its check-ins it is %s", m.Slug, m.Status, want)
		}
		delete(l.statuses, m.Slug)
	}
	if len(l.statuses) > 0 {
		l.t.Errorf("there are no monitors %v", l.statuses)
	}
	var list struct{ Issues []issue }
	if err := s.api("/projects/1/issues", around(), &list); err != nil {
		l.t.Fatal(err)
	}
	out := command(l.t, s.dir, s.env, binary(l.t), "deadletter", "list")
	if !strings.Contains(out, "There are no messages") {
		l.t.Errorf("some could not be stored: %s", out)
	}
	for _, look := range before {
		look(l.t, s)
	}
	s.kill()

	tables := openTables(l.t, filepath.Join(s.dir, "clickhouse"))
	l.logs.compare(l.t, "logs", tables.count(`SELECT attributes['n'], count() FROM midwatch.logs WHERE service = 'chaos' GROUP BY 1`, number))
	l.metrics.compare(l.t, "samples", tables.count(`SELECT toUInt64(value), count() FROM midwatch.metric_samples WHERE metric = 'chaos' GROUP BY 1`, number))
	events := tables.count(`SELECT lower(hex(event_id)), count() FROM midwatch.error_events WHERE type LIKE 'Chaos%' GROUP BY 1`, idIn)
	l.events.compare(l.t, "events", events)
	checkins := tables.count(fmt.Sprintf(`SELECT concat(lower(hex(run_id)), if(status = %d, '', '+')), count() FROM midwatch.checkins WHERE slug LIKE 'chaos-%%' GROUP BY 1`,
		telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS), func(text string) int {
		run, ended := strings.CutSuffix(text, "+")
		id := idIn(run)
		if ended && id >= 0 {
			id++
		}
		return id
	})
	l.checkins.compare(l.t, "check-ins", checkins)

	// The issues count what the table has.
	want := map[string]int{}
	for id := range events {
		want[fmt.Sprintf("Chaos%d", id%issueClasses)]++
	}
	for _, i := range list.Issues {
		if strings.HasPrefix(i.Type, "Chaos") {
			if i.Events != want[i.Type] {
				l.t.Errorf("issue %s counts %d events, %d are stored", i.Type, i.Events, want[i.Type])
			}
			delete(want, i.Type)
		}
	}
	if len(want) > 0 {
		l.t.Errorf("there are no issues for %v", want)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// tables is the SQL of the engine folder of a server that was stopped.
type tables struct {
	t   *testing.T
	url string
}

func openTables(t *testing.T, dir string) tables {
	t.Helper()
	library, server, err := engine.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(engine.Config{Library: library, Server: server, Dir: dir}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop the engine: %v", err)
		}
	})
	ready, stopWaiting := context.WithTimeoutCause(ctx, patience, errors.New("not ready in time"))
	defer stopWaiting()
	if err := e.Ready(ready); err != nil {
		t.Fatal(err)
	}
	return tables{t, e.HTTPURL()}
}

// count reads rows of a name and a number, and adds the numbers up by the id in the name.
func (b tables) count(query string, id func(string) int) map[int]int {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*patience)
	defer cancel()
	answer, err := engine.Ask(ctx, b.url, query)
	if err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	counts := map[int]int{}
	for line := range strings.Lines(answer) {
		name, rows, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		counts[id(name)] += number(rows)
	}
	return counts
}
