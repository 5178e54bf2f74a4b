package ingest

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/checkin"
	"github.com/midwatch/midwatch/storage/catalog"
)

const runID = "6c1f0e7a-2f3b-4c5d-8e9f-a0b1c2d3e4f5"

func createMonitor(t *testing.T, r *sentryRig, slug string) catalog.Monitor {
	t.Helper()
	m, err := r.db.CreateMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: slug, Schedule: catalog.Schedule{Kind: catalog.ScheduleNone}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPing(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	m := createMonitor(t, r, "job")
	base := "/ping/" + sentryTestKey + "/job"
	id := "/ping/" + m.UUID
	type kept struct {
		status telemetrypb.CheckinStatus
		code   uint32
		has    bool
		body   string
		run    string
	}
	var want []kept
	for _, c := range []struct {
		method, path, body string
		want               kept
	}{
		{"GET", base, "", kept{status: 2}},
		{"HEAD", base + "/", "", kept{status: 2}},
		{"POST", base, "three files", kept{status: 2, body: "three files"}},
		{"GET", base, "", kept{status: 2}},
		{"POST", base + "/start?rid=" + runID, "", kept{status: 1, run: strings.ReplaceAll(runID, "-", "")}},
		{"POST", base + "/fail", "oh \xff\x00", kept{status: 3, body: "oh \uFFFD\uFFFD"}},
		{"POST", base + "/log", strings.Repeat("x", 200_000), kept{status: 4, body: strings.Repeat("x", 100_000)}},
		{"GET", base + "/0", "", kept{status: 2, has: true}},
		{"GET", base + "/137/", "", kept{status: 3, code: 137, has: true}},
		{"GET", id, "", kept{status: 2}},
		{"GET", id + "/start", "", kept{status: 1}},
		{"POST", strings.ToUpper(id[6:]), "", kept{}},
		{"GET", id + "/1", "", kept{status: 3, code: 1, has: true}},
	} {
		if !strings.HasPrefix(c.path, "/") {
			c.path = "/ping/" + c.path
			c.want = kept{status: 2}
		}
		got := r.do(t, c.method, c.path, c.body)
		body := "OK"
		if c.method == "HEAD" {
			body = ""
		}
		if got.status != 200 || got.body != body || got.header.Get("Ping-Body-Limit") != "100000" || got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d %q %v", c.method, c.path, got.status, got.body, got.header)
		}
		want = append(want, c.want)
	}
	all := r.checkins(t)
	if len(all) != len(want) {
		t.Fatalf("%d check-ins of %d pings", len(all), len(want))
	}
	ids := map[string]bool{}
	for i, c := range all {
		got := kept{c.Status, c.ExitCode, c.HasExitCode, c.Body, hex.EncodeToString(c.RunId)}
		if got != want[i] {
			t.Errorf("ping %d: %.200v, want %.200v", i, got, want[i])
		}
		if c.ProjectId != 1 || c.Slug != "job" || c.Source != "ping" || c.Create || len(c.CheckinId) != 16 {
			t.Errorf("ping %d: %.300v", i, c)
		}
		ids[string(c.CheckinId)] = true
	}
	if len(ids) != len(all) {
		t.Errorf("%d ids of %d check-ins", len(ids), len(all))
	}
}

func TestPingRefuses(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	createMonitor(t, r, "job")
	for path, want := range map[string]int{
		"/ping/" + sentryTestKey + "/unknown":                         404,
		"/ping/" + sentryTestKey + "/unknown?create=0":                404,
		"/ping/" + strings.Repeat("f", 32) + "/job":                   404,
		"/ping/" + strings.Repeat("f", 32) + "/job?create=1":          404,
		"/ping/" + r.otherKey + "/job":                                404,
		"/ping/" + runID:                                              404,
		"/ping/" + runID + "?create=1":                                404,
		"/ping/" + sentryTestKey:                                      404,
		"/ping/" + sentryTestKey + "/job/stop":                        404,
		"/ping/x%20y/job":                                             404,
		"/ping/" + sentryTestKey + "/Job":                             400,
		"/ping/" + sentryTestKey + "/Job?create=1":                    400,
		"/ping/" + sentryTestKey + "/job/256":                         400,
		"/ping/" + sentryTestKey + "/job?rid=1":                       400,
		"/ping/" + sentryTestKey + "/job?rid=":                        400,
		"/ping/" + sentryTestKey + "/" + strings.Repeat("x", 101):     400,
		"/ping/" + sentryTestKey + "/job/start?rid=" + runID + "junk": 400,
	} {
		got := r.do(t, "GET", path, "")
		if got.status != want || want == 404 && got.body != "not found" || got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %q, want %d", path, got.status, got.body, want)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		if got := r.do(t, method, "/ping/"+sentryTestKey+"/job", ""); got.status != 405 || got.header.Get("Allow") == "" {
			t.Errorf("%s: %d %v", method, got.status, got.header)
		}
	}
	if got := r.do(t, "OPTIONS", "/ping/"+sentryTestKey+"/job", ""); got.status != 204 {
		t.Errorf("OPTIONS: %d", got.status)
	}
	if c := r.checkins(t); len(c) > 0 {
		t.Errorf("stored %v", c)
	}
}

