package ingest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	sentrygo "github.com/getsentry/sentry-go"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

const sentryTestKey = "0123456789abcdef0123456789abcdef"

// sentryRig is a served intake over a real bus and a real catalog with two projects.
type sentryRig struct {
	bus      *bus.Bus
	db       *catalog.DB
	server   *Server
	url      string
	otherKey string // of project 2
}

func newSentryRig(t *testing.T, usage *cache.Usage) *sentryRig {
	t.Helper()
	ctx := t.Context()
	r := &sentryRig{bus: storagetest.Bus(t), db: storagetest.Catalog(t)}
	first, err := r.db.Initialise(ctx, catalog.Initial{Email: "ann@example.com", Password: "correct horse battery", IngestKey: sentryTestKey})
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.db.CreateProject(ctx, first.Project.OrganisationID, "other", "Other")
	if err != nil {
		t.Fatal(err)
	}
	r.otherKey = other.IngestKey
	server, err := New(Config{}, Signals{Errors: true, Checkins: true}, NewKeys(r.db), r.bus, usage, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	server.Mount(e)
	h := httptest.NewServer(e)
	t.Cleanup(h.Close)
	r.server, r.url = server, h.URL
	return r
}

func (r *sentryRig) dsn() string {
	return strings.Replace(r.url, "://", "://"+sentryTestKey+"@", 1) + "/1"
}

type sentryReply struct {
	status int
	header http.Header
	body   string
}

func (r *sentryRig) do(t *testing.T, method, path, body string, header ...string) sentryReply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[http.CanonicalHeaderKey(header[i])] = []string{header[i+1]}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return sentryReply{resp.StatusCode, resp.Header, string(b)}
}

// stored reads what a stream has now, decoded by into, which returns the records of one frame.
func stored[M proto.Message, R any](t *testing.T, b *bus.Bus, s bus.Signal, frame M, records func(M) []R) []R {
	t.Helper()
	backlog, err := b.Backlog(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if backlog.LastSeq == 0 {
		return nil
	}
	reader, err := b.Read(t.Context(), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Stop()
	var out []R
	for {
		m, err := reader.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Frames {
			fresh := frame.ProtoReflect().New().Interface().(M)
			if err := proto.Unmarshal(f.Data, fresh); err != nil {
				t.Fatal(err)
			}
			out = append(out, records(fresh)...)
		}
		if m.Seq >= backlog.LastSeq {
			return out
		}
	}
}

func (r *sentryRig) events(t *testing.T) []*telemetrypb.ErrorEvent {
	t.Helper()
	return stored(t, r.bus, bus.Errors, &telemetrypb.ErrorFrame{}, (*telemetrypb.ErrorFrame).GetEvents)
}

func (r *sentryRig) checkins(t *testing.T) []*telemetrypb.Checkin {
	t.Helper()
	return stored(t, r.bus, bus.Checkins, &telemetrypb.CheckinFrame{}, (*telemetrypb.CheckinFrame).GetCheckins)
}

func (r *sentryRig) logs(t *testing.T) []*telemetrypb.LogRecord {
	t.Helper()
	return stored(t, r.bus, bus.Logs, &telemetrypb.LogFrame{}, func(f *telemetrypb.LogFrame) (out []*telemetrypb.LogRecord) {
		for _, b := range f.Batches {
			for _, g := range b.Groups {
				out = append(out, g.Records...)
			}
		}
		return out
	})
}

func titles(events []*telemetrypb.ErrorEvent) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Title)
	}
	return out
}

// oneEvent is an envelope of one event, as JavaScript sends it.
func oneEvent(id, message string) string {
	return fmt.Sprintf("{\"event_id\":%q,\"sent_at\":%q}\n{\"type\":\"event\"}\n{\"message\":%q}\n", id, time.Now().UTC().Format(time.RFC3339Nano), message)
}

func eventID(n int) string { return fmt.Sprintf("%032x", 0xabc000+n) }

const sentryQuery = "?sentry_version=7&sentry_key=" + sentryTestKey

