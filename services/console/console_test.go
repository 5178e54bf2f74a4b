package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/console"
	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	email    = "ann@example.com"
	password = "correct horse"
	key      = "0123456789abcdef0123456789abcdef"
	token    = "mwt_of-the-default-organisation"
)

var urls = access.URLs{HTTP: "http://watch.example:8080", OTLPHTTP: "http://watch.example:4318", OTLPGRPC: "http://watch.example:4317"}

// world is a console over real stores, behind HTTP.
type world struct {
	t       *testing.T
	catalog catalog.Config
	db      *catalog.DB
	url     string
}

func newWorld(t *testing.T) *world {
	return newWorldWith(t, console.Config{URLs: urls}, storagetest.Cache(t))
}

func newWorldWith(t *testing.T, cfg console.Config, c *cache.Cache) *world {
	t.Helper()
	return newWorldFrom(t, c, func(*catalog.DB) console.Config { return cfg })
}

// newWorldFrom is newWorldWith a configuration that needs the catalog.
func newWorldFrom(t *testing.T, c *cache.Cache, config func(*catalog.DB) console.Config) *world {
	t.Helper()
	catalogConfig := storagetest.CatalogConfig(t)
	db := storagetest.OpenCatalog(t, catalogConfig)
	if _, err := db.Initialise(t.Context(), catalog.Initial{Email: email, Password: password, IngestKey: key, APIToken: token}); err != nil {
		t.Fatal(err)
	}
	cfg := config(db)
	log := slog.New(slog.DiscardHandler)
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = access.ErrorHandler(log)
	e.Use(access.RequestID())
	console.New(cfg, db, access.New(db, cfg.URLs), c, log).Mount(e)
	e.GET("/*", func(c echo.Context) error { return c.HTML(200, "<html>the page</html>") })
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return &world{t: t, catalog: catalogConfig, db: db, url: server.URL}
}

// otherOrganisation makes a project of another organisation. The API cannot make one yet, so its row
// is written by hand.
func (w *world) otherOrganisation() (project uint32) {
	w.t.Helper()
	raw := storagetest.RawCatalog(w.t, w.catalog)
	if _, err := raw.ExecContext(w.t.Context(), `INSERT INTO organisations (id, slug, name, created_at) VALUES ('other', 'other', 'Other', 1)`); err != nil {
		w.t.Fatal(err)
	}
	p, err := w.db.CreateProject(w.t.Context(), "other", "hidden", "Hidden")
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Number
}

// reply is an answer with its body read.
type reply struct {
	status int
	header http.Header
	body   string
}

type h = map[string]string

// do sends a request to the API; header and body may be empty.
func (w *world) do(method, path string, header h, body string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/api/v1/midwatch"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		if value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// call is do with the API token.
func (w *world) call(method, path, body string) reply {
	w.t.Helper()
	return w.do(method, path, h{"Authorization": "Bearer " + token}, body)
}

// signIn returns the cookie of a new session.
func (w *world) signIn() string {
	w.t.Helper()
	r := w.do("POST", "/session", nil, fmt.Sprintf(`{"email": %q, "password": %q}`, email, password))
	if r.status != 200 {
		w.t.Fatalf("sign in: %d %s", r.status, r.body)
	}
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	return cookie
}

// wantError holds a reply to the schema Error.
func (r reply) wantError(t *testing.T, status int, code, words string) {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Fatalf("answer %d %q is not JSON of texts", r.status, r.body)
	}
	if r.status != status || body["code"] != code || !strings.Contains(body["message"], words) {
		t.Errorf("answer = %d %s, want %d %s %q", r.status, r.body, status, code, words)
	}
	if len(body) != 3 || body["request_id"] == "" || body["request_id"] != r.header.Get("X-Request-Id") {
		t.Errorf("answer = %s with X-Request-Id %q", r.body, r.header.Get("X-Request-Id"))
	}
}

