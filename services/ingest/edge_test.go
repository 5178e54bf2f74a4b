package ingest

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/andybalholm/brotli"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

const edgeKey = "edge-key-0123456789"

// edge is a served intake of logs and metrics over a real bus and a real catalog.
type edge struct {
	*Server
	bus     *bus.Bus
	db      *catalog.DB
	url     string
	conn    *grpc.ClientConn
	reader  *sdkmetric.ManualReader
	project catalog.Project
}

type edgeConfig struct {
	config   Config
	usage    map[string]int64 // records a minute
	busBytes int64
}

func newEdge(t testing.TB, cfg edgeConfig) *edge {
	t.Helper()
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	busConfig := storagetest.BusConfig(t)
	if cfg.busBytes != 0 {
		busConfig.MaxBytes = cfg.busBytes
	}
	b := storagetest.OpenBus(t, busConfig)
	e := &edge{bus: b, db: storagetest.Catalog(t), reader: sdkmetric.NewManualReader()}
	first, err := e.db.Initialise(ctx, catalog.Initial{Email: "ann@example.com", Password: "correct horse battery", IngestKey: edgeKey})
	if err != nil {
		t.Fatal(err)
	}
	e.project = first.Project
	var usage *cache.Usage
	if cfg.usage != nil {
		usage = cache.NewUsage(storagetest.Cache(t), cfg.usage, quiet)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(e.reader))
	t.Cleanup(func() {
		if err := provider.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	cfg.config.Meter = provider.Meter("ingest")
	if e.Server, err = New(cfg.config, Signals{Metrics: true, Logs: true}, NewKeys(e.db), b, usage, quiet); err != nil {
		t.Fatal(err)
	}
	router := echo.New()
	e.Mount(router)
	h := httptest.NewServer(router)
	t.Cleanup(h.Close)
	e.url = h.URL

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(e.GRPCOptions()...)
	e.RegisterGRPC(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		// A test may be over before the server has begun to serve.
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve gRPC: %v", err)
		}
	})
	if e.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.conn.Close() })
	return e
}

type reply struct {
	status int
	header http.Header
	body   string
}

// post sends a body with headers given as pairs; the key is sent unless there is one already.
func (e *edge) post(t testing.TB, path string, body []byte, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, e.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+edgeKey)
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// logBatches are what the bus has of logs, in order.
func (e *edge) logBatches(t *testing.T) []*telemetrypb.LogBatch {
	t.Helper()
	return stored(t, e.bus, bus.Logs, &telemetrypb.LogFrame{}, (*telemetrypb.LogFrame).GetBatches)
}

// bodies are the bodies of the stored logs.
func (e *edge) bodies(t *testing.T) []string {
	t.Helper()
	out := []string{}
	for _, b := range e.logBatches(t) {
		for _, g := range b.Groups {
			for _, r := range g.Records {
				out = append(out, r.Body)
			}
		}
	}
	return out
}

func (e *edge) storedMetrics(t *testing.T) []*telemetrypb.Metric {
	t.Helper()
	return stored(t, e.bus, bus.Metrics, &telemetrypb.MetricFrame{}, func(f *telemetrypb.MetricFrame) (out []*telemetrypb.Metric) {
		for _, b := range f.Batches {
			out = append(out, b.Metrics...)
		}
		return out
	})
}

// counted is the sum of a counter over the points that have some attributes, given as pairs.
func (e *edge) counted(t *testing.T, name string, attributes ...string) int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := e.reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != name || !ok {
				continue
			}
		points:
			for _, p := range sum.DataPoints {
				for i := 0; i < len(attributes); i += 2 {
					if v, _ := p.Attributes.Value(attribute.Key(attributes[i])); v.AsString() != attributes[i+1] {
						continue points
					}
				}
				total += p.Value
			}
		}
	}
	return total
}