func TestSentryEnvelope(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	for i, path := range []string{"/api/1/envelope/", "/api/1/envelope"} {
		got := r.do(t, "POST", path+sentryQuery, oneEvent(eventID(i), "hello"))
		if got.status != 200 || got.body != `{"id":"`+eventID(i)+`"}` {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(got.header.Get("X-Sentry-Rate-Limits"), "3600:transaction;span;") {
			t.Errorf("%s: headers %v", path, got.header)
		}
	}
	events := r.events(t)
	if len(events) != 2 || hex.EncodeToString(events[0].EventId) != eventID(0) || events[0].ProjectId != 1 || events[0].Title != "hello" {
		t.Errorf("events %v", events)
	}
}

func TestSentryEnvelopeOfManyItems(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	lines := []string{
		`{"sent_at":"` + time.Now().UTC().Format(time.RFC3339Nano) + `"}`,
		`{"type":"session"}`, `{"sid":"x"}`,
		`{"type":"event"}`, `{"event_id":"` + eventID(1) + `","exception":{"values":[{"type":"E","value":"v"}]}}`,
		`{"type":"check_in","length":55}`, `{"monitor_slug":"Night Job","status":"ok","x":"` + "\n" + `"}`,
		`{"type":"log","item_count":2}`, `{"items":[{"timestamp":1793700672.5,"level":"info","body":"one"},{"level":"warn","body":"two"}]}`,
		`{"type":"attachment","length":3}`, "\x00\n\x01",
		`{"type":"transaction"}`, `{"type":"transaction"}`,
		`{"type":"event"}`, `{"type":"transaction"}`,
		`{"type":"something_new"}`, `?`,
	}
	// A JSON text may not have a bare line end; a space does.
	lines[6] = `{"monitor_slug":"Night Job","status":"ok","x":"        "}`
	lines[5] = fmt.Sprintf(`{"type":"check_in","length":%d}`, len(lines[6]))
	got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, strings.Join(lines, "\n"))
	if got.status != 200 || got.body != `{"id":"`+eventID(1)+`"}` {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if events := r.events(t); len(events) != 1 || events[0].Title != "E: v" {
		t.Errorf("events %v", events)
	}
	if c := r.checkins(t); len(c) != 1 || c[0].Slug != "night-job" || c[0].Source != "sentry" {
		t.Errorf("check-ins %v", c)
	}
	if l := r.logs(t); len(l) != 2 || l[0].Body != "one" || l[1].Severity != 13 {
		t.Errorf("logs %v", l)
	}
}

func TestSentryKeepsTheGoodBesideTheBad(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery,
		"{}\n{\"type\":\"event\"}\n{broken\n{\"type\":\"check_in\"}\n{\"monitor_slug\":\"x\",\"status\":\"maybe\"}\n{\"type\":\"log\"}\n{\"items\":[{\"body\":\"kept\"},7]}\n")
	var fault struct {
		Detail string   `json:"detail"`
		Causes []string `json:"causes"`
	}
	if err := json.Unmarshal([]byte(got.body), &fault); err != nil {
		t.Fatal(err)
	}
	if got.status != 400 || len(fault.Causes) != 3 || !strings.HasPrefix(fault.Causes[0], "item 1 (event): ") || got.header.Get("X-Sentry-Error") == "" {
		t.Errorf("%d %+v %v", got.status, fault, got.header)
	}
	if l := r.logs(t); len(l) != 1 || l[0].Body != "kept" {
		t.Errorf("logs %v", l)
	}
	if len(r.events(t))+len(r.checkins(t)) != 0 {
		t.Error("what is bad was stored")
	}
}

