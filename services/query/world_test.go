package query

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestMain(m *testing.M) {
	code := storagetest.Main(m)
	if child := len(os.Args) > 1 && os.Args[1] == "engine"; !child && code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

const (
	ourToken   = "mwt_ourTokenOurTokenOurTokenOurTokenOurToken"
	theirToken = "mwt_theirTokenTheirTokenTheirTokenTheirToken"
	ourKey     = "0123456789abcdef0123456789abcdef"
)

// world is a server over real databases with two organisations that have a project each, number 1 and number 2.
type world struct {
	server *Server
	echo   *echo.Echo
	http   *httptest.Server
	store  *telemetry.Store
	db     *catalog.DB
	base   time.Time // the start of the range that the tests look at, a whole hour some hours ago
}

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	return newWorldOver(t, cfg, storagetest.Telemetry(t))
}

func newWorldOver(t *testing.T, cfg Config, store *telemetry.Store) *world {
	t.Helper()
	ctx := t.Context()
	catalogConfig := storagetest.CatalogConfig(t)
	w := &world{
		store: store,
		db:    storagetest.OpenCatalog(t, catalogConfig),
		base:  time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour),
	}
	if _, err := w.db.Initialise(ctx, catalog.Initial{Email: "a@example.org", Password: "correct horse", IngestKey: ourKey, APIToken: ourToken}); err != nil {
		t.Fatal(err)
	}
	neighbour(t, catalogConfig)
	if p, err := w.db.CreateProject(ctx, "neighbour", "theirs", "Theirs"); err != nil || p.Number != 2 {
		t.Fatalf("the neighbour's project: %+v, %v", p, err)
	}
	cfg.URLs = access.URLs{HTTP: "https://watch.example"}
	log := slog.New(slog.DiscardHandler)
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(log)
	e.Use(access.RequestID())
	w.server, w.echo = New(cfg, w.store, w.db, access.New(w.db, cfg.URLs), log), e
	w.server.Mount(e)
	w.http = httptest.NewServer(e)
	t.Cleanup(func() {
		w.http.Close()
		w.http.Client().CloseIdleConnections()
	})
	return w
}

