package query

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// fetch asks for a public path, without authentication.
func (w *world) fetch(t *testing.T, method, path string) (status int, header http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

func (w *world) badges(t *testing.T, page bool) catalog.Badges {
	t.Helper()
	b, err := w.db.SetStatusPage(t.Context(), 1, page)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.seedCheckins(t)
	paused := catalog.Monitor{Project: 1, Slug: "paused", Name: `<b>"Paused" & said`, State: catalog.MonitorState{Status: catalog.MonitorPaused}}
	if _, err := w.db.CreateMonitor(t.Context(), paused); err != nil {
		t.Fatal(err)
	}
	key := w.badges(t, false).Key
	for slug, want := range map[string][2]string{
		"nightly": {"Nightly export", "up"}, "e-running": {"e-running", "up"}, "a-late": {"a-late", "late"}, "b-missed": {"b-missed", "down"},
		"c-failed": {"c-failed", "down"}, "d-new": {"d-new", "new"}, "paused": {paused.Name, "paused"}, "": {"default", "down"},
	} {
		path := "/badge/" + key
		if slug != "" {
			path += "/" + slug
		}
		status, header, body := w.fetch(t, "GET", path+".svg")
		if status != 200 || header.Get("Content-Type") != "image/svg+xml; charset=utf-8" || header.Get("Cache-Control") != "public, max-age=60" {
			t.Errorf("badge of %q: %d %v", slug, status, header)
		}
		var svg struct {
			XMLName xml.Name
			Title   string   `xml:"title"`
			Texts   []string `xml:"g>text"`
		}
		if err := xml.Unmarshal([]byte(body), &svg); err != nil {
			t.Fatalf("badge of %q is no XML: %v\n%s", slug, err, body)
		}
		if svg.XMLName.Local != "svg" || !strings.EqualFold(svg.Title, want[0]+": "+want[1]) {
			t.Errorf("badge of %q says %q, want %s: %s", slug, svg.Title, want[0], want[1])
		}
		if diff := cmp.Diff([]string{want[0], want[0], want[1], want[1]}, svg.Texts, cmp.Comparer(strings.EqualFold)); diff != "" {
			t.Errorf("texts of the badge of %q (-want +got)\n%s", slug, diff)
		}

		status, header, body = w.fetch(t, "GET", path+".json")
		var endpoint map[string]any
		if err := json.Unmarshal([]byte(body), &endpoint); err != nil || status != 200 || header.Get("Cache-Control") != "public, max-age=60" {
			t.Fatalf("endpoint of %q: %d %s, %v", slug, status, body, err)
		}
		if endpoint["schemaVersion"] != 1. || endpoint["message"] != want[1] || !strings.EqualFold(fmt.Sprint(endpoint["label"]), want[0]) || !regexp.MustCompile(`^[0-9a-f]{6}$`).MatchString(fmt.Sprint(endpoint["color"])) {
			t.Errorf("endpoint of %q: %v", slug, endpoint)
		}

		status, header, body = w.fetch(t, "HEAD", path+".svg")
		if status != 200 || body != "" || header.Get("Content-Type") != "image/svg+xml; charset=utf-8" {
			t.Errorf("HEAD of the badge of %q: %d %v %q", slug, status, header, body)
		}
	}
}

func TestBadgesRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.seedCheckins(t)
	key := w.badges(t, true).Key
	theirs, err := w.db.Badges(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/badge/" + key, "/badge/" + key + ".png", "/badge/" + key + "/nightly", "/badge/" + key + "/nothing.svg", "/badge/" + key + "/.svg",
		"/badge/" + strings.Repeat("0", 32) + ".svg", "/badge/1.svg", "/badge/.svg", "/badge/" + ourKey + ".svg", "/badge/" + theirs.Key + "/a-late.svg",
	} {
		status, header, body := w.fetch(t, "GET", path)
		if status != 404 || header.Get("Cache-Control") != "no-store" || strings.Contains(body, key) {
			t.Errorf("GET %s = %d %v %s, want 404", path, status, header, body)
		}
	}
	if _, err := w.db.ReplaceBadgeKey(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := w.fetch(t, "GET", "/badge/"+key+".svg"); status != 404 {
		t.Errorf("the old key: %d, want 404", status)
	}
}

func TestStatusPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.seedCheckins(t)
	evil := catalog.Monitor{Project: 1, Slug: "evil", Name: "<script>alert(1)</script>", State: catalog.MonitorState{Status: catalog.MonitorPaused}}
	if _, err := w.db.CreateMonitor(t.Context(), evil); err != nil {
		t.Fatal(err)
	}
	key := w.badges(t, true).Key
	status, header, body := w.fetch(t, "GET", "/status/"+key)
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || header.Get("Cache-Control") != "public, max-age=60" {
		t.Fatalf("status page: %d %v", status, header)
	}
	if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers: %v", header)
	}
	for _, want := range []string{
		"<h1>2 of 5 jobs up, 2 down, 1 late.</h1>", "Nightly export", `<span class="word down"><i></i>down</span>`, `aria-label="Last 2 runs, 1 failed"`,
		"&lt;script&gt;", `<span class="word paused">`, "prefers-color-scheme:dark", "last run ", "next ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, secret := range []string{ourKey, key, "no space", "8c5ad7bc", "<script", "ZgotmplZ", "/ping/"} {
		if strings.Contains(body, secret) {
			t.Errorf("the page shows %s", secret)
		}
	}
	if strings.Index(body, "b-missed") > strings.Index(body, "a-late") || strings.Index(body, "a-late") > strings.Index(body, "Nightly") {
		t.Error("what is wrong does not stand first")
	}
	if status, header, body := w.fetch(t, "HEAD", "/status/"+key); status != 200 || body != "" || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Errorf("HEAD: %d %v %q", status, header, body)
	}
}

func TestStatusPageThatIsNotShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.seedCheckins(t)
	hidden := func(key string) {
		t.Helper()
		status, header, body := w.fetch(t, "GET", "/status/"+key)
		if status != 404 || header.Get("Cache-Control") != "no-store" || !strings.Contains(body, "no such status page") || strings.Contains(body, "Nightly") {
			t.Errorf("status page: %d %v", status, header)
		}
	}
	key := w.badges(t, false).Key
	hidden(key)
	hidden(strings.Repeat("0", 32))
	hidden("x")
	w.badges(t, true)
	if status, _, _ := w.fetch(t, "GET", "/status/"+key); status != 200 {
		t.Errorf("a page that is shown: %d", status)
	}
	w.badges(t, false)
	hidden(key)
}

func TestStatusPageWithoutTheStore(t *testing.T) {
	t.Parallel()
	w := newWorldOver(t, Config{}, silent(t))
	if _, err := w.db.CreateMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: "job"}); err != nil {
		t.Fatal(err)
	}
	status, _, body := w.fetch(t, "GET", "/status/"+w.badges(t, true).Key)
	if status != 200 || !strings.Contains(body, "The last runs cannot be shown at the moment.") || !strings.Contains(body, "No job is watched yet.") {
		t.Errorf("status page: %d %s", status, body)
	}
}

func TestStatusSentence(t *testing.T) {
	t.Parallel()
	f := func(want string, statuses ...string) {
		t.Helper()
		var monitors []catalog.Monitor
		for _, s := range statuses {
			monitors = append(monitors, catalog.Monitor{State: catalog.MonitorState{Status: s}})
		}
		if got := statusSentence(monitors); got != want {
			t.Errorf("statusSentence(%v) = %q, want %q", statuses, got, want)
		}
	}
	f("No job is watched yet.")
	f("No job is watched yet.", "new", "paused")
	f("The job is up.", "ok", "paused")
	f("All 2 jobs are up.", "ok", "running", "new")
	f("1 of 2 jobs up, 1 late.", "ok", "late")
	f("0 of 1 jobs up, 1 down.", "missed")
}