func TestPingCreates(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	path := "/ping/" + sentryTestKey + "/fresh"
	if got := r.do(t, "POST", path+"/start?create=1", ""); got.status != 201 || got.body != "Created" {
		t.Errorf("first: %d %q", got.status, got.body)
	}
	// The monitor is about to be made: neither a second one nor a "not found".
	if got := r.do(t, "POST", path+"?create=1", ""); got.status != 200 {
		t.Errorf("second: %d %q", got.status, got.body)
	}
	if got := r.do(t, "POST", path, ""); got.status != 200 {
		t.Errorf("third: %d %q", got.status, got.body)
	}
	c := r.checkins(t)
	if len(c) != 3 || !c[0].Create || !c[1].Create || c[2].Create {
		t.Errorf("check-ins %v", c)
	}
}

func TestPingOfARunOnce(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	createMonitor(t, r, "job")
	path := "/ping/" + sentryTestKey + "/job"
	for _, p := range []string{path + "/start?rid=" + runID, path + "?rid=" + runID, path + "/log?rid=" + runID} {
		for range 2 {
			if got := r.do(t, "POST", p, "same"); got.status != 200 {
				t.Fatalf("%s: %d %s", p, got.status, got.body)
			}
		}
	}
	var statuses []telemetrypb.CheckinStatus
	for _, c := range r.checkins(t) {
		statuses = append(statuses, c.Status)
	}
	if len(statuses) != 4 || statuses[0] != 1 || statuses[1] != 2 || statuses[2] != 4 || statuses[3] != 4 {
		t.Errorf("statuses %v", statuses)
	}
}

func TestPingTellsDurationAndEnvironment(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	createMonitor(t, r, "job")
	if got := r.do(t, "POST", "/ping/"+sentryTestKey+"/job/0?duration=2.5&environment=staging", ""); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if c := r.checkins(t); len(c) != 1 || c[0].DurationMs != 2500 || c[0].Environment != "staging" {
		t.Errorf("check-ins %v", c)
	}
}

// TestPingWithoutSQL checks that a job's sign of life is kept while SQL does not answer.
func TestPingWithoutSQL(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	m := createMonitor(t, r, "job")
	paths := []string{"/ping/" + sentryTestKey + "/job", "/ping/" + m.UUID}
	for _, p := range paths {
		if got := r.do(t, "GET", p, ""); got.status != 200 {
			t.Fatalf("%s: %d %s", p, got.status, got.body)
		}
	}
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(paths, "/ping/"+sentryTestKey+"/another") {
		if got := r.do(t, "GET", p, ""); got.status != 200 {
			t.Errorf("%s: %d %s", p, got.status, got.body)
		}
	}
	if got := r.do(t, "GET", "/ping/"+runID, ""); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("unknown uuid: %d %s", got.status, got.body)
	}
}

