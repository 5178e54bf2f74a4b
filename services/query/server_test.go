package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.seed(t)
	f := func(name, path string, want any) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.expect(t, w.path(path), want)
		})
	}

	// ---- logs

	listening := dict{
		"id": "log 3", "time": w.at(0), "level": "info", "severity": 9, "severity_text": "INFO", "service": "api", "body": "listening on port 80",
		"attributes": dict{}, "resource": dict{"host.name": "a1"},
	}
	refused := dict{
		"id": "log 2", "time": w.at(65*time.Second + 123456789), "level": "error", "severity": 17, "severity_text": "ERROR", "service": "api",
		"body": "payment refused: card expired", "attributes": dict{"order": "77"}, "resource": dict{"host.name": "a1"},
		"trace_id": hex16(0xaa), "span_id": hex16(0xbb)[:16],
	}
	lost := dict{
		"id": "log 1", "time": w.at(70 * time.Second), "level": "fatal", "severity": 21, "severity_text": "fatal", "service": "worker", "body": "Payment queue lost",
		"attributes": dict{}, "resource": dict{},
	}
	logs := func(name, path string, want ...dict) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := w.get(t, ourToken, w.path(path))
			body, _ := got.body.(dict)
			delete(body, "next_cursor") // pages have their own test
			rows := items{}
			for _, one := range want {
				rows = append(rows, one)
			}
			if diff := cmp.Diff(plainJSON(t, dict{"rows": rows}), any(body), ignoreID); diff != "" {
				t.Errorf("GET %s (-want +got):\n%s", path, diff)
			}
		})
	}
	logs("logs", "/projects/1/logs", lost, refused, listening)
	logs("logs by word", "/projects/1/logs?q=payment", lost, refused)
	logs("logs by phrase", "/projects/1/logs?q="+url.QueryEscape(`"payment refused"`), refused)
	logs("logs without a word", "/projects/1/logs?q=-payment", listening)
	logs("logs by level", "/projects/1/logs?level=fatal&level=info&level=info", lost, listening)
	logs("logs by service", "/projects/1/logs?service=worker&service=", lost)
	logs("no logs", "/projects/1/logs?q=nothing")

	t.Run("log pages", func(t *testing.T) {
		t.Parallel()
		var bodies []string
		ids := map[string]bool{}
		for cursor := ""; ; {
			got := w.get(t, ourToken, w.path("/projects/1/logs?limit=1&cursor="+url.QueryEscape(cursor))).body.(dict)
			for _, row := range got["rows"].(items) {
				bodies = append(bodies, row.(dict)["body"].(string))
				ids[row.(dict)["id"].(string)] = true
			}
			next, more := got["next_cursor"].(string)
			if !more || len(bodies) > 3 {
				break
			}
			cursor = next
		}
		want := []string{"Payment queue lost", "payment refused: card expired", "listening on port 80"}
		if !slices.Equal(bodies, want) || len(ids) != 3 {
			t.Errorf("the pages hold %q with %d ids, want %q", bodies, len(ids), want)
		}
	})

	histogram := func(counts map[int]dict) items {
		out := items{}
		for i := range 60 {
			c := counts[i]
			if c == nil {
				c = dict{}
			}
			out = append(out, dict{"at": w.at(time.Duration(i) * 10 * time.Second), "counts": c})
		}
		return out
	}
	f("log histogram", "/projects/1/logs/histogram", dict{
		"total": 3, "step_seconds": 10,
		"buckets":  histogram(map[int]dict{0: {"info": 1}, 6: {"error": 1}, 7: {"fatal": 1}}),
		"services": items{dict{"service": "api", "count": 2}, dict{"service": "worker", "count": 1}},
	})
	f("log histogram of nothing", "/projects/1/logs/histogram?q=nothing", dict{"total": 0, "step_seconds": 10, "buckets": histogram(nil), "services": items{}})

	// ---- metrics

	queue := dict{
		"name": "queue_length", "source_name": "queue.length", "kind": "gauge", "unit": "1", "description": "Jobs waiting", "series": 2,
		"labels": items{"host", "queue"}, "last_at": w.at(90 * time.Second),
	}
	requests := dict{
		"name": "requests_total", "kind": "counter", "unit": "", "description": "", "series": 1, "labels": items{"code"}, "last_at": w.at(90 * time.Second),
	}
	f("metrics", "/projects/1/metrics", dict{"metrics": items{queue, requests}, "truncated": false})
	f("metrics by name", "/projects/1/metrics?q=QUEUE", dict{"metrics": items{queue}, "truncated": false})
	f("no metrics", "/projects/1/metrics?q=secret", dict{"metrics": items{}, "truncated": false})

	t.Run("metric range", func(t *testing.T) {
		t.Parallel()
		path := "/projects/1/metrics/queue_length/range?step=60&aggregate=max&by=host&by=host"
		got := w.get(t, ourToken, path+"&from="+w.at(0)+"&to="+w.at(2*time.Minute)).body.(dict)
		delete(got, "samples_read") // what it costs is the store's business
		ms := func(d time.Duration) int64 { return w.base.Add(d).UnixMilli() }
		want := dict{
			"name": "queue_length", "kind": "gauge", "unit": "1", "aggregate": "max", "step_seconds": 60, "truncated": false,
			"series": items{
				dict{"labels": dict{"host": "a"}, "points": items{dict{"at": ms(0), "value": 3}, dict{"at": ms(time.Minute), "value": 7}}},
				dict{"labels": dict{"host": "b"}, "points": items{dict{"at": ms(0), "value": 20}, dict{"at": ms(time.Minute), "value": 20}}},
			},
		}
		slices.SortFunc(got["series"].(items), func(a, b any) int { // lines have no order
			return strings.Compare(a.(dict)["labels"].(dict)["host"].(string), b.(dict)["labels"].(dict)["host"].(string))
		})
		if diff := cmp.Diff(plainJSON(t, want), any(got)); diff != "" {
			t.Errorf("metric range (-want +got):\n%s", diff)
		}
	})

	t.Run("metric range of a counter", func(t *testing.T) {
		t.Parallel()
		path := "/projects/1/metrics/requests_total/range?from=" + w.at(30*time.Second) + "&to=" + w.at(90*time.Second)
		got := w.get(t, ourToken, path).body.(dict)
		if got["aggregate"] != "rate" || got["step_seconds"] != 1.0 {
			t.Errorf("a counter is drawn as %v every %v s, want its rate every second", got["aggregate"], got["step_seconds"])
		}
		lines := got["series"].(items)
		if len(lines) != 1 {
			t.Fatalf("%d lines, want one", len(lines))
		}
		for _, p := range lines[0].(dict)["points"].(items) {
			if v := p.(dict)["value"].(float64); v < 0 || v > 60 {
				t.Errorf("%v requests a second, want those of one sample at most", v)
			}
		}
	})

	// ---- errors

	timeout := dict{
		"id": "00000000000000a1", "title": "Timeout: upstream", "type": "Timeout", "value": "upstream", "culprit": "proxy.do", "level": "warning", "platform": "go",
		"first_seen": w.at(-48 * time.Hour), "last_seen": w.at(time.Minute), "first_release": "1.0", "last_release": "1.41",
		"events": 1, "users": 1, "total_events": 12, "trend": trend(6, 1), "status": "unresolved",
	}
	full := dict{
		"id": "f0000000000000b2", "title": "IOError: disk full", "type": "IOError", "value": "disk full", "culprit": "main.write", "level": "error", "platform": "go",
		"first_seen": w.at(2 * time.Minute), "last_seen": w.at(4 * time.Minute), "first_release": "1.42", "last_release": "1.43",
		"events": 2, "users": 2, "total_events": 2, "trend": trend(12, 1, 24, 1), "status": "unresolved",
	}
	f("issues", "/projects/1/issues", dict{"total": 2, "step_seconds": 10, "issues": items{full, timeout}})
	f("issues, the first", "/projects/1/issues?limit=1", dict{"total": 2, "step_seconds": 10, "issues": items{full}})
	f("issues by words", "/projects/1/issues?q="+url.QueryEscape("UPSTREAM time"), dict{"total": 1, "step_seconds": 10, "issues": items{timeout}})
	f("issues by words of the neighbour", "/projects/1/issues?q=secret", dict{"total": 0, "step_seconds": 10, "issues": items{}})

	events := items{
		dict{"id": hex16(3), "time": w.at(4 * time.Minute), "level": "error", "environment": "production", "release": "1.43", "value": "disk full", "user": "u2"},
		dict{"id": hex16(2), "time": w.at(2 * time.Minute), "level": "error", "environment": "production", "release": "1.42", "value": "disk full", "user": "u1"},
	}
	t.Run("issue", func(t *testing.T) {
		t.Parallel()
		got := w.get(t, ourToken, w.path("/projects/1/issues/f0000000000000b2")).body.(dict)
		var disk any // which other tags are distributed is the store's business
		for _, tag := range got["tags"].(items) {
			if tag.(dict)["key"] == "disk" {
				disk = tag
			}
		}
		got["tags"] = items{disk}
		slices.SortFunc(disk.(dict)["values"].(items), func(a, b any) int {
			return strings.Compare(a.(dict)["value"].(string), b.(dict)["value"].(string))
		})
		want := dict{
			"issue": full, "newest_release": "1.43", "events": events, "step_seconds": 10,
			"tags": items{dict{"key": "disk", "values": items{dict{"value": "/data", "count": 1}, dict{"value": "/tmp", "count": 1}}}},
		}
		if diff := cmp.Diff(plainJSON(t, want), any(got)); diff != "" {
			t.Errorf("issue (-want +got):\n%s", diff)
		}
	})
	t.Run("issue that did not happen in the range", func(t *testing.T) {
		t.Parallel()
		before := dict{}
		maps.Copy(before, full)
		before["events"], before["users"], before["trend"] = 0, 0, trend()
		path := "/projects/1/issues/f0000000000000b2?from=" + w.at(-10*time.Minute) + "&to=" + w.at(0)
		w.expect(t, path, dict{"issue": before, "newest_release": "1.43", "events": items{}, "tags": items{}, "step_seconds": 10})
	})

	var raw any
	if err := json.Unmarshal([]byte(newEventPayload), &raw); err != nil {
		t.Fatal(err)
	}
	f("event", "/projects/1/events/"+hex16(3), dict{
		"id": hex16(3), "issue_id": "f0000000000000b2", "time": w.at(4 * time.Minute), "received_at": w.at(4*time.Minute + time.Second),
		"level": "error", "platform": "go", "environment": "production", "release": "1.43", "title": "IOError: disk full", "culprit": "main.write",
		"transaction": "POST /upload", "server_name": "a1", "trace_id": hex16(0xaa), "sdk": "sentry.go 0.50.0",
		"user": dict{"id": "u2"}, "extra": dict{"big": 9007199254740992}, "tags": dict{"disk": "/tmp"},
		"exceptions": items{dict{"type": "IOError", "value": "disk full", "frames": items{
			dict{"function": "write", "line": 9, "in_app": false}, dict{"function": "main", "line": 3, "in_app": true},
		}}},
		"breadcrumbs": items{dict{"message": "open", "time": "2026-03-01T02:41:06.5Z"}},
		"raw":         raw,
	})

	// ---- monitors

	failed := dict{"id": hex16(0x10), "time": w.at(time.Minute), "status": "error", "exit_code": 3, "environment": "", "source": "ping", "message": "no space"}
	done := dict{
		"id": hex16(0x22), "run_id": hex16(0x20), "time": w.at(3 * time.Minute), "started_at": w.at(2 * time.Minute), "status": "ok", "duration_ms": 60_000,
		"environment": "production", "release": "1.43", "source": "sentry", "message": "",
	}
	f("check-ins", "/projects/1/monitors/nightly/checkins", dict{"checkins": items{done, failed}, "durations": dict{"runs": 1, "p50_ms": 60_000, "p95_ms": 60_000}})
	f("check-ins, the first", "/projects/1/monitors/nightly/checkins?limit=1", dict{"checkins": items{done}, "durations": dict{"runs": 1, "p50_ms": 60_000, "p95_ms": 60_000}})
	f("check-ins of a silent monitor", "/projects/1/monitors/a-late/checkins", dict{"checkins": items{}})

	plain := func(slug, status string) dict {
		return dict{
			"slug": slug, "name": slug, "uuid": "8c5ad7bc-0fd5-4b4f-9d3e-0000000000" + hex16(slug[0])[:2], "status": status, "status_since": w.at(0),
			"schedule":       dict{"kind": "none", "value": "", "timezone": "", "margin_seconds": 0, "max_runtime_seconds": 0, "fail_after": 1, "miss_after": 1, "recover_after": 1},
			"schedule_words": "no schedule", "created_at": w.at(-time.Hour), "ping_url": "https://watch.example/ping/" + ourKey + "/" + slug, "recent": items{},
		}
	}
	f("monitors", "/projects/1/monitors", dict{"monitors": items{
		plain("a-late", "late"), plain("b-missed", "missed"), plain("c-failed", "failed"), plain("d-new", "new"), plain("e-running", "running"),
		dict{
			"slug": "nightly", "name": "Nightly export", "uuid": "8c5ad7bc-0fd5-4b4f-9d3e-111111111111", "status": "ok", "status_since": w.at(3 * time.Minute),
			"schedule":       dict{"kind": "crontab", "value": "30 2 * * *", "timezone": "Europe/Berlin", "margin_seconds": 60, "max_runtime_seconds": 3600, "fail_after": 1, "miss_after": 1, "recover_after": 1},
			"schedule_words": "every day at 02:30 (Europe/Berlin)", "created_at": w.at(-time.Hour), "last_checkin_at": w.at(3 * time.Minute),
			"last_duration_ms": 60_000, "next_expected_at": w.at(24 * time.Hour), "ping_url": "https://watch.example/ping/" + ourKey + "/nightly",
			"recent": items{failed, done},
		},
	}})

	// ---- all together

	f("overview", "/projects/1/overview", dict{
		"step_seconds": 10,
		"logs":         dict{"total": 3, "errors": 2, "trend": trend(0, 1, 6, 1, 7, 1), "error_trend": trend(6, 1, 7, 1)},
		"errors":       dict{"events": 3, "issues": 2, "new_issues": 1, "users": 2, "trend": trend(6, 1, 12, 1, 24, 1), "top": items{full, timeout}},
		"metrics":      dict{"metrics": 2, "series": 3, "samples": 10, "trend": trend(0, 3, 3, 3, 6, 2, 9, 2)},
		"monitors":     dict{"total": 6, "ok": 2, "late": 1, "bad": 2},
	})
	t.Run("signals", func(t *testing.T) {
		t.Parallel()
		state := func(d time.Duration) dict { return dict{"received": true, "last_at": w.at(d)} }
		w.expect(t, "/projects/1/signals", dict{
			"logs": state(10 * time.Minute), "metrics": state(90 * time.Second), "errors": state(4 * time.Minute), "checkins": state(3 * time.Minute),
		})
	})
}