func TestStandingOfAll(t *testing.T) {
	t.Parallel()
	f := func(want standing, statuses ...string) {
		t.Helper()
		var monitors []catalog.Monitor
		for _, s := range statuses {
			monitors = append(monitors, catalog.Monitor{State: catalog.MonitorState{Status: s}})
		}
		if got := standingOfAll(monitors); got != want {
			t.Errorf("standingOfAll(%v) = %q, want %q", statuses, got, want)
		}
	}
	f(standsNew)
	f(standsNew, "new", "paused")
	f(standsPaused, "paused")
	f(standsUp, "new", "paused", "ok")
	f(standsLate, "late", "ok")
	f(standsDown, "late", "ok", "failed")
}

func TestTrendOfDurations(t *testing.T) {
	t.Parallel()
	run := func(status string, took time.Duration) telemetry.Checkin {
		return telemetry.Checkin{Status: status, Duration: took, HasDuration: took >= 0}
	}
	f := func(name string, want string, runs ...telemetry.Checkin) {
		t.Helper()
		got := "none"
		if usual, ratio := trendOf(runs); usual != nil {
			got = fmt.Sprint(*usual)
			if ratio != nil {
				got += fmt.Sprintf(" x%.2f", *ratio)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	second := time.Second
	f("nothing", "none")
	f("two before", "none", run("ok", second), run("ok", second), run("ok", 9*second))
	f("three before", "2000 x4.50", run("ok", second), run("ok", 3*second), run("ok", 2*second), run("ok", 9*second))
	f("failures and notes do not count", "none", run("ok", second), run("error", second), run("log", second), run("ok", second), run("ok", second))
	f("a run that goes on is not the newest that ended", "1000 x2.00", run("ok", second), run("ok", second), run("ok", second), run("error", 2*second), run("in_progress", -1))
	f("of no time", "0", run("ok", 0), run("ok", 0), run("ok", 0), run("ok", second))
	many := []telemetry.Checkin{}
	for range 50 {
		many = append(many, run("ok", 100*second))
	}
	for range 30 {
		many = append(many, run("ok", second))
	}
	f("only the newest 30", "1000 x3.00", append(many, run("ok", 3*second))...)
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var runs []telemetry.Checkin
	for i := range 100 {
		runs = append(runs, telemetry.Checkin{Status: "ok", Duration: time.Duration(100-i) * time.Second, HasDuration: true})
	}
	runs = append(runs, telemetry.Checkin{Status: "error", Duration: time.Hour, HasDuration: true}, telemetry.Checkin{Status: "ok"})
	if got, want := durationsOf(runs), (&Durations{Runs: 100, P50Ms: 50_000, P95Ms: 95_000}); !cmp.Equal(got, want) {
		t.Errorf("durationsOf = %+v, want %+v", got, want)
	}
	if got := durationsOf(runs[:1]); *got != (Durations{Runs: 1, P50Ms: 100_000, P95Ms: 100_000}) {
		t.Errorf("durationsOf one = %+v", got)
	}
	if got := durationsOf(nil); got != nil {
		t.Errorf("durationsOf nothing = %+v", got)
	}
}

func TestMissingIsNotEveryError(t *testing.T) {
	t.Parallel()
	if missing(nil) || missing(errors.New("x")) || missing(invalid("x")) || !missing(notFound("x")) {
		t.Error("missing tells errors apart wrongly")
	}
}

func TestBadgeOfALongName(t *testing.T) {
	t.Parallel()
	got := briefLine(strings.Repeat("é", 41)+"\n", 40)
	if want := strings.Repeat("é", 39) + "…"; got != want {
		t.Errorf("briefLine = %q, want %q", got, want)
	}
	if got := briefLine("a\tb\xff", 40); got != "a b\uFFFD" {
		t.Errorf("briefLine = %q", got)
	}
}