// neighbour makes a second organisation with an API token.
func neighbour(t *testing.T, cfg catalog.Config) {
	t.Helper()
	db := storagetest.RawCatalog(t, cfg)
	hash := sha256.Sum256([]byte(theirToken))
	for _, statement := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO organisations (id, slug, name, created_at) VALUES ('neighbour', 'neighbour', 'Neighbour', 1)`, nil},
		{`INSERT INTO api_tokens (id, organisation_id, name, secret_sha256, created_at) VALUES ('t2', 'neighbour', 't', $1, 1)`, []any{hex.EncodeToString(hash[:])}},
	} {
		if _, err := db.ExecContext(t.Context(), statement.text, statement.args...); err != nil {
			t.Fatal(err)
		}
	}
}

// at returns a time of the world as the API writes it.
func (w *world) at(d time.Duration) string { return w.base.Add(d).Format(time.RFC3339Nano) }

func (w *world) ns(d time.Duration) uint64 { return uint64(w.base.Add(d).UnixNano()) }

// path fills in the range of most tests: ten minutes from base, which have 60 steps of 10 s.
func (w *world) path(path string) string {
	mark := "?"
	if strings.Contains(path, "?") {
		mark = "&"
	}
	return path + mark + "from=" + w.at(0) + "&to=" + w.at(10*time.Minute)
}

type reply struct {
	status int
	header http.Header
	body   any
}

// get asks with a token and holds the answer to the description of the API.
func (w *world) get(t *testing.T, token, path string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+basePath+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := w.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	conform(t, r, res.StatusCode, res.Header, body)
	out := reply{status: res.StatusCode, header: res.Header}
	if err := json.Unmarshal(body, &out.body); err != nil {
		t.Fatalf("GET %s: %v: %s", path, err, body)
	}
	return out
}

// expect compares the whole of an answer.
func (w *world) expect(t *testing.T, path string, want any) {
	t.Helper()
	got := w.get(t, ourToken, path)
	if got.status != http.StatusOK {
		t.Fatalf("GET %s = %d: %v", path, got.status, got.body)
	}
	if cc := got.header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("GET %s: Cache-Control = %q, want no-store", path, cc)
	}
	if diff := cmp.Diff(plainJSON(t, want), got.body); diff != "" {
		t.Errorf("GET %s (-want +got):\n%s", path, diff)
	}
}

// refuse compares code and words of a refusal.
func (w *world) refuse(t *testing.T, token, path string, status int, code, message string) reply {
	t.Helper()
	got := w.get(t, token, path)
	body, _ := got.body.(map[string]any)
	if got.status != status || body["code"] != code || !strings.Contains(fmt.Sprint(body["message"]), message) || body["request_id"] == "" {
		t.Errorf("GET %s = %d %v, want %d %s with %q", path, got.status, got.body, status, code, message)
	}
	if cc := got.header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("GET %s: Cache-Control = %q, want no-store", path, cc)
	}
	return got
}

type (
	dict  = map[string]any
	items = []any
)

func plainJSON(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// trend is a list of 60 counts that are 0 but for the given pairs of index and count.
func trend(pairs ...int) []int {
	out := make([]int, 60)
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// ---- what happened in the world

func (w *world) seed(t *testing.T) {
	t.Helper()
	w.seedLogs(t)
	w.seedMetrics(t)
	w.seedErrors(t)
	w.seedCheckins(t)
}

func pairs(kv ...string) []*telemetrypb.KeyValue {
	var out []*telemetrypb.KeyValue
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &telemetrypb.KeyValue{Key: kv[i], Value: kv[i+1]})
	}
	return out
}

func (w *world) seedLogs(t *testing.T) {
	t.Helper()
	frame, err := proto.Marshal(&telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{
		ProjectId: 1, ReceivedAt: w.ns(5 * time.Minute),
		Groups: []*telemetrypb.LogGroup{
			{Service: "api", Scope: "http", Resource: pairs("host.name", "a1"), Records: []*telemetrypb.LogRecord{
				{Time: w.ns(0), Severity: 9, SeverityText: "INFO", Body: "listening on port 80"},
				{
					Time: w.ns(65*time.Second + 123456789), Severity: 17, SeverityText: "ERROR", Body: "payment refused: card expired",
					Attributes: pairs("order", "77"), TraceId: bytes16(0xaa), SpanId: bytes16(0xbb)[:8],
				},
			}},
			{Service: "worker", Records: []*telemetrypb.LogRecord{
				{Time: w.ns(70 * time.Second), Severity: 21, Body: "Payment queue lost"},
				{Time: w.ns(10 * time.Minute), Severity: 9, Body: "just after the range"},
			}},
		},
	}, {
		ProjectId: 2, ReceivedAt: w.ns(0),
		Groups: []*telemetrypb.LogGroup{{Service: "secret", Records: []*telemetrypb.LogRecord{{Time: w.ns(time.Minute), Severity: 9, Body: "payment of the neighbour"}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	block := telemetry.NewLogBlock()
	if err := block.Add(1, 0, frame); err != nil {
		t.Fatal(err)
	}
	if err := w.store.InsertLogs(t.Context(), "logs-1", block); err != nil {
		t.Fatal(err)
	}
}

func (w *world) seedMetrics(t *testing.T) {
	t.Helper()
	series := func(fingerprint uint64, labels []*telemetrypb.KeyValue, values ...float64) *telemetrypb.Series {
		s := &telemetrypb.Series{Fingerprint: fingerprint, Labels: labels}
		for i, v := range values {
			s.TimesMs = append(s.TimesMs, w.base.Add(time.Duration(i)*30*time.Second).UnixMilli())
			s.Values = append(s.Values, v)
		}
		return s
	}
	frame, err := proto.Marshal(&telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{
		ProjectId: 1, ReceivedAt: w.ns(5 * time.Minute),
		Metrics: []*telemetrypb.Metric{
			{
				Name: "queue_length", SourceName: "queue.length", Unit: "1", Description: "Jobs waiting", Kind: telemetrypb.MetricKind_METRIC_KIND_GAUGE,
				Series: []*telemetrypb.Series{
					series(11, pairs("host", "a", "queue", "mail"), 1, 3, 5, 7),
					series(12, pairs("host", "b", "queue", "mail"), 10, 20),
				},
			},
			{
				Name: "requests_total", Kind: telemetrypb.MetricKind_METRIC_KIND_COUNTER, Unit: "", Description: "",
				Series: []*telemetrypb.Series{series(13, pairs("code", "200"), 0, 60, 120, 180)},
			},
		},
	}, {
		ProjectId: 2, ReceivedAt: w.ns(0),
		Metrics: []*telemetrypb.Metric{{Name: "secret_total", Kind: telemetrypb.MetricKind_METRIC_KIND_COUNTER, Series: []*telemetrypb.Series{series(14, nil, 1)}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	block := telemetry.NewMetricBlock()
	if err := block.Add(frame); err != nil {
		t.Fatal(err)
	}
	if err := w.store.InsertMetrics(t.Context(), "metrics-1", block); err != nil {
		t.Fatal(err)
	}
}

// The issues and events of the world.
const (
	oldIssue   = 0x00000000000000a1
	newIssue   = 0xf0000000000000b2
	theirIssue = 0x00000000000000c3
)

const newEventPayload = `{"event_id":"03030303030303030303030303030303","sdk":{"name":"sentry.go","version":"0.50.0"},"user":{"id":"u2"},` +
	`"exception":[{"type":"IOError","value":"disk full","stacktrace":{"frames":[{"function":"main","lineno":3,"in_app":true},{"function":"write","lineno":9,"in_app":false}]}}],` +
	`"breadcrumbs":[{"message":"open","timestamp":1772332866.5}],"extra":{"big":9007199254740992}}`

func (w *world) seedErrors(t *testing.T) {
	t.Helper()
	event := func(project uint32, issue uint64, id byte, after time.Duration, user, payload string) *telemetrypb.ErrorEvent {
		return &telemetrypb.ErrorEvent{
			ProjectId: project, IssueId: issue, GroupingVersion: 1, EventId: bytes16(id),
			Time: w.ns(after), ReceivedAt: w.ns(after + time.Second), UserId: user,
			Level: "error", Platform: "go", Environment: "production", Release: "1.4" + fmt.Sprint(id),
			Type: "IOError", Value: "disk full", Title: "IOError: disk full", Culprit: "main.write", Transaction: "POST /upload", ServerName: "a1",
			Tags: pairs("disk", "/data"), PayloadZstd: compress(t, payload),
		}
	}
	block := telemetry.NewErrorBlock()
	last := event(1, newIssue, 3, 4*time.Minute, "u2", newEventPayload)
	last.TraceId = bytes16(0xaa)
	last.Tags = pairs("disk", "/tmp")
	block.Add(3, &telemetrypb.ErrorFrame{Events: []*telemetrypb.ErrorEvent{
		event(1, oldIssue, 1, time.Minute, "u1", `{"message":"timeout"}`),
		event(1, newIssue, 2, 2*time.Minute, "u1", `{}`),
		last,
		event(2, theirIssue, 4, time.Minute, "u9", `{}`),
	}})
	if err := w.store.InsertErrors(t.Context(), "errors-1", block); err != nil {
		t.Fatal(err)
	}
	err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
		return tx.AddIssueEvents(t.Context(), []catalog.IssueEvents{
			{
				Project: 1, ID: oldIssue, GroupingVersion: 1, Title: "Timeout: upstream", Type: "Timeout", Value: "upstream", Culprit: "proxy.do", Level: "warning", Platform: "go",
				Release: "1.41", FirstSeen: w.base.Add(-time.Hour), LastSeen: w.base.Add(time.Minute), Count: 11,
			},
			{
				Project: 1, ID: oldIssue, Release: "1.0", FirstSeen: w.base.Add(-48 * time.Hour), LastSeen: w.base.Add(-48 * time.Hour), Count: 1,
			},
			{
				Project: 1, ID: newIssue, GroupingVersion: 1, Title: "IOError: disk full", Type: "IOError", Value: "disk full", Culprit: "main.write", Level: "error", Platform: "go",
				Release: "1.43", FirstSeen: w.base.Add(4 * time.Minute), LastSeen: w.base.Add(4 * time.Minute), Count: 1,
			},
			{
				Project: 1, ID: newIssue, Release: "1.42", FirstSeen: w.base.Add(2 * time.Minute), LastSeen: w.base.Add(2 * time.Minute), Count: 1,
			},
			{
				Project: 2, ID: theirIssue, GroupingVersion: 1, Title: "Secret: disk", Type: "Secret", Level: "error", Platform: "go",
				FirstSeen: w.base.Add(time.Minute), LastSeen: w.base.Add(time.Minute), Count: 1,
			},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) seedCheckins(t *testing.T) {
	t.Helper()
	block := telemetry.NewCheckinBlock()
	block.Add(4, &telemetrypb.CheckinFrame{Checkins: []*telemetrypb.Checkin{
		{
			ProjectId: 1, Slug: "nightly", Time: w.ns(time.Minute), ReceivedAt: w.ns(time.Minute), Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR,
			CheckinId: bytes16(0x10), ExitCode: 3, HasExitCode: true, Body: "no space", Source: "ping",
		},
		{
			ProjectId: 1, Slug: "nightly", Time: w.ns(2 * time.Minute), ReceivedAt: w.ns(2 * time.Minute), Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS,
			RunId: bytes16(0x20), CheckinId: bytes16(0x21), Environment: "production", Source: "sentry",
		},
		{
			ProjectId: 1, Slug: "nightly", Time: w.ns(3 * time.Minute), ReceivedAt: w.ns(3 * time.Minute), Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_OK,
			RunId: bytes16(0x20), CheckinId: bytes16(0x22), Environment: "production", DurationMs: 60_000, Release: "1.43", Source: "sentry",
		},
		{
			ProjectId: 2, Slug: "nightly", Time: w.ns(time.Minute), ReceivedAt: w.ns(time.Minute), Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_OK,
			CheckinId: bytes16(0x30), Body: "secret", Source: "ping",
		},
	}})
	if err := w.store.InsertCheckins(t.Context(), "checkins-1", block); err != nil {
		t.Fatal(err)
	}
	put := func(m catalog.Monitor) {
		m.CreatedAt = w.base.Add(-time.Hour)
		if err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error { return tx.PutMonitor(t.Context(), m) }); err != nil {
			t.Fatal(err)
		}
	}
	put(catalog.Monitor{
		Project: 1, Slug: "nightly", UUID: "8c5ad7bc-0fd5-4b4f-9d3e-111111111111", Name: "Nightly export",
		Schedule: catalog.Schedule{Kind: catalog.ScheduleCrontab, Value: "30 2 * * *", Timezone: "Europe/Berlin", Margin: time.Minute, MaxRuntime: time.Hour},
		State: catalog.MonitorState{
			Status: catalog.MonitorOK, Since: w.base.Add(3 * time.Minute), LastCheckinAt: w.base.Add(3 * time.Minute),
			NextExpectedAt: w.base.Add(24 * time.Hour), LastDuration: time.Minute,
		},
	})
	for slug, status := range map[string]string{"a-late": catalog.MonitorLate, "b-missed": catalog.MonitorMissed, "c-failed": catalog.MonitorFailed, "d-new": catalog.MonitorNew, "e-running": catalog.MonitorRunning} {
		put(catalog.Monitor{
			Project: 1, Slug: slug, UUID: "8c5ad7bc-0fd5-4b4f-9d3e-" + fmt.Sprintf("%012x", slug[0]),
			State: catalog.MonitorState{Status: status, Since: w.base},
		})
	}
	put(catalog.Monitor{Project: 2, Slug: "nightly", UUID: "8c5ad7bc-0fd5-4b4f-9d3e-222222222222", State: catalog.MonitorState{Status: catalog.MonitorMissed}})
}

// bytes16 is an identity of 16 equal bytes.
func bytes16(b byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(b)*0x0101010101010101), uint64(b)*0x0101010101010101)
}

func hex16(b byte) string { return hex.EncodeToString(bytes16(b)) }

func compress(t *testing.T, s string) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll([]byte(s), nil)
}

// silent is a store whose database does not answer.
func silent(t *testing.T) *telemetry.Store {
	t.Helper()
	store, err := telemetry.Open(context.Background(), "clickhouse://nobody@127.0.0.1:1/midwatch", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}