// object reads the body of a good reply.
func (r reply) object(t *testing.T, status int) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != status {
		t.Fatalf("answer = %d %q, want %d and an object", r.status, r.body, status)
	}
	if r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control = %q, want no-store", r.header.Get("Cache-Control"))
	}
	return body
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("GET", "/session", nil, "").wantError(t, 401, "unauthorized", "sign in")

	r := w.do("POST", "/session", h{"Origin": "http://watch.example:8080"}, `{"email": " ANN@example.com", "password": "correct horse"}`)
	session := r.object(t, 200)
	cookie := r.header.Get("Set-Cookie")
	if want := `^midwatch_session=[A-Za-z0-9_-]{43}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax$`; !regexp.MustCompile(want).MatchString(cookie) {
		t.Errorf("Set-Cookie = %q, want %s", cookie, want)
	}
	user, _ := session["user"].(map[string]any)
	organisation, _ := session["organisation"].(map[string]any)
	projects, _ := session["projects"].([]any)
	if user["email"] != email || organisation["slug"] != "default" || len(projects) != 1 {
		t.Errorf("session = %v", session)
	}
	if strings.Contains(r.body, key) || strings.Contains(r.body, "hash") {
		t.Errorf("the answer shows a secret: %s", r.body)
	}

	cookie, _, _ = strings.Cut(cookie, ";")
	again := w.do("GET", "/session", h{"Cookie": cookie}, "").object(t, 200)
	if diff := cmp.Diff(session, again); diff != "" {
		t.Errorf("getSession after signIn (-want +got)\n%s", diff)
	}

	r = w.do("DELETE", "/session", h{"Cookie": cookie}, "")
	if r.status != 204 || !strings.HasPrefix(r.header.Get("Set-Cookie"), "midwatch_session=; Path=/; Max-Age=0;") {
		t.Errorf("signOut: %d %v", r.status, r.header)
	}
	w.do("GET", "/session", h{"Cookie": cookie}, "").wantError(t, 401, "unauthorized", "ended")
	w.do("DELETE", "/session", h{"Cookie": cookie}, "").wantError(t, 401, "unauthorized", "ended")
	w.call("DELETE", "/session", "").wantError(t, 400, "invalid", "API token")
}

func TestSignInAgainEndsTheOldSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.signIn()
	r := w.do("POST", "/session", h{"Cookie": first}, `{"email": "ann@example.com", "password": "correct horse"}`)
	if r.status != 200 {
		t.Fatalf("sign in again: %d %s", r.status, r.body)
	}
	w.do("GET", "/session", h{"Cookie": first}, "").wantError(t, 401, "unauthorized", "ended")
}

func TestCookieIsSecureBehindHTTPS(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, console.Config{URLs: access.URLs{HTTP: "https://watch.example"}}, storagetest.Cache(t))
	r := w.do("POST", "/session", nil, `{"email": "ann@example.com", "password": "correct horse"}`)
	if !strings.Contains(r.header.Get("Set-Cookie"), "; Secure") {
		t.Errorf("Set-Cookie = %q, want Secure", r.header.Get("Set-Cookie"))
	}
}

func TestSignInRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := func(body string, status int, code, words string) {
		t.Helper()
		r := w.do("POST", "/session", nil, body)
		r.wantError(t, status, code, words)
		if cookie := r.header.Get("Set-Cookie"); cookie != "" {
			t.Errorf("a refusal sets a cookie: %s", cookie)
		}
	}
	f(`{"email": "ann@example.com", "password": "wrong"}`, 401, "unauthorized", "do not belong together")
	f(`{"email": "bob@example.com", "password": "correct horse"}`, 401, "unauthorized", "do not belong together")
	f(`{"email": "ann@example.com\u0000", "password": "correct horse"}`, 401, "unauthorized", "do not belong together")
	f(`{"email": "ann@example.com"}`, 400, "invalid", "password")
	f(`{"password": "correct horse"}`, 400, "invalid", "email")
	f(`{"email": "ann@example.com", "password": "`+strings.Repeat("x", 1001)+`"}`, 400, "invalid", "password: at most")
	f(`{"email": "`+strings.Repeat("x", 321)+`", "password": "x"}`, 400, "invalid", "email: at most")
}

func TestSignInIsThrottledByAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wrong := `{"email": "ann@example.com", "password": "wrong"}`
	for range 4 {
		w.do("POST", "/session", nil, wrong).wantError(t, 401, "unauthorized", "")
	}
	w.signIn() // the fifth is right, and undoes the others
	for range 5 {
		w.do("POST", "/session", nil, wrong).wantError(t, 401, "unauthorized", "")
	}
	for _, body := range []string{wrong, `{"email": "ann@example.com", "password": "correct horse"}`, `{"email": " ANN@EXAMPLE.com ", "password": "wrong"}`} {
		// A forged address must not open the door.
		r := w.do("POST", "/session", h{"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.9"}, body)
		r.wantError(t, 429, "rate_limited", "too many")
		if !regexp.MustCompile(`^([1-9]|[1-5][0-9]|60)$`).MatchString(r.header.Get("Retry-After")) {
			t.Errorf("Retry-After = %q, want 1 to 60", r.header.Get("Retry-After"))
		}
	}
	w.do("POST", "/session", nil, `{"email": "bob@example.com", "password": "wrong"}`).wantError(t, 401, "unauthorized", "")
}

func TestSignInIsThrottledByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 20 {
		w.do("POST", "/session", nil, fmt.Sprintf(`{"email": "u%d@example.com", "password": "x"}`, i)).wantError(t, 401, "unauthorized", "")
	}
	w.do("POST", "/session", nil, `{"email": "ann@example.com", "password": "correct horse"}`).wantError(t, 429, "rate_limited", "too many")
}

func TestSignInWithoutTheCache(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, console.Config{URLs: urls}, storagetest.OpenCache(t, cache.Config{URL: "redis://127.0.0.1:1"}))
	w.signIn()
}

func TestOtherSitesMayNotWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cookie := w.signIn()
	evil := []h{
		{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"},
		{"Cookie": cookie, "Sec-Fetch-Site": "same-site"},
		{"Cookie": cookie, "Origin": "https://evil.example"},
	}
	for _, header := range evil {
		w.do("POST", "/projects", header, `{"name": "Evil"}`).wantError(t, 403, "forbidden", "another site")
		w.do("POST", "/projects/1/monitors", header, `{"slug": "evil"}`).wantError(t, 403, "forbidden", "another site")
		w.do("DELETE", "/session", header, "").wantError(t, 403, "forbidden", "another site")
		w.do("POST", "/session", header, `{"email": "ann@example.com", "password": "correct horse"}`).wantError(t, 403, "forbidden", "another site")
		w.do("GET", "/session", header, "").object(t, 200)
	}
	w.do("POST", "/projects", h{"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}, `{"name": "Good"}`).object(t, 201)
	w.do("POST", "/projects", h{"Cookie": cookie, "Content-Type": "text/plain"}, `{"name": "Evil"}`).wantError(t, 415, "invalid", "application/json")
}

func TestSessionOfAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.call("GET", "/session", "").object(t, 200)
	if _, ok := session["user"]; ok || session["organisation"].(map[string]any)["slug"] != "default" {
		t.Errorf("session = %v, want no user", session)
	}
	w.do("GET", "/session", h{"Authorization": "Bearer mwt_unknown"}, "").wantError(t, 401, "unauthorized", "not known")
	w.do("GET", "/projects", nil, "").wantError(t, 401, "unauthorized", "")
	w.do("GET", "/projects/1/setup", h{"Authorization": "Bearer " + key}, "").wantError(t, 401, "unauthorized", "not known")
}

func TestProjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create := func(body, slug, name string, number int) {
		t.Helper()
		got := w.call("POST", "/projects", body).object(t, 201)
		want := map[string]any{"number": float64(number), "slug": slug, "name": name, "created_at": got["created_at"]}
		if diff := cmp.Diff(want, got); diff != "" || got["created_at"] == "" {
			t.Errorf("createProject %s (-want +got)\n%s", body, diff)
		}
	}
	create(`{"name": " The Shop: Berlin & Köln "}`, "the-shop-berlin-k-ln", "The Shop: Berlin & Köln", 2)
	create(`{"name": "the shop berlin k ln"}`, "the-shop-berlin-k-ln-2", "the shop berlin k ln", 3)
	create(`{"name": "日本"}`, "project", "日本", 4)
	create(`{"name": "Default"}`, "default-2", "Default", 5)
	create(`{"name": "x", "slug": "my-own-slug"}`, "my-own-slug", "x", 6)
	create(`{"name": "`+strings.Repeat("n", 100)+`"}`, strings.Repeat("n", 47), strings.Repeat("n", 100), 7)

	projects := w.call("GET", "/projects", "").object(t, 200)["projects"].([]any)
	if len(projects) != 7 || projects[0].(map[string]any)["slug"] != "default" {
		t.Errorf("listProjects = %v", projects)
	}
}

func TestCreateProjectRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := func(body string, status int, code, words string) {
		t.Helper()
		w.call("POST", "/projects", body).wantError(t, status, code, words)
	}
	f(`{"name": "X", "slug": "default"}`, 409, "conflict", "slug")
	f(`{}`, 400, "invalid", "name")
	f(`{"name": "  "}`, 400, "invalid", "name")
	f(`{"name": "a\nb"}`, 400, "invalid", "name: only text of one line")
	f(`{"name": "`+strings.Repeat("n", 101)+`"}`, 400, "invalid", "name: at most 100")
	f(`{"name": "X", "slug": ""}`, 400, "invalid", "slug")
	f(`{"name": "X", "slug": "-x"}`, 400, "invalid", "slug")
	f(`{"name": "X", "slug": "Big"}`, 400, "invalid", "slug")
	f(`{"name": "X", "slug": "`+strings.Repeat("s", 51)+`"}`, 400, "invalid", "slug")
	f(`{"name": "X", "colour": "red"}`, 400, "invalid", "colour: there is no such field")
	f(`{"name": 7}`, 400, "invalid", "name: it cannot be a number")
	f(`{"name": "X"`, 400, "invalid", "body is not")
	f(`{"name": "X"} {}`, 400, "invalid", "nothing after it")
	f(`{"name": 'X'}`, 400, "invalid", "not JSON")
	f(`[]`, 400, "invalid", "JSON object")
	f(`null`, 400, "invalid", "JSON object")
	f(`name=X`, 400, "invalid", "JSON object")
	f(`{"name": "`+strings.Repeat("n", 70_000)+`"}`, 413, "invalid", "larger than")
	w.call("POST", "/projects", "").wantError(t, 415, "invalid", "application/json")
	w.do("POST", "/projects", h{"Authorization": "Bearer " + token, "Content-Type": "application/x-www-form-urlencoded"}, "name=X").
		wantError(t, 415, "invalid", "application/json")
	if projects, err := w.db.Projects(context.Background(), firstOrganisation(t, w)); err != nil || len(projects) != 1 {
		t.Errorf("after refusals there are %d projects, %v", len(projects), err)
	}
}

func firstOrganisation(t *testing.T, w *world) string {
	t.Helper()
	p, err := w.db.Project(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return p.OrganisationID
}

func TestSetup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.call("GET", "/projects/1/setup", "").object(t, 200)
	want := map[string]any{
		"ingest_key": key, "http_url": urls.HTTP, "otlp_http_url": urls.OTLPHTTP, "otlp_grpc_url": urls.OTLPGRPC,
		"dsn": "http://" + key + "@watch.example:8080/1", "ping_url": "http://watch.example:8080/ping/" + key,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("getSetup (-want +got)\n%s", diff)
	}
}

func TestSetupRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("GET", "/projects/1/setup", nil, "").wantError(t, 401, "unauthorized", "")
	for _, number := range []string{"0", "2", "4294967295"} {
		w.call("GET", "/projects/"+number+"/setup", "").wantError(t, 404, "not_found", "project "+number)
	}
	for _, number := range []string{"x", "-1", "1.5", "4294967296", "1%00"} {
		w.call("GET", "/projects/"+number+"/setup", "").wantError(t, 400, "invalid", "is not a project's number")
	}
}

func TestOtherOrganisationsAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.otherOrganisation()
	w.call("GET", fmt.Sprintf("/projects/%d/setup", other), "").wantError(t, 404, "not_found", "there is no project")
	w.call("POST", fmt.Sprintf("/projects/%d/monitors", other), `{"slug": "x"}`).wantError(t, 404, "not_found", "there is no project")
	if projects := w.call("GET", "/projects", "").object(t, 200)["projects"].([]any); len(projects) != 1 {
		t.Errorf("listProjects = %v, want the own one", projects)
	}
}

func TestCreateMonitor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := func(body string, want map[string]any) {
		t.Helper()
		got := w.call("POST", "/projects/1/monitors", body).object(t, 201)
		id, _ := got["uuid"].(string)
		if uuid.Validate(id) != nil || got["created_at"] == nil || got["created_at"] != got["status_since"] {
			t.Errorf("createMonitor = %v", got)
		}
		maps.Copy(want, map[string]any{
			"uuid": id, "created_at": got["created_at"], "status_since": got["status_since"], "status": "new", "recent": []any{},
			"ping_url": "http://watch.example:8080/ping/" + key + "/" + want["slug"].(string),
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("createMonitor %s (-want +got)\n%s", body, diff)
		}
	}
	f(`{"slug": "plain"}`, map[string]any{
		"slug": "plain", "name": "plain", "schedule_words": "no schedule",
		"schedule": map[string]any{"kind": "none", "value": "", "timezone": "", "margin_seconds": 0., "max_runtime_seconds": 0., "fail_after": 1., "miss_after": 1., "recover_after": 1.},
	})
	f(`{"slug": "night_ly-1", "name": "Nightly", "schedule": {"kind": "crontab", "value": " 30 2 * * * ", "timezone": "Europe/Berlin", "margin_seconds": 120, "max_runtime_seconds": 3600}}`, map[string]any{
		"slug": "night_ly-1", "name": "Nightly", "schedule_words": "every day at 02:30 (Europe/Berlin)",
		"schedule": map[string]any{"kind": "crontab", "value": "30 2 * * *", "timezone": "Europe/Berlin", "margin_seconds": 120., "max_runtime_seconds": 3600., "fail_after": 1., "miss_after": 1., "recover_after": 1.},
	})
	f(`{"slug": "utc", "schedule": {"kind": "crontab", "value": "0 3 * * *"}}`, map[string]any{
		"slug": "utc", "name": "utc", "schedule_words": "every day at 03:00 (UTC)",
		"schedule": map[string]any{"kind": "crontab", "value": "0 3 * * *", "timezone": "UTC", "margin_seconds": 1800., "max_runtime_seconds": 0., "fail_after": 1., "miss_after": 1., "recover_after": 1.},
	})
	f(`{"slug": "often", "schedule": {"kind": "interval", "value": "600", "margin_seconds": 5}}`, map[string]any{
		"slug": "often", "name": "often", "schedule_words": "every 10 minutes",
		"schedule": map[string]any{"kind": "interval", "value": "600", "timezone": "", "margin_seconds": 5., "max_runtime_seconds": 0., "fail_after": 1., "miss_after": 1., "recover_after": 1.},
	})
	monitors, err := w.db.Monitors(t.Context(), 1)
	if err != nil || len(monitors) != 4 {
		t.Fatalf("Monitors = %d, %v; want 4", len(monitors), err)
	}
	for _, m := range monitors {
		if !m.State.DueAt.IsZero() || !m.State.NextExpectedAt.IsZero() {
			t.Errorf("monitor %s is due before its first check-in", m.Slug)
		}
	}
}

func TestCreateMonitorRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := func(body string, status int, code, words string) {
		t.Helper()
		w.call("POST", "/projects/1/monitors", body).wantError(t, status, code, words)
	}
	schedule := func(text string, words string) {
		t.Helper()
		f(`{"slug": "x", "schedule": `+text+`}`, 400, "invalid", words)
	}
	w.call("POST", "/projects/1/monitors", `{"slug": "taken"}`).object(t, 201)
	f(`{"slug": "taken"}`, 409, "conflict", "taken")
	f(`{}`, 400, "invalid", "slug")
	f(`{"slug": "Big"}`, 400, "invalid", "slug")
	f(`{"slug": "a/b"}`, 400, "invalid", "slug")
	f(`{"slug": "`+strings.Repeat("s", 101)+`"}`, 400, "invalid", "slug")
	f(`{"slug": "x", "name": "`+strings.Repeat("n", 201)+`"}`, 400, "invalid", "name: at most 200")
	f(`{"slug": "x", "status": "ok"}`, 400, "invalid", "status: there is no such field")
	f(`{"slug": "x", "schedule": "daily"}`, 400, "invalid", "schedule: it cannot be a string")
	schedule(`{"kind": "crontab", "value": "every day"}`, "schedule")
	schedule(`{"kind": "crontab", "value": "0 0 31 2 *"}`, "schedule")
	schedule(`{"kind": "crontab", "value": "0 0 * * *", "timezone": "Mars/Olympus"}`, "unknown time zone")
	schedule(`{"kind": "crontab", "value": "0 0 * * *", "timezone": "Local"}`, "unknown time zone")
	schedule(`{"kind": "crontab", "value": "0 0 * * *", "timezone": "../../etc/passwd"}`, "unknown time zone")
	schedule(`{"kind": "crontab"}`, "schedule")
	schedule(`{"kind": "interval", "value": "soon"}`, "schedule")
	schedule(`{"kind": "interval", "value": "0"}`, "schedule")
	schedule(`{"kind": "none", "value": "60"}`, "schedule")
	schedule(`{"kind": "solar", "value": ""}`, "schedule.kind")
	schedule(`{"kind": "interval", "value": "60", "fail_after": 0}`, "fail_after: 0 is not from 1 to 720")
	schedule(`{"kind": "interval", "value": "60", "miss_after": 721}`, "miss_after")
	schedule(`{"kind": "interval", "value": "60", "recover_after": -1}`, "recover_after")
	schedule(`{"value": "60"}`, "schedule.kind")
	schedule(`{"kind": "interval", "value": "60", "margin_seconds": -1}`, "margin_seconds")
	schedule(`{"kind": "interval", "value": "60", "margin_seconds": 604801}`, "margin_seconds")
	schedule(`{"kind": "interval", "value": "60", "max_runtime_seconds": 2592001}`, "max_runtime_seconds")
	schedule(`{"kind": "interval", "value": "60", "margin_seconds": 99999999999999999999}`, "margin_seconds")
	schedule(`{"kind": "interval", "value": "60", "every": 1}`, "every: there is no such field")
}

func TestUnknownPathsAreJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"", "/", "/nothing", "/projects/1", "/projects/1/setup/more"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
			w.do(method, path, nil, "").wantError(t, 404, "not_found", "there is no operation "+method)
		}
	}
	w.do("PUT", "/session", nil, "").wantError(t, 404, "not_found", "there is no operation PUT")
}
