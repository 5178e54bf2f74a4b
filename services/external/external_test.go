package external_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/external"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "0123456789abcdef0123456789abcdef"

// world is the API over a real catalog.
type world struct {
	t   *testing.T
	db  *catalog.DB
	x   *external.External
	url string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := storagetest.Catalog(t)
	if _, err := db.Initialise(t.Context(), catalog.Initial{Email: "ann@example.com", Password: "correct horse", IngestKey: key}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	x := external.New(db, desk.New(desk.Config{}, db, log), log)
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(log)
	x.Mount(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return &world{t: t, db: db, x: x, url: server.URL}
}

func (w *world) do(method, path, authorization, body string) (status int, answer string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Close = true
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
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
	return resp.StatusCode, string(text)
}

// send posts alerts as a Prometheus does.
func (w *world) send(alerts string) {
	w.t.Helper()
	if status, answer := w.do("POST", "/t/"+key+"/api/v2/alerts", "", alerts); status != 200 {
		w.t.Fatalf("answer = %d %s", status, answer)
	}
}

// incidents returns all incidents, newest first.
func (w *world) incidents() []incident.Incident {
	w.t.Helper()
	project, err := w.db.Project(w.t.Context(), 1)
	if err != nil {
		w.t.Fatal(err)
	}
	rows, err := w.db.Incidents(w.t.Context(), catalog.IncidentFilter{Organisation: project.OrganisationID, Limit: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	all := make([]incident.Incident, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.Body, &all[i]); err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

const labels = `"labels": {"alertname": "HighErrors", "service": "checkout", "severity": "critical", "instance": "a:1"}`

func at(offset time.Duration) string {
	return time.Now().Add(offset).UTC().Format(time.RFC3339Nano)
}

func firing() string {
	return fmt.Sprintf(`[{%s, "annotations": {"summary": "12 %% errors", "runbook_url": "https://run.example/errors", "description": "Users see errors."},
		"startsAt": %q, "endsAt": %q, "generatorURL": "http://prometheus:9090/graph"}]`, labels, at(-time.Minute), at(4*time.Minute))
}

func TestAnAlertOpensAnIncidentOnceAndItsEndResolvesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 { // Prometheus says it again and again
		w.send(firing())
	}
	all := w.incidents()
	if len(all) != 1 || all[0].State != incident.Open || len(all[0].Instances) != 1 {
		t.Fatalf("incidents = %+v, want one that is open", all)
	}
	in := all[0].Instances[0]
	got := map[string]any{"headline": in.Headline, "severity": string(in.Severity), "class": string(in.Class), "name": in.Name, "runbook": in.Runbook, "summary": in.Summary, "service": in.Labels["service"]}
	want := map[string]any{
		"headline": "checkout: 12 % errors", "severity": "page", "class": "symptom", "name": "HighErrors",
		"runbook": "https://run.example/errors", "summary": "Users see errors.", "service": "checkout",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("instance (-want +got)\n%s", diff)
	}
	status, answer := w.do("GET", "/api/v2/alerts", "Bearer "+key, "")
	var listed []map[string]any
	if err := json.Unmarshal([]byte(answer), &listed); err != nil || status != 200 || len(listed) != 1 {
		t.Fatalf("alerts = %d %s", status, answer)
	}
	if state := listed[0]["status"].(map[string]any)["state"]; state != "active" {
		t.Errorf("state = %v", state)
	}
	w.send(fmt.Sprintf(`[{%s, "startsAt": %q, "endsAt": %q}]`, labels, at(-time.Minute), at(-time.Second)))
	if all := w.incidents(); len(all) != 1 || all[0].State != incident.Resolved || all[0].Outcome != "recovered" {
		t.Errorf("incidents = %+v, want it resolved", all)
	}
	w.send(firing())
	if all := w.incidents(); len(all) != 1 || all[0].State != incident.Open || all[0].Episode != 2 {
		t.Errorf("incidents = %+v, want the same one again", all)
	}
}

func TestAnAlertOfWhichNobodySaysMoreEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(firing())
	now := time.Now()
	if err := w.x.Expire(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if all := w.incidents(); all[0].State != incident.Open {
		t.Fatalf("incident = %+v, want it open until its end", all[0])
	}
	if err := w.x.Expire(t.Context(), now.Add(5*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if all := w.incidents(); all[0].State != incident.Resolved || all[0].Outcome != "data gone, not confirmed" {
		t.Errorf("incident = %+v, want it resolved", all[0])
	}
	if _, answer := w.do("GET", "/api/v2/alerts", "Bearer "+key, ""); strings.TrimSpace(answer) != "[]" {
		t.Errorf("alerts = %s, want none", answer)
	}
}

func TestTheSeverityLabelDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for label, want := range map[string]string{"page": "page", "Critical": "page", "warning": "ticket", "ticket": "ticket", "info": "mail", "": "mail"} {
		w.send(fmt.Sprintf(`[{"labels": {"alertname": "A", "service": "s-%s", "severity": %q}}]`, label, label))
		if all := w.incidents(); string(all[0].Severity) != want {
			t.Errorf("severity %q becomes %s, want %s", label, all[0].Severity, want)
		}
	}
}

func TestWhatEndedBeforeItWasKnownTellsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(fmt.Sprintf(`[{%s, "startsAt": %q, "endsAt": %q}]`, labels, at(-time.Hour), at(-time.Minute)))
	if all := w.incidents(); len(all) != 0 {
		t.Errorf("incidents = %+v, want none", all)
	}
}

func TestBadAlertsAreNamedAndGoodOnesBesideThemKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := fmt.Sprintf(`[{"labels": {}}, {"labels": {"alertname": "Good"}}, {"labels": {"a": "b"}, "startsAt": %q, "endsAt": %q}]`, at(0), at(-time.Hour))
	status, answer := w.do("POST", "/api/v2/alerts", "Bearer "+key, body)
	if status != 400 || !strings.Contains(answer, "alert 0: an alert needs a label") || !strings.Contains(answer, "alert 2: it ends before it starts") {
		t.Errorf("answer = %d %s", status, answer)
	}
	if all := w.incidents(); len(all) != 1 || all[0].Instances[0].Name != "Good" {
		t.Errorf("incidents = %+v, want that of the good one", all)
	}
	f := func(body string, status int, words string) {
		t.Helper()
		got, answer := w.do("POST", "/api/v2/alerts", "Bearer "+key, body)
		if got != status || !strings.Contains(answer, words) {
			t.Errorf("answer = %d %s, want %d %q", got, answer, status, words)
		}
	}
	f(`{}`, 400, "JSON array")
	f(`[{"labels": {"a": "`+strings.Repeat("x", 1001)+`"}}]`, 400, "too long")
	f(`[`+strings.Repeat(`{},`, 2000)+`{}]`, 400, "too many at once")
	f(strings.Repeat(" ", 5<<20), 413, "larger than")
}

func TestOnlyTheIngestKeyOpens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/api/v2/alerts", "/api/v2/status", "/api/v2/receivers", "/api/v2/silences", "/api/v2/alerts/groups"} {
		for _, authorization := range []string{"", "Bearer wrong-key-0123456789", "Basic x"} {
			if status, _ := w.do("GET", path, authorization, ""); status != 401 {
				t.Errorf("GET %s with %q: %d, want 401", path, authorization, status)
			}
		}
		if status, _ := w.do("GET", "/t/wrong-key-0123456789"+path, "", ""); status != 401 {
			t.Errorf("GET %s with a wrong prefix: %d, want 401", path, status)
		}
		for _, authorization := range []string{"Bearer " + key, "Basic MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY6"} {
			if status, answer := w.do("GET", path, authorization, ""); status != 200 || !json.Valid([]byte(answer)) {
				t.Errorf("GET %s with %q: %d %s", path, authorization, status, answer)
			}
		}
	}
	if status, _ := w.do("GET", "/-/healthy", "", ""); status != 200 {
		t.Errorf("healthy: %d", status)
	}
}