// TestPingsOfOtherServices checks that what their clients send is taken as it is.
func TestPingsOfOtherServices(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	m := createMonitor(t, r, "job")
	const (
		thanks = "Got it, thanks!"
		plain  = "text/plain"
		posted = "application/x-www-form-urlencoded" // as curl -d has it
	)
	type kept struct {
		source, slug string
		status       telemetrypb.CheckinStatus
		code         uint32
		has          bool
		body, env    string
		ms           uint64
		create       bool
	}
	var want []kept
	for _, c := range []struct {
		method, path, kind, body string
		code                     int
		answer                   string
		want                     *kept
	}{
		{"GET", "/cronitor/p/" + sentryTestKey + "/nightly-job?state=run&series=1&env=staging&host=web-1&stamp=1700000000.5", "", "", 200, "OK", &kept{source: "cronitor", slug: "nightly-job", status: 1, env: "staging", create: true}},
		{"GET", "/cronitor/p/" + sentryTestKey + "/nightly-job?state=complete&series=1&msg=done&status_code=0&metric=count:3&metric=duration:1.5", "", "", 200, "OK", &kept{source: "cronitor", slug: "nightly-job", status: 2, has: true, body: "done", ms: 1500, create: true}},
		{"POST", "/cronitor/p/" + sentryTestKey + "/Nightly%20Job/?state=fail", posted, "message=no+disk", 200, "OK", &kept{source: "cronitor", slug: "nightly-job", status: 3, body: "no disk", create: true}},
		{"HEAD", "/cronitor/ping/" + sentryTestKey + "/beat", "", "", 200, "", &kept{source: "cronitor", slug: "beat", status: 2, create: true}},
		{"GET", "/cronitor/p/" + sentryTestKey + "/job?state=stop", "", "", 400, "invalid url format: state is not run, complete, fail or ok", nil},
		{"GET", "/cronitor/p/" + strings.Repeat("f", 32) + "/job?state=ok", "", "", 404, "not found", nil},
		{"GET", "/cronitor/p/" + sentryTestKey, "", "", 404, "not found", nil},
		{"GET", "/cronitor/p/" + sentryTestKey + "/job/x", "", "", 404, "not found", nil},
		{"PUT", "/cronitor/p/" + sentryTestKey + "/job", "", "", 405, "method not allowed", nil},

		{"GET", "/snitch/" + m.UUID, "", "", 202, thanks, &kept{source: "snitch", slug: "job", status: 2}},
		{"GET", "/snitch/" + m.UUID + "?m=three+files&s=0", "", "", 202, thanks, &kept{source: "snitch", slug: "job", status: 2, has: true, body: "three files"}},
		{"POST", "/snitch/" + m.UUID, posted, "s=3&m=oh+no", 202, thanks, &kept{source: "snitch", slug: "job", status: 3, code: 3, has: true, body: "oh no"}},
		{"POST", "/snitch/" + m.UUID, posted, "m=100%&s=1", 202, thanks, &kept{source: "snitch", slug: "job", status: 3, code: 1, has: true}},
		{"POST", "/snitch/" + m.UUID + "/", "", "", 202, thanks, &kept{source: "snitch", slug: "job", status: 2}},
		{"GET", "/snitch/c2354d53d2", "", "", 404, "not found", nil},
		{"GET", "/snitch/" + runID, "", "", 404, "not found", nil},
		{"DELETE", "/snitch/" + m.UUID, "", "", 405, "method not allowed", nil},

		{"GET", "/api/v1/heartbeat/" + m.UUID, "", "", 200, "OK", &kept{source: "heartbeat", slug: "job", status: 2}},
		{"POST", "/api/v1/heartbeat/" + m.UUID + "/fail", posted, "m=not a form & no field", 200, "OK", &kept{source: "heartbeat", slug: "job", status: 3, body: "m=not a form & no field"}},
		{"POST", "/api/v1/heartbeat/" + m.UUID + "/2", plain, "two", 200, "OK", &kept{source: "heartbeat", slug: "job", status: 3, code: 2, has: true, body: "two"}},
		{"HEAD", "/api/v1/heartbeat/" + m.UUID + "/0", "", "", 200, "", &kept{source: "heartbeat", slug: "job", status: 2, has: true}},
		{"GET", "/api/v1/heartbeat/" + m.UUID + "/256", "", "", 400, "invalid url format: an exit code is 0 to 255", nil},
		{"GET", "/api/v1/heartbeat/" + m.UUID + "/start", "", "", 404, "not found", nil},
		{"GET", "/api/v1/heartbeat/" + runID, "", "", 404, "not found", nil},
		{"PATCH", "/api/v1/heartbeat/" + m.UUID, "", "", 405, "method not allowed", nil},
	} {
		var header []string
		if c.kind != "" {
			header = []string{"Content-Type", c.kind}
		}
		got := r.do(t, c.method, c.path, c.body, header...)
		if got.status != c.code || got.body != c.answer || got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, got.status, got.body, c.code, c.answer)
		}
		if c.want != nil {
			want = append(want, *c.want)
		}
	}
	all := r.checkins(t)
	got := make([]kept, len(all))
	for i, c := range all {
		got[i] = kept{c.Source, c.Slug, c.Status, c.ExitCode, c.HasExitCode, c.Body, c.Environment, c.DurationMs, c.Create}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(kept{})); diff != "" {
		t.Fatalf("check-ins (-want +got):\n%s", diff)
	}
	if len(all[0].RunId) != 16 || string(all[0].RunId) != string(all[1].RunId) || all[2].RunId != nil {
		t.Errorf("runs %x, %x, %x", all[0].RunId, all[1].RunId, all[2].RunId)
	}
}