func compress(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "flate":
		w, err = flate.NewWriter(&b, flate.BestSpeed)
	case "zstd":
		w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	case "br":
		w = brotli.NewWriter(&b)
	default:
		return body
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBodyEncodings(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	n := 0
	for _, c := range []struct{ compress, header string }{
		{"", ""},
		{"", "identity"},
		{"gzip", "gzip"},
		{"gzip", "GZIP"},
		{"gzip", "x-gzip"},
		{"zlib", "deflate"},
		{"flate", "deflate"},
		{"zstd", "zstd"},
		{"br", "br"},
		{"gzip", "gzip"},
		{"zstd", "zstd"},
		{"br", "br"}, // from the pools
	} {
		n++
		body := fmt.Sprintf(`{"msg":"%d %s"}`, n, strings.Repeat("x", 100000))
		got := e.post(t, "/v1/ingest/logs", compress(t, c.compress, []byte(body)), "Content-Encoding", c.header)
		if got.status != 200 || got.body != `{"accepted":1}` {
			t.Errorf("%s as %q: %d %s", c.compress, c.header, got.status, got.body)
		}
	}
	if got := len(e.bodies(t)); got != n {
		t.Errorf("%d records are stored, want %d", got, n)
	}
	if used := e.held.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
}

func TestBodyErrors(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	e := newEdge(t, edgeConfig{config: Config{MaxBodyBytes: limit}})
	line := []byte(`{"msg":"a"}` + "\n")
	bomb := bytes.Repeat([]byte{' '}, 32<<20)
	large := bytes.Repeat(line, limit/len(line)+1)
	for _, c := range []struct {
		name, encoding string
		body           []byte
		status         int
		words          string
	}{
		{"large", "", large, 413, "the body is too large: the limit is 1048576 bytes after decompression"},
		{"large gzip", "gzip", compress(t, "gzip", large), 413, "the body is too large"},
		{"gzip bomb", "gzip", compress(t, "gzip", bomb), 413, "the body is too large"},
		{"zstd bomb", "zstd", compress(t, "zstd", bomb), 413, "the body is too large"},
		{"brotli bomb", "br", compress(t, "br", bomb), 413, "the body is too large"},
		{"deflate bomb", "deflate", compress(t, "zlib", bomb), 413, "the body is too large"},
		{"unknown", "lzma", line, 415, `unknown content encoding \"lzma\": send identity, gzip, deflate, zstd or br`},
		{"two", "gzip, gzip", line, 415, "unknown content encoding"},
		{"not gzip", "gzip", line, 400, "the body cannot be unpacked as gzip"},
		{"not zstd", "zstd", line, 400, "the body cannot be unpacked as zstd"},
		{"half gzip", "gzip", compress(t, "gzip", line)[:15], 400, "the body is cut off: gzip ends early after 15 bytes"},
		{"empty gzip", "gzip", nil, 400, "the body is cut off"},
		{"half zstd", "zstd", compress(t, "zstd", line)[:12], 400, "the body is cut off"},
		{"half brotli", "br", compress(t, "br", line)[:5], 400, "the body is cut off"},
	} {
		got := e.post(t, "/v1/ingest/logs", c.body, "Content-Encoding", c.encoding)
		if got.status != c.status || !strings.Contains(got.body, c.words) || !strings.HasPrefix(got.body, `{"error":"`) {
			t.Errorf("%s: %d %s, want %d %s", c.name, got.status, got.body, c.status, c.words)
		}
	}
	if n := len(e.bodies(t)); n != 0 {
		t.Errorf("%d records are stored, want none", n)
	}
	if used := e.held.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
}

func TestBodyThatEndsEarlyIsRefused(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	line := `{"msg":"a"}` + "\n"
	for name, request := range map[string]string{
		"shorter than announced": "Content-Length: 1000\r\n\r\n" + line,
		"last chunk missing":     fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(line), line),
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /v1/ingest/logs HTTP/1.1\r\nHost: x\r\nX-Midwatch-Key: %s\r\n%s", edgeKey, request)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) || !bytes.Contains(answer, []byte("the body is cut off after 12 bytes")) {
			t.Errorf("%s: %s", name, answer)
		}
	}
	if n := len(e.bodies(t)); n != 0 {
		t.Errorf("%d records are stored, want none", n)
	}
}

func TestSlowBodyIsToComeAgain(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{config: Config{ReadTimeout: 50 * time.Millisecond}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/ingest/logs HTTP/1.1\r\nHost: x\r\nX-Midwatch-Key: %s\r\nContent-Length: 1000\r\n\r\n{", edgeKey)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 503 ")) || !bytes.Contains(answer, []byte("did not arrive within 50ms")) {
		t.Errorf("%s", answer)
	}
}