func TestSentryEnvelopeEncodings(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	pack := func(w func(io.Writer) io.WriteCloser, s string) string {
		var b bytes.Buffer
		z := w(&b)
		if _, err := io.WriteString(z, s); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	for i, c := range []struct {
		encoding string
		pack     func(io.Writer) io.WriteCloser
	}{
		{"", nil},
		{"identity", nil},
		{"utf-8", nil},
		{"gzip", gz},
		{"x-gzip", gz},
		{"GZIP", gz},
		{"deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }},
		{"br", func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }},
		{"zstd", func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		}},
	} {
		body := oneEvent(eventID(i), "x")
		if c.pack != nil {
			body = pack(c.pack, body)
		}
		// Content types of forms must not have the body parsed as one.
		got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, body, "Content-Encoding", c.encoding, "Content-Type", "application/x-www-form-urlencoded")
		if got.status != 200 || !strings.Contains(got.body, eventID(i)) {
			t.Errorf("encoding %q: %d %s", c.encoding, got.status, got.body)
		}
	}
	if got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, "not gzip", "Content-Encoding", "gzip"); got.status != 400 {
		t.Errorf("wrong encoding: %d %s", got.status, got.body)
	}
	bomb := pack(gz, "{}\n{\"type\":\"x\"}\n"+strings.Repeat(" ", 20<<20))
	if got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, bomb, "Content-Encoding", "gzip"); got.status != 413 || got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("bomb: %d %s", got.status, got.body)
	}
}

func TestSentryAccess(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	withDSN := func(dsn string) string { return fmt.Sprintf("{\"dsn\":%q}\n", dsn) }
	host := "h/prefix/"
	for name, c := range map[string]struct {
		path, body string
		header     []string
		want       int
	}{
		"query":                     {"/api/1/envelope/" + sentryQuery, "{}\n", nil, 200},
		"header":                    {"/api/1/envelope/", "{}\n", []string{"X-Sentry-Auth", "Sentry sentry_version=7, sentry_client=x/1, sentry_key=" + sentryTestKey}, 200},
		"header without spaces":     {"/api/1/envelope/", "{}\n", []string{"X-Sentry-Auth", "sentry sentry_key=" + sentryTestKey + ",sentry_version=7,sentry_secret=x"}, 200},
		"authorization":             {"/api/1/envelope/", "{}\n", []string{"Authorization", "Sentry sentry_key=" + sentryTestKey + ", sentry_version=6"}, 200},
		"basic":                     {"/api/1/envelope/", "{}\n", []string{"Authorization", basic(sentryTestKey + ":")}, 200},
		"dsn":                       {"/api/1/envelope/", withDSN("https://" + sentryTestKey + "@" + host + "1"), nil, 200},
		"dsn with a secret":         {"/api/1/envelope/", withDSN("https://" + sentryTestKey + ":s@" + host + "1/"), nil, 200},
		"key and the same dsn":      {"/api/1/envelope/" + sentryQuery, withDSN("https://" + sentryTestKey + "@" + host + "1"), nil, 200},
		"somebody else's basic":     {"/api/1/envelope/" + sentryQuery, "{}\n", []string{"Authorization", basic("ann:password")}, 200},
		"none":                      {"/api/1/envelope/", "{}\n", nil, 401},
		"none, bearer":              {"/api/1/envelope/", "{}\n", []string{"Authorization", "Bearer " + sentryTestKey}, 401},
		"header without a key":      {"/api/1/envelope/", "{}\n", []string{"X-Sentry-Auth", "Sentry sentry_version=7"}, 401},
		"two":                       {"/api/1/envelope/" + sentryQuery, "{}\n", []string{"X-Sentry-Auth", "Sentry sentry_key=" + sentryTestKey}, 401},
		"store: none":               {"/api/1/store/", "{}", nil, 401},
		"unknown":                   {"/api/1/envelope/?sentry_key=" + strings.Repeat("f", 32), "{}\n", nil, 403},
		"of another project":        {"/api/1/envelope/?sentry_key=" + r.otherKey, "{}\n", nil, 403},
		"for another project":       {"/api/2/envelope/" + sentryQuery, "{}\n", nil, 403},
		"dsn of another project":    {"/api/1/envelope/" + sentryQuery, withDSN("https://" + r.otherKey + "@" + host + "2"), nil, 403},
		"dsn alone, other path":     {"/api/2/envelope/", withDSN("https://" + sentryTestKey + "@" + host + "1"), nil, 403},
		"dsn with the wrong number": {"/api/1/envelope/", withDSN("https://" + sentryTestKey + "@" + host + "2"), nil, 403},
		"malformed key":             {"/api/1/envelope/?sentry_key=a%20b", "{}\n", nil, 400},
		"newer version":             {"/api/1/envelope/?sentry_version=8&sentry_key=" + sentryTestKey, "{}\n", nil, 400},
		"version as words":          {"/api/1/envelope/", "{}\n", []string{"X-Sentry-Auth", "Sentry sentry_version=x, sentry_key=" + sentryTestKey}, 400},
		"malformed dsn":             {"/api/1/envelope/" + sentryQuery, withDSN("nonsense"), nil, 400},
		"empty body":                {"/api/1/envelope/" + sentryQuery, "", nil, 400},
		"blank body":                {"/api/1/envelope/" + sentryQuery, "\n\n", nil, 400},
		"project as a word":         {"/api/shop/envelope/" + sentryQuery, "{}\n", nil, 404},
		"project 0":                 {"/api/0/envelope/" + sentryQuery, "{}\n", nil, 404},
	} {
		got := r.do(t, "POST", c.path, c.body, c.header...)
		if got.status != c.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, c.want)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "*" || got.header.Get("X-Sentry-Rate-Limits") == "" {
			t.Errorf("%s: headers %v", name, got.header)
		}
		if c.want == 200 {
			continue
		}
		var fault struct {
			Detail string
			Causes []string
		}
		if err := json.Unmarshal([]byte(got.body), &fault); err != nil || fault.Detail == "" || fault.Causes == nil || got.header.Get("X-Sentry-Error") == "" {
			t.Errorf("%s: %s %v", name, got.body, got.header)
		}
	}
}