// TestLongSlugs checks that a monitor of the longest name is the same one by each protocol.
func TestLongSlugs(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	slug := strings.Repeat("x", 100)
	createMonitor(t, r, slug)
	for path, status := range map[string]int{
		"/ping/" + sentryTestKey + "/" + slug:                                   200,
		"/cronitor/p/" + sentryTestKey + "/" + slug:                             200,
		"/api/1/cron/" + slug + "/" + sentryTestKey + "?status=ok":              202,
		"/api/1/cron/" + slug + "-and-more/" + sentryTestKey + "/?status=error": 202,
	} {
		if got := r.do(t, "GET", path, ""); got.status != status {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	all := r.checkins(t)
	for _, c := range all {
		if c.Slug != slug {
			t.Errorf("%s: slug %q", c.Source, c.Slug)
		}
	}
	if len(all) != 4 {
		t.Errorf("%d check-ins", len(all))
	}
}

// TestPingWithoutRoom checks that a ping counts where there is no memory for what it says.
func TestPingWithoutRoom(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	createMonitor(t, r, "job")
	if !r.server.held.take(r.server.cfg.MaxHeldBytes - checkin.MaxBodyBytes + 1) {
		t.Fatal("the server holds something before the first request")
	}
	if got := r.do(t, "POST", "/ping/"+sentryTestKey+"/job/fail", "no room for this"); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	all := r.checkins(t)
	if len(all) != 1 || all[0].Status != telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR || all[0].Body != "" {
		t.Errorf("check-ins %v", all)
	}
}

func TestCron(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	auth := []string{"X-Sentry-Auth", "Sentry sentry_key=" + sentryTestKey}
	for _, c := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"GET", "/api/1/cron/job/" + sentryTestKey + "?status=in_progress&check_in_id=" + runID, "", nil, 202},
		{"POST", "/api/1/cron/job/" + sentryTestKey + "/?status=ok&duration=2.5&environment=staging&check_in_id=" + runID, "", nil, 202},
		{"POST", "/api/1/cron/Night%20Job/" + sentryTestKey + "/", `{"status":"error","monitor_config":{"schedule":{"type":"interval","value":1,"unit":"hour"}}}`, nil, 202},
		{"POST", "/api/1/cron/job/?status=ok", "ignored=form", auth, 202},
		{"GET", "/api/1/cron/job" + sentryQuery + "&status=ok", "", nil, 202},
		{"GET", "/api/1/cron/job" + sentryQuery + "&status=ok", "", nil, 202},
		{"POST", "/api/cron/job", `{"status":"ok"}`, auth, 202},
		{"POST", "/api/cron/job", `{"status":"ok"}`, nil, 401},
		{"GET", "/api/1/cron/job?status=ok", "", nil, 401},
		{"GET", "/api/1/cron/job/" + sentryTestKey + "?status=ok", "", auth, 401},
		{"GET", "/api/1/cron/job/" + strings.Repeat("f", 32) + "?status=ok", "", nil, 403},
		{"GET", "/api/2/cron/job/" + sentryTestKey + "?status=ok", "", nil, 403},
		{"GET", "/api/1/cron/job/" + sentryTestKey, "", nil, 400},
		{"GET", "/api/1/cron/job/" + sentryTestKey + "?status=ok&check_in_id=x", "", nil, 400},
		{"POST", "/api/1/cron/job/" + sentryTestKey, `{"status":`, nil, 400},
		{"POST", "/api/1/cron/job/" + sentryTestKey, strings.Repeat("x", 200_000), nil, 413},
		{"PUT", "/api/1/cron/job/" + sentryTestKey, "", nil, 405},
	} {
		got := r.do(t, c.method, c.path, c.body, c.header...)
		if got.status != c.want || got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, got.status, got.body, c.want)
		}
	}
	all := r.checkins(t)
	if len(all) != 7 {
		t.Fatalf("check-ins %v", all)
	}
	if string(all[0].RunId) != string(all[1].RunId) || all[1].DurationMs != 2500 || all[1].Environment != "staging" {
		t.Errorf("run %v, %v", all[0], all[1])
	}
	if all[2].Slug != "night-job" || all[2].Config.GetSchedule() != "3600" || all[2].Status != telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR {
		t.Errorf("with a schedule: %v", all[2])
	}
}