func TestTooMuchHeldIsToComeAgain(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	if !e.held.take(e.held.limit - 1000) {
		t.Fatal("the gauge is not empty")
	}
	got := e.post(t, "/v1/ingest/logs", []byte(`{"msg":"a"}`))
	if got.status != 503 || got.header.Get("Retry-After") != "5" || !strings.Contains(got.body, "too many requests are being taken in") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	e.held.give(e.held.limit - 1000)
	if got := e.post(t, "/v1/ingest/logs", []byte(`{"msg":"a"}`)); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	basic := func(user, password string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for _, header := range [][]string{
		{"Authorization", "Bearer " + edgeKey},
		{"Authorization", "bearer  " + edgeKey + " "},
		{"Authorization", basic(edgeKey, "")},
		{"Authorization", basic("midwatch", edgeKey)},
		{"Authorization", "", "X-Midwatch-Key", edgeKey},
		{"Authorization", "Bearer unknown-key", "X-Midwatch-Key", edgeKey},
		{"Authorization", edgeKey},
	} {
		if got := e.post(t, "/v1/ingest/logs", []byte(`{"msg":"a"}`), header...); got.status != 200 {
			t.Errorf("%q: %d %s", header, got.status, got.body)
		}
	}
	for _, header := range [][]string{
		{"Authorization", ""},
		{"Authorization", "Basic !!!"},
		{"Authorization", "Bearer "},
		{"Authorization", "Bearer unknown-key"},
		{"Authorization", basic("a", "b")},
		{"X-Midwatch-Key", strings.Repeat("x", 200), "Authorization", ""},
	} {
		got := e.post(t, "/v1/ingest/logs?key="+edgeKey, []byte(`{"msg":"a"}`), header...)
		if got.status != 401 || got.header.Get("WWW-Authenticate") != "Bearer" || !strings.Contains(got.body, "ingest key") {
			t.Errorf("%q: %d %s", header, got.status, got.body)
		}
	}
}

func TestKeysGoOnWithoutSQL(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	k := NewKeys(e.db)
	at := time.Now()
	k.now = func() time.Time { return at }
	p, err := k.Project(t.Context(), edgeKey)
	if err != nil || p.Number != e.project.Number {
		t.Fatalf("Project = %v, %v", p, err)
	}
	if _, err := k.Project(t.Context(), "no-such-key"); err == nil || k.unknown.order.Len() != 1 {
		t.Errorf("an unknown key: %v, %d are remembered", err, k.unknown.order.Len())
	}
	if err := e.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, time.Second, keyFresh, keyRetry / 2, time.Hour} {
		at = at.Add(wait)
		if p, err = k.Project(t.Context(), edgeKey); err != nil || p.Number != e.project.Number {
			t.Errorf("after %s: %v, %v", wait, p, err)
		}
	}
	// What was never known cannot be told: that is neither yes nor no.
	s := &Server{keys: k, cfg: Config{}.withDefaults()}
	_, err = s.projectOf(t.Context(), []string{"another-key"})
	var r *retryError
	if !errors.As(err, &r) || r.status != 503 {
		t.Errorf("another key: %v", err)
	}
}

func TestUnknownKeysAreAskedForAgain(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	k := NewKeys(e.db)
	at := time.Now()
	k.now = func() time.Time { return at }
	if _, err := k.Project(t.Context(), "later-key-1"); err == nil {
		t.Fatal("the key is known before it is made")
	}
	made, err := e.db.CreateProject(t.Context(), e.project.OrganisationID, "later", "Later")
	if err != nil {
		t.Fatal(err)
	}
	// A new key works at once, an unknown one is asked for again after seconds.
	if p, err := k.Project(t.Context(), made.IngestKey); err != nil || p.Number != made.Number {
		t.Errorf("Project = %v, %v", p, err)
	}
	before, _ := k.unknown.get("later-key-1")
	if _, err := k.Project(t.Context(), "later-key-1"); err == nil {
		t.Error("an unknown key is known")
	}
	if after, _ := k.unknown.get("later-key-1"); after != before {
		t.Error("an unknown key is looked up each time")
	}
	at = at.Add(keyUnknownFresh)
	if _, err := k.Project(t.Context(), "later-key-1"); err == nil {
		t.Error("an unknown key is known")
	}
	if after, _ := k.unknown.get("later-key-1"); after == before {
		t.Error("an unknown key is not looked up again")
	}
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	l := newLRU[int](3)
	for i := range 10 {
		l.put(strconv.Itoa(i), i)
		l.get("0")
		if i == 2 {
			l.put("0", i)
		}
	}
	if _, ok := l.get("0"); !ok || len(l.entries) != 3 || l.order.Len() != 3 {
		t.Errorf("%d entries, 0 is there: %t", len(l.entries), ok)
	}
}