func TestSentryPreflightAndMethods(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	for _, path := range []string{"/api/1/envelope/", "/api/1/store", "/api/1/security/", "/api/1/cron/job/" + sentryTestKey} {
		got := r.do(t, "OPTIONS", path, "", "Origin", "https://shop.example.com", "Access-Control-Request-Method", "POST")
		if got.status != 204 || got.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "POST") ||
			!strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "x-sentry-auth") || got.header.Get("Access-Control-Max-Age") != "3600" {
			t.Errorf("OPTIONS %s: %d %v", path, got.status, got.header)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if got := r.do(t, method, "/api/1/envelope/"+sentryQuery, ""); got.status != 405 || got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %v", method, got.status, got.header)
		}
	}
}

func TestSentryStore(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	event := func(n int) string { return fmt.Sprintf(`{"event_id":%q,"message":"m%d","x":NaN}`, eventID(n), n) }
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := io.WriteString(z, event(3)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ method, path, body string }{
		{"POST", "/api/1/store/" + sentryQuery, event(0)},
		{"POST", "/api/store/" + sentryQuery, event(1)},
		{"POST", "/api/1/store" + sentryQuery, base64.StdEncoding.EncodeToString([]byte(event(2)))},
		{"POST", "/api/1/store/" + sentryQuery, base64.StdEncoding.EncodeToString(packed.Bytes())},
	} {
		if got := r.do(t, c.method, c.path, c.body); got.status != 200 || got.body != `{"id":"`+eventID(i)+`"}` {
			t.Errorf("store %d: %d %s", i, got.status, got.body)
		}
	}
	got := r.do(t, "GET", "/api/1/store/"+sentryQuery+"&sentry_data="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(event(4)))), "")
	if got.status != 200 || got.header.Get("Content-Type") != "image/gif" || !strings.HasPrefix(got.body, "GIF89a") || len(got.body) != 43 {
		t.Errorf("GET: %d %v %d bytes", got.status, got.header, len(got.body))
	}
	if want := []string{"m0", "m1", "m2", "m3", "m4"}; !slices.Equal(titles(r.events(t)), want) {
		t.Errorf("events %v", titles(r.events(t)))
	}
	if got := r.do(t, "POST", "/api/1/store/"+sentryQuery, `{"type":"transaction"}`); got.status != 200 || got.body != "{}" {
		t.Errorf("transaction: %d %s", got.status, got.body)
	}
	for body, want := range map[string]int{`{"message":`: 400, "": 400, "hello there": 400, `{"x":"` + strings.Repeat("a", 1<<20) + `"}`: 413, strings.Repeat("a", 5<<20): 413} {
		if got := r.do(t, "POST", "/api/1/store/"+sentryQuery, body); got.status != want {
			t.Errorf("%.20q: %d %s, want %d", body, got.status, got.body, want)
		}
	}
}