// ignoreID holds any two identities of logs for equal: they are opaque.
var ignoreID = cmp.FilterPath(func(p cmp.Path) bool {
	index, ok := p.Last().(cmp.MapIndex)
	return ok && index.Key().String() == "id"
}, cmp.Comparer(func(a, b any) bool { return a != "" && b != "" }))

func TestAnswersOfAnEmptyProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.expect(t, "/projects/1/signals", dict{
		"logs": dict{"received": false}, "metrics": dict{"received": false}, "errors": dict{"received": false}, "checkins": dict{"received": false},
	})
	w.expect(t, w.path("/projects/1/overview"), dict{
		"step_seconds": 10,
		"logs":         dict{"total": 0, "errors": 0, "trend": trend(), "error_trend": trend()},
		"errors":       dict{"events": 0, "issues": 0, "new_issues": 0, "users": 0, "trend": trend(), "top": items{}},
		"metrics":      dict{"metrics": 0, "series": 0, "samples": 0, "trend": trend()},
		"monitors":     dict{"total": 0, "ok": 0, "late": 0, "bad": 0},
	})
	w.expect(t, w.path("/projects/1/logs"), dict{"rows": items{}})
	w.expect(t, w.path("/projects/1/metrics"), dict{"metrics": items{}, "truncated": false})
	w.expect(t, w.path("/projects/1/issues"), dict{"issues": items{}, "total": 0, "step_seconds": 10})
	w.expect(t, w.path("/projects/1/monitors"), dict{"monitors": items{}})
}