// TestUnknownUUIDsAreRemembered checks that guessing the same again costs no SQL, and that guesses
// push out nothing that is known.
func TestUnknownUUIDsAreRemembered(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	made := createMonitor(t, r, "job")
	m := newMonitors(r.db)
	now := time.Now()
	m.now = func() time.Time { return now }
	if found, err := m.byUUID(t.Context(), made.UUID); err != nil || found.slug != "job" {
		t.Fatalf("known: %v, %v", found, err)
	}
	if _, err := m.byUUID(t.Context(), runID); !errors.Is(err, catalog.ErrNotFound) {
		t.Fatalf("unknown: %v", err)
	}
	for range monitorsUnknown {
		m.unknown.put(uuid.NewString(), now.Add(time.Hour))
	}
	m.unknown.put(runID, now.Add(monitorUnknownFresh))
	if len(m.unknown.entries) != monitorsUnknown || len(m.known.entries) != 1 {
		t.Errorf("%d unknown and %d known are remembered", len(m.unknown.entries), len(m.known.entries))
	}
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.byUUID(t.Context(), runID); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("SQL was asked for it again: %v", err)
	}
	now = now.Add(monitorUnknownFresh)
	if _, err := m.byUUID(t.Context(), runID); err == nil || errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("SQL was not asked for it again: %v", err)
	}
	if found, err := m.byUUID(t.Context(), made.UUID); err != nil || found.slug != "job" {
		t.Errorf("known, without SQL: %v, %v", found, err)
	}
}

// TestGuessesKeepNobodyWaiting checks what is found while all slots of look-ups by UUID are taken.
func TestGuessesKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	made := createMonitor(t, r, "job")
	m := newMonitors(r.db)
	now := time.Now()
	m.now = func() time.Time { return now }
	if _, err := m.byUUID(t.Context(), made.UUID); err != nil {
		t.Fatal(err)
	}
	for range monitorLookups {
		m.byID <- struct{}{}
	}
	now = now.Add(time.Hour)
	if found, err := m.byUUID(t.Context(), made.UUID); err != nil || found.slug != "job" {
		t.Errorf("by uuid: %v, %v", found, err)
	}
	if exists, err := m.exists(t.Context(), 1, "job"); !exists || err != nil {
		t.Errorf("by slug: %t, %v", exists, err)
	}
}

func TestMonitorsAreBounded(t *testing.T) {
	t.Parallel()
	m := newMonitors(nil)
	for i := range uint32(monitorsKnown + 100) {
		m.announce(i, "job")
	}
	if len(m.known.entries) > monitorsKnown {
		t.Errorf("%d entries", len(m.known.entries))
	}
}

func TestMonitorsAreBelievedForSeconds(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	m := newMonitors(r.db)
	now := time.Now()
	m.now = func() time.Time { return now }
	if exists, err := m.exists(t.Context(), 1, "job"); exists || err != nil {
		t.Fatalf("before: %t, %v", exists, err)
	}
	createMonitor(t, r, "job")
	if exists, err := m.exists(t.Context(), 1, "job"); !exists || err != nil {
		t.Fatalf("an unknown monitor was remembered: %t, %v", exists, err)
	}
	if exists, err := m.exists(t.Context(), 2, "job"); exists || err != nil {
		t.Fatalf("another project's: %t, %v", exists, err)
	}
}
