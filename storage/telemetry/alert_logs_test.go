package telemetry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func attributeLogs(t testing.TB, s *telemetry.Store) {
	t.Helper()
	insertLogs(t, s, "a",
		logFrame(1, "api",
			&telemetrypb.LogRecord{Time: at(0), Body: "GET /a", Severity: 9, Attributes: pairs("status", "200", "path", "/a")},
			&telemetrypb.LogRecord{Time: at(10 * time.Second), Body: "GET /b", Severity: 9, Attributes: pairs("status", "503", "path", "/b\nx")},
			&telemetrypb.LogRecord{Time: at(60 * time.Second), Body: "GET /b", Severity: 17, Attributes: pairs("status", "500", "path", "/b")},
		),
		logFrame(1, "web",
			&telemetrypb.LogRecord{Time: at(61 * time.Second), Body: "panic: no", Severity: 21},
			&telemetrypb.LogRecord{Time: at(-time.Nanosecond), Body: "before", Severity: 21},
		),
	)
	insertLogs(t, s, "b", logFrame(2, "api", &telemetrypb.LogRecord{Time: at(0), Body: "GET /a", Severity: 9, Attributes: pairs("status", "200")}))
}

func TestLogsAreFilteredByAttributes(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	attributeLogs(t, s)
	f := func(want string, matches ...telemetry.LabelMatch) {
		t.Helper()
		var got []string
		for _, r := range logs(t, s, scope(t, 1, 0, time.Hour), telemetry.LogFilter{Attributes: matches}) {
			got = append(got, strings.ReplaceAll(r.Body+r.Attributes["status"], "GET ", ""))
		}
		diff(t, fmt.Sprintf("%q", matches), want, strings.Join(got, ", "))
	}
	match := func(key, op, value string) telemetry.LabelMatch {
		return telemetry.LabelMatch{Key: key, Op: op, Value: value}
	}
	f("/b500", match("status", "=", "500"))
	f("panic: no, /b503, /a200", match("status", "!=", "500"))
	f("/b500, /b503", match("status", "=~", "5.."))
	f("", match("status", "=~", "5"), match("status", "=~", "0"))
	f("panic: no, /a200", match("status", "!~", "4..|5.."))
	f("/b503", match("status", "=~", "5.."), match("path", "=~", "/b.x"))
	f("panic: no", match("path", "=", ""), match("status", "!~", "5.."))
	f("", match("it's", "=", `\'`))
}

