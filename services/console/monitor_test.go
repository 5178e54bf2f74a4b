package console_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
)

// put writes a monitor as alerting does.
func (w *world) put(m catalog.Monitor) {
	w.t.Helper()
	if err := w.db.InTx(w.t.Context(), func(tx *catalog.Tx) error { return tx.PutMonitor(w.t.Context(), m) }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) monitor(slug string) catalog.Monitor {
	w.t.Helper()
	m, err := w.db.Monitor(w.t.Context(), 1, slug)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// backup is a job each ten minutes that ran three minutes ago and is on time.
func backup() catalog.Monitor {
	ran := time.Now().UTC().Truncate(time.Second).Add(-3 * time.Minute)
	return catalog.Monitor{
		Project: 1, Slug: "backup", Name: "Backup",
		Schedule: catalog.Schedule{Kind: "interval", Value: "600", Margin: time.Minute, MaxRuntime: time.Hour, FailAfter: 1, RecoverAfter: 1},
		State: catalog.MonitorState{
			Status: "ok", Since: ran, LastCheckinAt: ran, NextExpectedAt: ran.Add(10 * time.Minute), DueAt: ran.Add(10 * time.Minute),
			Runs: fmt.Sprintf("::%d", ran.UnixNano()),
		},
	}
}

func TestUpdateMonitor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	was := backup()
	w.put(was)
	path := "/projects/1/monitors/backup"
	f := func(body, name string, schedule map[string]any) {
		t.Helper()
		got := w.call("PATCH", path, body).object(t, 200)
		if got["name"] != name || got["slug"] != "backup" || !strings.HasSuffix(got["ping_url"].(string), "/backup") {
			t.Errorf("updateMonitor %s = %v", body, got)
		}
		if diff := cmp.Diff(schedule, got["schedule"]); diff != "" {
			t.Errorf("updateMonitor %s (-want +got)\n%s", body, diff)
		}
	}
	interval := map[string]any{
		"kind": "interval", "value": "600", "timezone": "", "margin_seconds": 60., "max_runtime_seconds": 3600.,
		"fail_after": 1., "miss_after": 1., "recover_after": 1.,
	}
	f(`{}`, "Backup", interval)
	f(`{"name": " Every night "}`, "Every night", interval)
	f(`{"name": ""}`, "backup", interval)
	if diff := cmp.Diff(was.State, w.monitor("backup").State); diff != "" {
		t.Errorf("a name changes the state (-want +got)\n%s", diff)
	}

	f(`{"schedule": {"kind": "interval", "value": "3600", "margin_seconds": 120, "max_runtime_seconds": 60, "fail_after": 2, "miss_after": 1, "recover_after": 3}}`, "backup", map[string]any{
		"kind": "interval", "value": "3600", "timezone": "", "margin_seconds": 120., "max_runtime_seconds": 60.,
		"fail_after": 2., "miss_after": 1., "recover_after": 3.,
	})
	if m := w.monitor("backup"); !m.State.NextExpectedAt.Equal(was.State.LastCheckinAt.Add(time.Hour)) || !m.State.DueAt.Equal(m.State.NextExpectedAt) || m.State.Runs != was.State.Runs {
		t.Errorf("after another schedule: %+v", m.State)
	}
	f(`{"schedule": {"kind": "crontab", "value": "30 2 * * *", "timezone": "Europe/Berlin"}}`, "backup", map[string]any{
		"kind": "crontab", "value": "30 2 * * *", "timezone": "Europe/Berlin", "margin_seconds": 1800., "max_runtime_seconds": 0.,
		"fail_after": 1., "miss_after": 1., "recover_after": 1.,
	})
	f(`{"schedule": {"kind": "none", "value": "", "timezone": "Europe/Berlin", "margin_seconds": 60, "max_runtime_seconds": 60, "fail_after": 4}}`, "backup", map[string]any{
		"kind": "none", "value": "", "timezone": "", "margin_seconds": 0., "max_runtime_seconds": 60.,
		"fail_after": 4., "miss_after": 4., "recover_after": 1.,
	})
	if m := w.monitor("backup"); !m.State.NextExpectedAt.IsZero() || !m.State.DueAt.IsZero() {
		t.Errorf("without a schedule something is expected: %+v", m.State)
	}
}

func TestUpdateMonitorForgivesWhatIsNotExpectedAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := backup()
	m.State.Status, m.State.Bad = "missed", 2
	w.put(m)
	got := w.call("PATCH", "/projects/1/monitors/backup", `{"schedule": {"kind": "interval", "value": "86400"}}`).object(t, 200)
	if got["status"] != "ok" || w.monitor("backup").State.Bad != 0 {
		t.Errorf("status = %v, bad runs %d; want ok and 0", got["status"], w.monitor("backup").State.Bad)
	}
}

func TestUpdateMonitorRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hidden := w.otherOrganisation()
	w.put(backup())
	other := backup()
	other.Project = hidden
	w.put(other)
	before := w.monitor("backup")
	f := func(path, body string, status int, code, words string) {
		t.Helper()
		w.call("PATCH", path, body).wantError(t, status, code, words)
	}
	path := "/projects/1/monitors/backup"
	f(path, `{"slug": "other"}`, 400, "invalid", "slug: there is no such field")
	f(path, `{"name": "a\nb"}`, 400, "invalid", "name: only text of one line")
	f(path, `{"name": "`+strings.Repeat("n", 201)+`"}`, 400, "invalid", "name: at most 200")
	f(path, `{"name": "x", "schedule": {"kind": "interval", "value": "soon"}}`, 400, "invalid", "schedule")
	f(path, `{"schedule": {"kind": "crontab", "value": "0 0 31 2 *"}}`, 400, "invalid", "never due")
	f(path, `{"schedule": {"kind": "interval", "value": "60", "margin_seconds": -1}}`, 400, "invalid", "margin_seconds")
	f(path, `{"schedule": {"kind": "interval", "value": "60", "fail_after": 0}}`, 400, "invalid", "fail_after")
	f("/projects/1/monitors/none", `{"name": "x"}`, 404, "not_found", `no monitor "none"`)
	f(fmt.Sprintf("/projects/%d/monitors/backup", hidden), `{"name": "x"}`, 404, "not_found", "no project")
	w.do("PATCH", path, nil, `{"name": "x"}`).wantError(t, 401, "unauthorized", "")
	w.do("PATCH", path, h{"Cookie": w.signIn(), "Sec-Fetch-Site": "cross-site"}, `{"name": "x"}`).wantError(t, 403, "forbidden", "another site")
	if diff := cmp.Diff(before, w.monitor("backup")); diff != "" {
		t.Errorf("a refusal changes the monitor (-want +got)\n%s", diff)
	}
}

func TestPauseAndResumeMonitor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(backup())
	paused := w.call("POST", "/projects/1/monitors/backup/pause", "").object(t, 200)
	if m := w.monitor("backup"); paused["status"] != "paused" || m.State.Status != "paused" || !m.State.DueAt.IsZero() || !m.State.NextExpectedAt.IsZero() || m.State.LastCheckinAt.IsZero() {
		t.Errorf("paused: %v, %+v", paused, m.State)
	}
	since := w.monitor("backup").State.Since
	if again := w.call("POST", "/projects/1/monitors/backup/pause", "").object(t, 200); again["status"] != "paused" || !w.monitor("backup").State.Since.Equal(since) {
		t.Errorf("paused again: %v", again)
	}
	resumed := w.call("POST", "/projects/1/monitors/backup/resume", "").object(t, 200)
	if m := w.monitor("backup"); resumed["status"] != "new" || !m.State.DueAt.IsZero() {
		t.Errorf("resumed: %v, %+v", resumed, m.State)
	}
	w.put(backup())
	if got := w.call("POST", "/projects/1/monitors/backup/resume", "").object(t, 200); got["status"] != "ok" {
		t.Errorf("resuming what is not paused: %v", got)
	}
}

func TestDeleteMonitor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(backup())
	if r := w.call("DELETE", "/projects/1/monitors/backup", ""); r.status != 204 || r.body != "" {
		t.Errorf("deleteMonitor = %d %q", r.status, r.body)
	}
	w.call("DELETE", "/projects/1/monitors/backup", "").wantError(t, 404, "not_found", `no monitor "backup"`)
	for _, what := range []string{"pause", "resume"} {
		w.call("POST", "/projects/1/monitors/backup/"+what, "").wantError(t, 404, "not_found", `no monitor "backup"`)
	}
	w.call("POST", "/projects/1/monitors", `{"slug": "backup"}`).object(t, 201)
}

func TestMonitorsOfOthersStayAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hidden := w.otherOrganisation()
	m := backup()
	m.Project = hidden
	w.put(m)
	path := fmt.Sprintf("/projects/%d/monitors/backup", hidden)
	w.call("DELETE", path, "").wantError(t, 404, "not_found", "no project")
	w.call("POST", path+"/pause", "").wantError(t, 404, "not_found", "no project")
	w.do("DELETE", "/projects/1/monitors/backup", nil, "").wantError(t, 401, "unauthorized", "")
	if got, err := w.db.Monitor(t.Context(), hidden, "backup"); err != nil || got.State.Status != "ok" {
		t.Errorf("the monitor of others: %+v, %v", got.State, err)
	}
}

func TestBadges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.call("GET", "/projects/1/badges", "").object(t, 200)
	b, err := w.db.Badges(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"badge_url": "http://watch.example:8080/badge/" + b.Key + ".svg", "status_page": false, "status_url": "http://watch.example:8080/status/" + b.Key,
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("getBadges (-want +got)\n%s", diff)
	}
	want["status_page"] = true
	if diff := cmp.Diff(want, w.call("PUT", "/projects/1/badges", `{"status_page": true}`).object(t, 200)); diff != "" {
		t.Errorf("setBadges (-want +got)\n%s", diff)
	}
	replaced := w.call("POST", "/projects/1/badges/key", "").object(t, 200)
	if replaced["badge_url"] == first["badge_url"] || replaced["status_url"] == first["status_url"] || replaced["status_page"] != true {
		t.Errorf("replaceBadgeKey = %v", replaced)
	}
}

func TestBadgesRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := fmt.Sprintf("/projects/%d/badges", w.otherOrganisation())
	w.call("GET", path, "").wantError(t, 404, "not_found", "no project")
	w.call("PUT", path, `{"status_page": true}`).wantError(t, 404, "not_found", "no project")
	w.call("POST", path+"/key", "").wantError(t, 404, "not_found", "no project")
	w.do("GET", "/projects/1/badges", nil, "").wantError(t, 401, "unauthorized", "")
	w.call("PUT", "/projects/1/badges", `{"status_page": "yes"}`).wantError(t, 400, "invalid", "status_page")
	w.call("PUT", "/projects/1/badges", `{"page": true}`).wantError(t, 400, "invalid", "page: there is no such field")
}
