package sentry

import (
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

func TestCheckin(t *testing.T) {
	t.Parallel()
	meta := testMeta()
	meta.SentAt = received.Add(-20 * time.Millisecond)
	got, err := Checkin([]byte(`{"check_in_id":"a1b2c3d4e5f60718293a4b5c6d7e8f90","monitor_slug":"Nightly Backup","status":"in_progress","duration":12.3456,"release":"r1","environment":null,
		"monitor_config":{"schedule":{"type":"crontab","value":"0  3 * * *"},"checkin_margin":5,"max_runtime":30.5,"timezone":"Europe/Berlin","failure_issue_threshold":2,"recovery_threshold":null,"owner":"x"}}`), meta)
	if err != nil {
		t.Fatal(err)
	}
	run, _ := hex.DecodeString("a1b2c3d4e5f60718293a4b5c6d7e8f90")
	want := &telemetrypb.Checkin{
		ProjectId: 7, ReceivedAt: uint64(received.UnixNano()), Time: uint64(meta.SentAt.UnixNano()), Slug: "nightly-backup",
		Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS, RunId: run, Environment: "production", DurationMs: 12346,
		Source: "sentry", Release: "r1", Config: &telemetrypb.MonitorConfig{
			ScheduleKind: "crontab", Schedule: "0 3 * * *", Timezone: "Europe/Berlin", MarginSeconds: 300, MaxRuntimeSeconds: 31 * 60, FailureThreshold: 2,
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&telemetrypb.Checkin{}, "checkin_id")); diff != "" {
		t.Errorf("check-in (-want +got):\n%s", diff)
	}
	end, err := Checkin([]byte(`{"check_in_id":"a1b2c3d4e5f60718293a4b5c6d7e8f90","monitor_slug":"x","status":"ok"}`), meta)
	if err != nil {
		t.Fatal(err)
	}
	if string(end.RunId) != string(run) || len(end.CheckinId) != 16 || string(end.CheckinId) == string(got.CheckinId) {
		t.Errorf("the end of the run: run %x, check-in %x after %x", end.RunId, end.CheckinId, got.CheckinId)
	}
}

func TestCheckinOfNoRun(t *testing.T) {
	t.Parallel()
	for _, id := range []string{`"00000000000000000000000000000000"`, `"00000000-0000-0000-0000-000000000000"`, `""`, `null`} {
		c, err := Checkin([]byte(`{"check_in_id":`+id+`,"monitor_slug":"x","status":"error"}`), testMeta())
		if err != nil {
			t.Fatal(err)
		}
		if c.RunId != nil || string(c.CheckinId) != string(append(make([]byte, 15), 1)) {
			t.Errorf("check_in_id %s: run %x, check-in %x", id, c.RunId, c.CheckinId)
		}
	}
}

func TestCheckinIntervals(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"schedule":{"type":"interval","value":5,"unit":"minute"}}`:       "300",
		`{"schedule":{"type":"interval","value":"2","unit":"hours"}}`:      "7200",
		`{"schedule":{"type":"interval","value":1,"unit":"day"}}`:          "86400",
		`{"schedule":{"type":"interval","value":1,"unit":"week"}}`:         "604800",
		`{"schedule":{"type":"interval","value":1,"unit":"month"}}`:        "2592000",
		`{"schedule":{"type":"interval","value":1,"unit":"year"}}`:         "31536000",
		`{"schedule_type":"interval","schedule":[10,"minute"]}`:            "600",
		`{"schedule_type":"crontab","schedule":"*/5 * * * *"}`:             "*/5 * * * *",
		`{"schedule":{"type":"crontab","value":"@daily"},"timezone":null}`: "@daily",
	} {
		c, err := Checkin([]byte(`{"monitor_slug":"x","status":"ok","monitor_config":`+config+`}`), testMeta())
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if c.Config.Schedule != want {
			t.Errorf("%s: %q, want %q", config, c.Config.Schedule, want)
		}
	}
}

func TestCheckinRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		``, `[]`, `{}`,
		`{"monitor_slug":"x"}`,
		`{"monitor_slug":"x","status":"missed"}`,
		`{"monitor_slug":"","status":"ok"}`,
		`{"monitor_slug":"!!!","status":"ok"}`,
		`{"monitor_slug":"x","status":"ok","check_in_id":"17"}`,
		`{"monitor_slug":"x","status":"ok","monitor_config":{}}`,
		`{"monitor_slug":"x","status":"ok","monitor_config":{"schedule":{"type":"crontab"}}}`,
		`{"monitor_slug":"x","status":"ok","monitor_config":{"schedule":{"type":"interval","value":0,"unit":"day"}}}`,
		`{"monitor_slug":"x","status":"ok","monitor_config":{"schedule":{"type":"interval","value":"NaN","unit":"day"}}}`,
		`{"monitor_slug":"x","status":"ok","monitor_config":{"schedule":{"type":"interval","value":1e300,"unit":"day"}}}`,
		`{"monitor_slug":"x","status":"ok","monitor_config":{"schedule":{"type":"interval","value":1,"unit":"moon"}}}`,
	} {
		if _, err := Checkin([]byte(raw), testMeta()); !errors.Is(err, ErrMalformed) {
			t.Errorf("Checkin(%s): %v", raw, err)
		}
	}
	if _, err := Checkin(make([]byte, MaxCheckinBytes+1), testMeta()); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large check-in: %v", err)
	}
}

func TestCheckinFor(t *testing.T) {
	t.Parallel()
	query := url.Values{"status": {"error"}, "environment": {"staging"}, "duration": {"1.5"}, "check_in_id": {"a1b2c3d4-e5f6-0718-293a-4b5c6d7e8f90"}}
	c, err := CheckinFor("job", query, nil, testMeta())
	if err != nil {
		t.Fatal(err)
	}
	if c.Slug != "job" || c.Status != telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR || c.Environment != "staging" || c.DurationMs != 1500 || len(c.RunId) != 16 {
		t.Errorf("check-in of a query: %v", c)
	}
	c, err = CheckinFor("job", url.Values{}, []byte(`{"monitor_slug":"other","status":"ok"}`), testMeta())
	if err != nil || c.Slug != "job" || c.Status != telemetrypb.CheckinStatus_CHECKIN_STATUS_OK {
		t.Errorf("check-in of a body: %v, %v", c, err)
	}
	if _, err := CheckinFor("job", url.Values{}, nil, testMeta()); !errors.Is(err, ErrMalformed) {
		t.Errorf("no status: %v", err)
	}
}

func TestSlug(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"backup": "backup", "Nightly Backup!": "nightly-backup", "a_b-c": "a_b-c", "tasks.cleanup.run": "tasks-cleanup-run",
		"--a--": "a", "é": "", "a é b": "a-b", "": "", "___": "",
		strings.Repeat("x", 180): strings.Repeat("x", 100),
	} {
		if got := Slug(in); got != want {
			t.Errorf("Slug(%q) = %q, want %q", in, got, want)
		}
	}
}