func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.seed(t)
	paths := []string{
		"/projects/%/signals", "/projects/%/overview", "/projects/%/logs", "/projects/%/logs/histogram", "/projects/%/metrics",
		"/projects/%/metrics/queue_length/range", "/projects/%/issues", "/projects/%/issues/00000000000000a1", "/projects/%/events/" + hex16(3),
		"/projects/%/monitors", "/projects/%/monitors/nightly/checkins",
	}
	for _, path := range paths {
		ours, theirs := strings.Replace(path, "%", "1", 1), strings.Replace(path, "%", "2", 1)
		w.refuse(t, "", w.path(ours), http.StatusUnauthorized, "unauthorized", "")
		w.refuse(t, "mwt_wrongTokenWrongTokenWrongTokenWrongToken1", w.path(ours), http.StatusUnauthorized, "unauthorized", "")
		w.refuse(t, theirToken, w.path(ours), http.StatusNotFound, "not_found", "")
		w.refuse(t, ourToken, w.path(theirs), http.StatusNotFound, "not_found", "")
		w.refuse(t, ourToken, w.path(strings.Replace(path, "%", "99", 1)), http.StatusNotFound, "not_found", "")
	}
	// What belongs to the other is not found under one's own project either.
	w.refuse(t, theirToken, w.path("/projects/2/issues/00000000000000a1"), http.StatusNotFound, "not_found", "no issue")
	w.refuse(t, theirToken, w.path("/projects/2/events/"+hex16(3)), http.StatusNotFound, "not_found", "no event")
	w.refuse(t, theirToken, w.path("/projects/2/monitors/a-late/checkins"), http.StatusNotFound, "not_found", "no monitor")
	for _, path := range paths[:7] {
		got, err := json.Marshal(w.get(t, ourToken, w.path(strings.Replace(path, "%", "1", 1))).body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ToLower(string(got)), "secret") {
			t.Errorf("GET %s tells of the neighbour: %s", path, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	f := func(path, message string) {
		t.Helper()
		w.refuse(t, ourToken, path, http.StatusBadRequest, "invalid", message)
	}
	long := func(n int) string { return strings.Repeat("x", n) }

	f("/projects/1/logs?to="+w.at(0), "from: a time is needed")
	f("/projects/1/logs?from="+w.at(0), "to: a time is needed")
	f("/projects/1/logs?from=yesterday&to="+w.at(0), `from: "yesterday" is not a time`)
	f("/projects/1/overview?to="+w.at(0)+"&from="+w.at(time.Second), "from must be before to")
	f("/projects/1/overview?to="+w.at(0)+"&from="+w.at(0), "from must be before to")
	f("/projects/1/overview?from="+w.at(-401*24*time.Hour)+"&to="+w.at(0), "longer than 400 days")
	f(w.path("/projects/x/logs"), `project: "x" is not a project's number`)

	f(w.path("/projects/1/logs?limit=0"), "limit: 0 is not from 1 to 1000")
	f(w.path("/projects/1/logs?limit=1001"), "limit: 1001 is not from 1 to 1000")
	f(w.path("/projects/1/logs?limit=many"), `limit: "many" is not a whole number`)
	f(w.path("/projects/1/logs?level=loud"), `level: "loud" is none of`)
	f(w.path("/projects/1/logs?q="+long(1001)), "q: the text is longer than 1000")
	f(w.path("/projects/1/logs?q=%ff"), "q: the text is not valid")
	f(w.path("/projects/1/logs?service="+long(201)), "service: the text is longer than 200")
	f(w.path("/projects/1/logs?service=a"+strings.Repeat("&service=a", 50)), "service: 51 are given")
	f(w.path("/projects/1/logs?cursor="+long(201)), "cursor: the text is longer than 200")
	f(w.path("/projects/1/logs?cursor=nonsense"), "cursor")

	f(w.path("/projects/1/metrics?q="+long(201)), "q: the text is longer than 200")
	f(w.path("/projects/1/metrics/m/range?step=0"), "step: 0 is not from 1")
	f(w.path("/projects/1/metrics/m/range?step=86401"), "step: 86401 is not from 1")
	f("/projects/1/metrics/m/range?step=1&from="+w.at(-4*time.Hour)+"&to="+w.at(0), "step: 1 s gives 14400 points")
	f(w.path("/projects/1/metrics/m/range?aggregate=median"), `aggregate: "median" is none of`)
	f(w.path("/projects/1/metrics/m/range?by="+strings.Repeat("a&by=", 10)+"a"), "by: 11 are given")
	f(w.path("/projects/1/metrics/"+long(501)+"/range"), "metric: the text is longer than 500")

	f(w.path("/projects/1/issues?limit=501"), "limit: 501 is not from 1 to 500")
	f(w.path("/projects/1/issues?q="+long(201)), "q: the text is longer than 200")
	f(w.path("/projects/1/issues/a1"), `issue: "a1" is not an issue's id`)
	f(w.path("/projects/1/issues/00000000000000A1"), "issue: ")
	f(w.path("/projects/1/issues/+0000000000000a1"), "issue: ")
	f(w.path("/projects/1/events/00000000000000a1"), "event: ")
	f(w.path("/projects/1/monitors/nightly/checkins?limit=-1"), "limit: -1 is not from 1")
	f(w.path("/projects/1/monitors/"+long(101)+"/checkins"), "slug: the text is longer than 100")

	w.refuse(t, ourToken, w.path("/projects/1/issues/00000000000000a1"), http.StatusNotFound, "not_found", "no issue 00000000000000a1")
	w.refuse(t, ourToken, w.path("/projects/1/events/"+hex16(3)), http.StatusNotFound, "not_found", "no event")
	w.refuse(t, ourToken, w.path("/projects/1/monitors/nightly/checkins"), http.StatusNotFound, "not_found", `no monitor "nightly"`)
	w.refuse(t, ourToken, w.path("/projects/1/metrics/m/range"), http.StatusNotFound, "not_found", `no metric "m"`)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	s := &Server{timeout: 30 * time.Second, log: slog.New(slog.DiscardHandler)}
	f := func(err error, code access.Code, message string) {
		t.Helper()
		told, ok := errors.AsType[*access.Error](s.explain(t.Context(), "SearchLogs", fmt.Errorf("read logs: %w", err)))
		if !ok || told.Code != code || !strings.Contains(told.Message, message) {
			t.Errorf("explain(%v) = %+v, want %s with %q", err, told, code, message)
		}
	}
	f(access.NotFound("no such thing"), access.CodeNotFound, "no such thing")
	f(&telemetry.LimitError{Limit: "time"}, access.CodeInvalid, "narrow the time range")
	f(&telemetry.LimitError{Limit: "rows"}, access.CodeInvalid, "narrow the time range")
	f(&telemetry.InvalidError{Message: "the cursor is wrong"}, access.CodeInvalid, "the cursor is wrong")
	f(errSlow, access.CodeInvalid, "longer than 30s: narrow the time range")
	f(errBusy, access.CodeRateLimited, "too many reads")
	f(telemetry.ErrNotFound, access.CodeNotFound, "no such thing")
	f(catalog.ErrNotFound, access.CodeNotFound, "no such thing")
	f(telemetry.ErrUnavailable, access.CodeUnavailable, "try again")

	fault := errors.New("a column is missing")
	if err := s.explain(t.Context(), "SearchLogs", fault); !errors.Is(err, fault) || !strings.Contains(err.Error(), "SearchLogs") {
		t.Errorf("explain(%v) = %v, want the same with the operation", fault, err)
	}
}

func TestTelemetryStoreIsDown(t *testing.T) {
	t.Parallel()
	w := newWorldOver(t, Config{}, silent(t))
	for _, path := range []string{"/projects/1/overview", "/projects/1/logs", "/projects/1/issues", "/projects/1/monitors"} {
		got := w.refuse(t, ourToken, w.path(path), http.StatusServiceUnavailable, "unavailable", "try again")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("GET %s: Retry-After is absent", path)
		}
	}
	w.refuse(t, ourToken, w.path("/projects/2/logs"), http.StatusNotFound, "not_found", "") // what is in SQL is still known
}

func TestTooSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Timeout: time.Nanosecond})
	w.refuse(t, ourToken, w.path("/projects/1/logs"), http.StatusBadRequest, "invalid", "narrow the time range")
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	w := newWorldOver(t, Config{Reads: 1, ReadsPerProject: 1, Wait: time.Nanosecond}, silent(t))
	leave, err := w.server.gate.enter(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	got := w.refuse(t, ourToken, w.path("/projects/1/logs"), http.StatusTooManyRequests, "rate_limited", "at once")
	if got.header.Get("Retry-After") == "" {
		t.Error("Retry-After is absent")
	}
	leave()
}