func TestSentrySecurity(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	report := `{"csp-report":{"document-uri":"https://shop.example.com/","effective-directive":"img-src","blocked-uri":"https://evil.example.net/x.png"}}`
	for _, path := range []string{"/api/1/security/", "/api/1/csp-report"} {
		if got := r.do(t, "POST", path+sentryQuery+"&sentry_release=r1&sentry_environment=prod", report, "Content-Type", "application/csp-report"); got.status != 200 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	events := r.events(t)
	if len(events) != 2 || events[0].IssueId != events[1].IssueId || string(events[0].EventId) == string(events[1].EventId) ||
		events[0].Release != "r1" || events[0].Environment != "prod" || events[0].Title != "Blocked img-src from evil.example.net" {
		t.Errorf("events %v", events)
	}
}

// TestSentryOnce checks that what SDKs and proxies send twice is stored once.
func TestSentryOnce(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	post := func(body string) {
		t.Helper()
		if got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, body); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	post(oneEvent(eventID(1), "same id"))
	post(oneEvent(eventID(1), "same id")) // at another time, so in other bytes
	post(oneEvent(eventID(2), "other id"))
	logs := "{}\n{\"type\":\"log\"}\n{\"items\":[{\"timestamp\":1793700672.5,\"body\":\"x\"}]}"
	post(logs)
	post(logs)
	checkin := "{}\n{\"type\":\"check_in\"}\n{\"check_in_id\":\"" + eventID(3) + "\",\"monitor_slug\":\"job\",\"status\":\"ok\"}"
	post(checkin)
	post(checkin)
	if e, l, c := len(r.events(t)), len(r.logs(t)), len(r.checkins(t)); e != 2 || l != 1 || c != 1 {
		t.Errorf("%d events, %d logs, %d check-ins", e, l, c)
	}
}

func TestSentryBusy(t *testing.T) {
	t.Parallel()
	usage := cache.NewUsage(storagetest.Cache(t), map[string]int64{"errors": 1, "logs": 1, "checkins": 1}, slog.New(slog.DiscardHandler))
	r := newSentryRig(t, usage)
	logs := "{}\n{\"type\":\"log\"}\n{\"items\":[{\"body\":\"x%d\"}]}"
	if got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, fmt.Sprintf(logs, 1)); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, fmt.Sprintf(logs, 2))
	limits := got.header.Get("X-Sentry-Rate-Limits")
	if got.status != 429 || got.header.Get("Retry-After") == "" || !strings.HasPrefix(limits, got.header.Get("Retry-After")+":log_item;log_byte:") ||
		strings.Contains(limits, "error") || got.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(limits, "transaction") {
		t.Errorf("over the limit of logs: %d %v", got.status, got.header)
	}
	// Errors have a limit of their own.
	if got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, oneEvent(eventID(1), "x")); got.status != 200 {
		t.Errorf("error beside it: %d %s", got.status, got.body)
	}
	// The cron URL says 503 instead.
	cron := "/api/1/cron/job/" + sentryTestKey + "?status=ok"
	if got := r.do(t, "GET", cron, ""); got.status != 202 {
		t.Errorf("cron: %d %s", got.status, got.body)
	}
	if got := r.do(t, "GET", cron, ""); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("cron over the limit: %d %s", got.status, got.body)
	}
	// A bus that is gone is a passing fault.
	r.bus.Close()
	if got := r.do(t, "POST", "/api/1/security/"+sentryQuery, `{"csp-report":{"blocked-uri":"x"}}`); got.status != 429 && got.status != 503 {
		t.Errorf("without a bus: %d %s", got.status, got.body)
	}
}