func TestJSONLogs(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		answer                  string
	}{
		{"curl -d", "application/x-www-form-urlencoded", `{"msg":"1"}{"msg":"2"}`, 200, `{"accepted":2}`},
		{"form with a percent sign", "application/x-www-form-urlencoded", `{"msg":"100%"}`, 200, `{"accepted":1}`},
		{"no type", "", `[{"msg":"3"}]`, 200, `{"accepted":1}`},
		{"multipart", "multipart/form-data; boundary=x", `{"msg":"4"}`, 200, `{"accepted":1}`},
		{"text", "text/plain", "{\"msg\":\"5\"}\r\n\r\n{\"msg\":\"6\"}\r\n", 200, `{"accepted":2}`},
		{"nothing", "application/json", "", 200, `{"accepted":0}`},
		{
			"mixed", "application/x-ndjson", "{\"msg\":\"7\"}\nbad\n{\"msg\":\"8\"}\n", 400,
			`{"accepted":2,"rejected":1,"errors":[{"line":2,"reason":"not JSON: 'b' where a value is expected, at byte 1 of the line"}]}`,
		},
		{"msgpack", "application/msgpack", "\x81\xa1a\x01", 415, `{"error":"MessagePack is not read here: send JSON (Fluent Bit: set Format to json_lines)"}`},
	} {
		for _, path := range []string{"/v1/ingest/logs", "/v1/ingest/logs/"} {
			got := e.post(t, path, []byte(c.body), "Content-Type", c.contentType)
			if got.status != c.status || got.body != c.answer || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %s, want %d %s", c.name, got.status, got.body, c.status, c.answer)
			}
		}
	}
	want := "1 2 1 2 100% 100% 3 3 4 4 5 6 5 6 7 8 7 8"
	if got := strings.Join(e.bodies(t), " "); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	for _, c := range []struct {
		name string
		want int64
		by   []string
	}{
		{"midwatch.ingest.accepted", 18, []string{"signal", "logs", "protocol", "json"}},
		{"midwatch.ingest.rejected", 2, []string{"reason", "not_json"}},
		{"midwatch.ingest.requests", 12, []string{"code", "200"}},
		{"midwatch.ingest.requests", 2, []string{"code", "415"}},
	} {
		if got := e.counted(t, c.name, c.by...); got != c.want {
			t.Errorf("%s %v = %d, want %d", c.name, c.by, got, c.want)
		}
	}
}

func TestJSONLogsAreKeptOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	at := time.Now().UTC().Format(time.RFC3339Nano)
	timed := []byte(`{"msg":"timed","time":"` + at + `"}`)
	for _, c := range []struct {
		body   []byte
		header []string
		want   int
	}{
		{timed, nil, 1},
		{timed, nil, 1},                 // a repetition
		{[]byte(`{"msg":"a"}`), nil, 2}, // without a time
		{[]byte(`{"msg":"a"}`), nil, 3}, // the same words are another event
		{[]byte(`{"msg":"b"}`), []string{"Idempotency-Key", "1"}, 4},
		{[]byte(`{"msg":"b"}`), []string{"Idempotency-Key", "1"}, 4},
		{[]byte(`{"msg":"b"}`), []string{"Idempotency-Key", "2"}, 5},
	} {
		if got := e.post(t, "/v1/ingest/logs", c.body, c.header...); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
		if got := len(e.bodies(t)); got != c.want {
			t.Errorf("%s %v: %d records are stored, want %d", c.body, c.header, got, c.want)
		}
	}
}

func TestLargeRequestsAreCutTheSameWayEachTime(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	var b bytes.Buffer
	const lines = 20000
	for i := range lines {
		fmt.Fprintf(&b, `{"time":%d,"msg":"line %d %s","service":"s%d","host":"h"}`+"\n", time.Now().Unix(), i, strings.Repeat("x", 100), i/5000)
	}
	for range 3 {
		if got := e.post(t, "/v1/ingest/logs", b.Bytes()); got.body != fmt.Sprintf(`{"accepted":%d}`, lines) {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	backlog, err := e.bus.Backlog(t.Context(), bus.Logs)
	if err != nil {
		t.Fatal(err)
	}
	if backlog.Messages < 4 || backlog.Bytes/backlog.Messages > bus.TargetMessageBytes {
		t.Errorf("%d messages of %d bytes", backlog.Messages, backlog.Bytes/backlog.Messages)
	}
	i := 0
	for _, batch := range e.logBatches(t) {
		if batch.ProjectId != e.project.Number || batch.ReceivedAt == 0 || proto.Size(batch) > bus.TargetMessageBytes {
			t.Errorf("batch of project %d, %d bytes", batch.ProjectId, proto.Size(batch))
		}
		for _, g := range batch.Groups {
			for _, r := range g.Records {
				if !strings.HasPrefix(r.Body, fmt.Sprintf("line %d ", i)) || g.Service != fmt.Sprintf("s%d", i/5000) || g.Resource[0].Value != "h" {
					t.Fatalf("record %d is %s of %s", i, r.Body, g.Service)
				}
				i++
			}
		}
	}
	if i != lines {
		t.Errorf("%d records are stored, want %d", i, lines)
	}
}

func TestLimitsAreSaid(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{usage: map[string]int64{"logs": 3}})
	body := []byte(`[{"msg":"a"},{"msg":"b"}]`)
	if got := e.post(t, "/v1/ingest/logs", body); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got := e.post(t, "/v1/ingest/logs", body)
	if got.status != 429 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, `{"error":"this project has reached its limit of logs a minute`) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	if n := len(e.bodies(t)); n != 2 {
		t.Errorf("%d records are stored, want 2", n)
	}
}