func TestClientLeaves(t *testing.T) {
	t.Parallel()
	w := newWorldOver(t, Config{Reads: 1, ReadsPerProject: 1, Wait: time.Minute}, silent(t))
	g := w.server.gate
	leave, err := g.enter(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, basePath+w.path("/projects/1/logs"), nil)
	r.Header.Set("Authorization", "Bearer "+ourToken)
	answer := httptest.NewRecorder()
	served := make(chan struct{})
	go func() {
		defer close(served)
		w.echo.ServeHTTP(answer, r)
	}()
	waiting := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.lanes[1].members == 2
	}
	for !waiting() {
		runtime.Gosched()
	}
	cancel()
	<-served
	if answer.Code != statusGone || answer.Body.Len() > 0 {
		t.Errorf("the answer to a client that left is %d %q, want %d and nothing", answer.Code, answer.Body, statusGone)
	}
}

func TestDescription(t *testing.T) {
	t.Parallel()
	w := newWorldOver(t, Config{}, silent(t))
	ask := func(etag string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+basePath+"/openapi.json", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("If-None-Match", etag)
		res, err := w.http.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	res := ask("")
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.0.3" || doc.Paths["/projects/{project}/logs"]["get"] == nil {
		t.Errorf("the description is %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	if cc := res.Header.Get("Cache-Control"); cc != "public, max-age=300" {
		t.Errorf("Cache-Control = %q", cc)
	}
	if again := ask(res.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("the same description again is answered with %d, want 304", again.StatusCode)
	}
}