func TestBadConditionsOnAttributesAreRefused(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	for _, m := range []telemetry.LabelMatch{
		{}, {Key: "k", Op: "<"}, {Op: "="}, {Key: "k", Op: "=~", Value: "("}, {Key: "k", Op: "=~", Value: "a)(b"},
		{Key: "k", Op: "!~", Value: strings.Repeat("a", 201)}, {Key: "k", Op: "=~", Value: "((a{30}){30}){30}"}, {Key: "k", Op: "=~", Value: `(a)\1`},
		{Key: "k", Op: "=~", Value: "a\x00"}, {Key: "k", Op: "=", Value: strings.Repeat("a", 2001)}, {Key: strings.Repeat("k", 201), Op: "="},
	} {
		_, err := s.LogHistogram(t.Context(), hour(t, 1), telemetry.LogFilter{Attributes: []telemetry.LabelMatch{m}})
		if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
			t.Errorf("%+v: %v, want an InvalidError", m, err)
		}
	}
	// What is close to a limit is good for the database, too.
	for _, value := range []string{"(?:(a{10}){10}){10}", strings.Repeat(`\pL`, 66), strings.Repeat("ä", 100), "(?i)a+?|[^b]*"} {
		f := telemetry.LogFilter{Attributes: []telemetry.LabelMatch{{Key: "k", Op: "=~", Value: value}}}
		if _, err := s.LogHistogram(t.Context(), hour(t, 1), f); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func logCounts(t testing.TB, s *telemetry.Store, sc telemetry.Scope, ask telemetry.LogCountsAsk) []string {
	t.Helper()
	var got []string
	err := s.LogCounts(t.Context(), sc, ask, func(bucket int, group string, counts []int64) error {
		got = append(got, fmt.Sprintf("%d %q %v", bucket, group, counts))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLogsAreCountedByBucketGroupAndFilter(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	attributeLogs(t, s)
	sc := scope(t, 1, 0, 3*time.Minute)
	bad := telemetry.LogFilter{Attributes: []telemetry.LabelMatch{{Key: "status", Op: "=~", Value: "5.."}}}
	get := telemetry.LogFilter{Text: "get /b", Services: []string{"api"}}
	fatal := telemetry.LogFilter{Levels: []string{"fatal"}, Services: []string{"web", "api"}}
	everything := telemetry.LogFilter{}
	f := func(by string, filters []telemetry.LogFilter, want ...string) {
		t.Helper()
		ask := telemetry.LogCountsAsk{Step: time.Minute, By: by, Filters: filters}
		diff(t, fmt.Sprintf("%+v", ask), want, logCounts(t, s, sc, ask))
		var parts []string // each bucket alone
		for i := range 3 {
			begin := time.Duration(i) * time.Minute
			for _, line := range logCounts(t, s, scope(t, 1, begin, begin+time.Minute), ask) {
				parts = append(parts, fmt.Sprint(i)+strings.TrimPrefix(line, "0"))
			}
		}
		diff(t, fmt.Sprintf("%+v by bucket", ask), want, parts)
	}
	f("", []telemetry.LogFilter{everything}, `0 "" [2]`, `1 "" [2]`)
	f("", []telemetry.LogFilter{bad, get, fatal, everything}, `0 "" [1 1 0 2]`, `1 "" [1 1 1 2]`)
	f("", []telemetry.LogFilter{get}, `0 "" [1]`, `1 "" [1]`)
	f("", []telemetry.LogFilter{fatal}, `1 "" [1]`)
	f("service", []telemetry.LogFilter{bad, fatal}, `0 "api" [1 0]`, `1 "api" [1 0]`, `1 "web" [0 1]`)
	f("status", []telemetry.LogFilter{everything, get}, `0 "200" [1 0]`, `0 "503" [1 1]`, `1 "" [1 0]`, `1 "500" [1 1]`)
	f("it's {by:String} \\", []telemetry.LogFilter{bad}, `0 "" [1]`, `1 "" [1]`)
}

func TestBadAsksForLogCountsAreRefused(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	one := make([]telemetry.LogFilter, 1)
	for _, ask := range []telemetry.LogCountsAsk{
		{Step: time.Minute},
		{Step: time.Minute, Filters: make([]telemetry.LogFilter, 51)},
		{Filters: one},
		{Step: time.Minute, Filters: []telemetry.LogFilter{{Levels: []string{"bad"}}}},
	} {
		err := s.LogCounts(t.Context(), hour(t, 1), ask, nil)
		if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
			t.Errorf("%+v: %v, want an InvalidError", ask, err)
		}
	}
	if err := s.LogCounts(t.Context(), telemetry.Scope{}, telemetry.LogCountsAsk{Step: time.Minute, Filters: one}, nil); err == nil {
		t.Error("a read without a scope gave an answer")
	}
}

func TestAnErrorOfTheCallerEndsAReadOfCounts(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	attributeLogs(t, s)
	insertErrors(t, s, "a", event(1, 7, 1, 0), event(1, 7, 2, time.Minute))
	enough := errors.New("enough")
	var calls int
	err := s.LogCounts(t.Context(), hour(t, 1), telemetry.LogCountsAsk{Step: time.Second, Filters: make([]telemetry.LogFilter, 1)}, func(int, string, []int64) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("LogCounts: %v after %d calls, want the caller's error after one", err, calls)
	}
	err = s.ErrorCounts(t.Context(), hour(t, 1), telemetry.ErrorCountsAsk{Step: time.Second}, func(int, string, int64, int64) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 2 {
		t.Errorf("ErrorCounts: %v after %d calls, want the caller's error after one", err, calls-1)
	}
}