func TestSentryWithoutBus(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	r.bus.Close()
	got := r.do(t, "POST", "/api/1/envelope/"+sentryQuery, oneEvent(eventID(1), "x"))
	if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.HasPrefix(got.header.Get("X-Sentry-Rate-Limits"), got.header.Get("Retry-After")+":default;error;security:") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

// TestSentryGo drives the real SDK for Go.
func TestSentryGo(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	client, err := sentrygo.NewClient(sentrygo.ClientOptions{
		Dsn: r.dsn(), Release: "shop@2.0.0", Environment: "test", AttachStacktrace: true, EnableTracing: true, TracesSampleRate: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	hub := sentrygo.NewHub(client, sentrygo.NewScope())
	hub.ConfigureScope(func(s *sentrygo.Scope) {
		s.SetTag("tenant", "acme")
		s.SetUser(sentrygo.User{ID: "17", Email: "ann@example.com"})
		s.AddBreadcrumb(&sentrygo.Breadcrumb{Message: "before", Category: "test"}, 10)
	})
	base := errors.New("connection refused")
	for i := range 2 {
		hub.CaptureException(fmt.Errorf("load user %d: %w", i, base))
	}
	hub.CaptureMessage("hello from Go")
	schedule := &sentrygo.MonitorConfig{Schedule: sentrygo.IntervalSchedule(1, sentrygo.MonitorScheduleUnitDay), MaxRuntime: 5, CheckInMargin: 2}
	run := hub.CaptureCheckIn(&sentrygo.CheckIn{MonitorSlug: "go-nightly", Status: sentrygo.CheckInStatusInProgress}, schedule)
	hub.CaptureCheckIn(&sentrygo.CheckIn{ID: *run, MonitorSlug: "go-nightly", Status: sentrygo.CheckInStatusOK, Duration: 1500 * time.Millisecond}, schedule)
	ctx := sentrygo.SetHubOnContext(context.Background(), hub)
	sentrygo.NewLogger(ctx).Warn().Int("attempt", 3).Emit("slow query")
	sentrygo.StartTransaction(ctx, "GET /").Finish()
	if !client.Flush(20 * time.Second) {
		t.Fatal("the SDK did not get rid of its events")
	}
	client.Close()

	events := r.events(t)
	if len(events) != 3 {
		t.Fatalf("events %v", titles(events))
	}
	issues := map[string][]uint64{}
	for _, e := range events {
		if e.Release != "shop@2.0.0" || e.Environment != "test" || e.Platform != "go" || e.UserId != "17" || len(e.TraceId) != 16 {
			t.Errorf("event %v", e)
		}
		if !slices.ContainsFunc(e.Tags, func(kv *telemetrypb.KeyValue) bool { return kv.Key == "tenant" && kv.Value == "acme" }) {
			t.Errorf("tags %v", e.Tags)
		}
		issues[e.Type] = append(issues[e.Type], e.IssueId)
	}
	if wrapped := issues["*fmt.wrapError"]; len(wrapped) != 2 || wrapped[0] != wrapped[1] || len(issues[""]) != 1 {
		t.Errorf("issues %v", issues)
	}
	checkins := r.checkins(t)
	if len(checkins) != 2 || string(checkins[0].RunId) != string(checkins[1].RunId) || checkins[0].Config.GetSchedule() != "86400" || checkins[0].Config.GetMaxRuntimeSeconds() != 300 {
		t.Errorf("check-ins %v", checkins)
	}
	if l := r.logs(t); len(l) != 1 || l[0].Body != "slow query" || l[0].Severity != 13 || time.Since(time.Unix(0, int64(l[0].Time))) > time.Hour {
		t.Errorf("logs %v", l)
	}
}