func TestAFullBufferIsSaid(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{busBytes: 256 << 10})
	body := []byte(`{"msg":"` + strings.Repeat("x", 100<<10) + `"}`)
	var got reply
	for range 5 {
		if got = e.post(t, "/v1/ingest/logs", body); got.status != 200 {
			break
		}
	}
	if got.status != 503 || got.header.Get("Retry-After") != "5" || !strings.Contains(got.body, `{"error":"the buffer is full`) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

func TestABufferThatIsAwayIsSaid(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	e.bus.Close()
	got := e.post(t, "/v1/ingest/logs", []byte(`{"msg":"a"}`))
	if got.status != 503 || got.header.Get("Retry-After") != "5" || !strings.Contains(got.body, `{"error":"the buffer does not answer`) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

// TestWire compares the hand-written encoding with that of protobuf.
func TestWire(t *testing.T) {
	t.Parallel()
	kvs := []*telemetrypb.KeyValue{{Key: "a", Value: "1"}, {Key: "", Value: "ä"}, {Key: "c"}, {}, {Key: strings.Repeat("k", 200), Value: strings.Repeat("v", 20000)}}
	group := &telemetrypb.LogGroup{Service: "s", Scope: "sc", Resource: kvs, Records: []*telemetrypb.LogRecord{
		{},
		{Time: 1, ObservedTime: 1<<64 - 1, Severity: 300, SeverityText: "t", Body: "b", Attributes: kvs, TraceId: []byte{1}, SpanId: []byte{2, 0}},
	}}
	b := appendLogGroup(nil, group)
	for _, r := range group.Records {
		b = appendBytes(b, fieldGroupRecords, appendLogRecord(nil, r))
	}
	gotGroup := new(telemetrypb.LogGroup)
	if err := proto.Unmarshal(b, gotGroup); err != nil || !proto.Equal(gotGroup, group) {
		t.Errorf("group = %v, %v", gotGroup, err)
	}
	// One string that is not UTF-8 would lose the whole frame.
	gotRecord := new(telemetrypb.LogRecord)
	if err := proto.Unmarshal(appendLogRecord(nil, &telemetrypb.LogRecord{Body: "a\xff", Attributes: []*telemetrypb.KeyValue{{Key: "k\xfe"}}}), gotRecord); err != nil || gotRecord.Body != "a\uFFFD" {
		t.Errorf("record = %v, %v", gotRecord, err)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for _, id := range []string{
		requestID(1, "/a", []byte("x")), requestID(2, "/a", []byte("x")), requestID(1, "/ax", nil), requestID(1, "/a", []byte("y")), requestID(1, "", []byte("/ax")),
	} {
		if len(id) != 32 || ids[id] {
			t.Errorf("id %s", id)
		}
		ids[id] = true
	}
	if got := requestID(1, "/a", []byte("x")); !ids[got] {
		t.Errorf("the same request has another id %s", got)
	}
}

func BenchmarkJSONLogs(b *testing.B) {
	e := newEdge(b, edgeConfig{busBytes: 8 << 30})
	const lines = 4000
	for b.Loop() {
		b.StopTimer()
		var body bytes.Buffer
		now := time.Now()
		for i := range lines {
			line, err := json.Marshal(map[string]any{
				"_time": now, "_msg": "GET /api/v1/items/58217 200 in 37ms", "level": "info", "service": "api", "host": "h07", "status": 200, "duration_ms": i,
				"trace_id": "5a1f0c9b7d3e42868f6a1b2c3d4e5f60", "user_id": 31337, "region": "eu-west-1", "version": "1.3.0",
			})
			if err != nil {
				b.Fatal(err)
			}
			body.Write(append(line, '\n'))
		}
		b.StartTimer()
		if got := e.post(b, "/v1/ingest/logs", body.Bytes()); got.status != 200 {
			b.Fatalf("%d %s", got.status, got.body)
		}
	}
	b.ReportMetric(lines*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
