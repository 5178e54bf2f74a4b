package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// noon is when the tests' telemetry was sent: today, so that nothing of it has expired.
var noon = time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)

func at(d time.Duration) uint64 { return uint64(noon.Add(d).UnixNano()) }

func scope(t testing.TB, project uint32, from, to time.Duration) telemetry.Scope {
	t.Helper()
	sc, err := telemetry.NewScope(project, noon.Add(from), noon.Add(to))
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func hour(t testing.TB, project uint32) telemetry.Scope {
	return scope(t, project, -30*time.Minute, 30*time.Minute)
}

func pairs(kv ...string) []*telemetrypb.KeyValue {
	var out []*telemetrypb.KeyValue
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &telemetrypb.KeyValue{Key: kv[i], Value: kv[i+1]})
	}
	return out
}

func logFrame(project uint32, service string, records ...*telemetrypb.LogRecord) *telemetrypb.LogFrame {
	return &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{
		ProjectId: project, ReceivedAt: at(0),
		Groups: []*telemetrypb.LogGroup{{Service: service, Records: records}},
	}}}
}

func insertLogs(t testing.TB, s *telemetry.Store, token string, frames ...*telemetrypb.LogFrame) {
	t.Helper()
	b := telemetry.NewLogBlock()
	for i, f := range frames {
		addLogs(t, b, uint64(i+1), f)
	}
	if err := s.InsertLogs(t.Context(), token, b); err != nil {
		t.Fatal(err)
	}
}

func addLogs(t testing.TB, b *telemetry.LogBlock, seq uint64, f *telemetrypb.LogFrame) {
	t.Helper()
	frame, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(seq, 0, frame); err != nil {
		t.Fatal(err)
	}
}

func insertMetrics(t testing.TB, s *telemetry.Store, token string, f *telemetrypb.MetricFrame) {
	t.Helper()
	b := telemetry.NewMetricBlock()
	addMetrics(t, b, f)
	if err := s.InsertMetrics(t.Context(), token, b); err != nil {
		t.Fatal(err)
	}
}

func addMetrics(t testing.TB, b *telemetry.MetricBlock, f *telemetrypb.MetricFrame) {
	t.Helper()
	frame, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(frame); err != nil {
		t.Fatal(err)
	}
}

func insertErrors(t testing.TB, s *telemetry.Store, token string, events ...*telemetrypb.ErrorEvent) {
	t.Helper()
	b := telemetry.NewErrorBlock()
	b.Add(1, &telemetrypb.ErrorFrame{Events: events})
	if err := s.InsertErrors(t.Context(), token, b); err != nil {
		t.Fatal(err)
	}
}

func insertCheckins(t testing.TB, s *telemetry.Store, token string, checkins ...*telemetrypb.Checkin) {
	t.Helper()
	b := telemetry.NewCheckinBlock()
	b.Add(1, &telemetrypb.CheckinFrame{Checkins: checkins})
	if err := s.InsertCheckins(t.Context(), token, b); err != nil {
		t.Fatal(err)
	}
}

func logs(t testing.TB, s *telemetry.Store, sc telemetry.Scope, f telemetry.LogFilter) []telemetry.Log {
	t.Helper()
	page, err := s.Logs(t.Context(), sc, f, 1000, "")
	if err != nil {
		t.Fatalf("Logs(%+v): %v", f, err)
	}
	return page.Rows
}

func bodies(rows []telemetry.Log) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, r.Body)
	}
	return out
}

func diff(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestLogsComeBackAsTheyWereSent(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	huge := []*telemetrypb.KeyValue{}
	hugeMap := map[string]string{}
	for i := range 2000 {
		k, v := fmt.Sprintf("key %d", i), strings.Repeat("v", i%50)
		huge = append(huge, &telemetrypb.KeyValue{Key: k, Value: v})
		hugeMap[k] = v
	}
	trace := []byte("0123456789abcde\x00")
	f := &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{
		ProjectId: 1, ReceivedAt: at(time.Second),
		Groups: []*telemetrypb.LogGroup{
			{
				Service: "wörker", Scope: "a.b", Resource: pairs("host.name", "h\"1\\", "os", "lïnux\n"),
				Records: []*telemetrypb.LogRecord{
					{Time: at(0) + 123456789, ObservedTime: at(time.Millisecond), Severity: 17, SeverityText: "ERR", Body: "grüße 🎉 'quoted' \\ \t\n 50%", Attributes: pairs("k'1", "v\"1", "ключ", ""), TraceId: trace, SpanId: trace[:8]},
					{Time: at(-1), Body: "nul \x00 inside", Severity: 250},
					{Time: at(-2), Attributes: huge, Severity: 1},
				},
			},
			{Records: []*telemetrypb.LogRecord{{Body: "no time at all"}}},
		},
	}}}
	insertLogs(t, s, "a", f)

	want := []telemetry.Log{
		{ID: "100003", Time: noon.Add(time.Second), ObservedAt: noon.Add(time.Second), Level: "unknown", Body: "no time at all"},
		{
			ID: "100002", Time: noon.Add(123456789), ObservedAt: noon.Add(time.Millisecond), Level: "error", Severity: 17, SeverityText: "ERR",
			Service: "wörker", Scope: "a.b", Body: "grüße 🎉 'quoted' \\ \t\n 50%",
			Attributes: map[string]string{"k'1": "v\"1", "ключ": ""},
			Resource:   map[string]string{"host.name": "h\"1\\", "os": "lïnux\n"},
			TraceID:    "30313233343536373839616263646500", SpanID: "3031323334353637",
		},
		{
			ID: "100001", Time: noon.Add(-1), ObservedAt: noon.Add(time.Second), Level: "unknown", Service: "wörker", Scope: "a.b", Body: "nul \x00 inside",
			Resource: map[string]string{"host.name": "h\"1\\", "os": "lïnux\n"},
		},
		{
			ID: "100000", Time: noon.Add(-2), ObservedAt: noon.Add(time.Second), Level: "trace", Severity: 1, SeverityText: "trace", Service: "wörker", Scope: "a.b", Attributes: hugeMap,
			Resource: map[string]string{"host.name": "h\"1\\", "os": "lïnux\n"},
		},
	}
	diff(t, "Logs", want, logs(t, s, hour(t, 1), telemetry.LogFilter{}))
}

func TestRowsOfAnyTimeAreStored(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	future := uint64(time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	insertLogs(t, s, "a", logFrame(1, "api",
		&telemetrypb.LogRecord{Time: math.MaxUint64, Body: "end of time"},
		&telemetrypb.LogRecord{Time: future, Body: "2500"},
		&telemetrypb.LogRecord{Time: at(48 * time.Hour), Body: "in two days"},
	))
	sc, err := telemetry.NewScope(1, noon.Add(-time.Hour), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	// What no column can hold is moved to the last moment that one can, which no range includes.
	diff(t, "bodies", []string{"in two days"}, bodies(logs(t, s, sc, telemetry.LogFilter{})))
}

func TestPagesHaveNeitherGapsNorRepetitions(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var frames []*telemetrypb.LogFrame
	const n = 257
	for i := range n {
		frames = append(frames, logFrame(1, "api", &telemetrypb.LogRecord{
			Time: at(time.Duration(i/10) * time.Millisecond), Body: fmt.Sprint(i), // ten at each time
		}))
	}
	insertLogs(t, s, "a", frames[:100]...)
	insertLogs(t, s, "b", frames[100:]...) // sequences begin anew: ids alone name nothing

	for _, limit := range []int{1, 7, 100, n, n + 1} {
		seen := map[string]bool{}
		var last time.Time
		cursor, pages := "", 0
		for {
			page, err := s.Logs(t.Context(), hour(t, 1), telemetry.LogFilter{}, limit, cursor)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, r := range page.Rows {
				if seen[r.Body] {
					t.Fatalf("limit %d: record %s comes twice", limit, r.Body)
				}
				seen[r.Body] = true
				if !last.IsZero() && r.Time.After(last) {
					t.Fatalf("limit %d: %v comes after %v", limit, r.Time, last)
				}
				last = r.Time
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if want := (n + limit - 1) / limit; len(seen) != n || pages != want {
			t.Errorf("limit %d: %d records on %d pages, want %d on %d", limit, len(seen), pages, n, want)
		}
	}
}

// TestPagesOfLargeRecordsAreShort has records of a size at which a page of the asked length would be
// far more than the result of any read may be.
func TestPagesOfLargeRecordsAreShort(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	const n, size = 72, 1 << 20
	body := strings.Repeat("x", size)
	for part := range 3 { // whose records are merged when they are read
		var frames []*telemetrypb.LogFrame
		for i := part; i < n; i += 3 {
			frames = append(frames, logFrame(1, "api", &telemetrypb.LogRecord{Time: at(time.Duration(i) * time.Millisecond), Body: body + strconv.Itoa(i)}))
		}
		insertLogs(t, s, strconv.Itoa(part), frames...)
	}
	next, cursor := n-1, ""
	for {
		page, err := s.Logs(t.Context(), hour(t, 1), telemetry.LogFilter{}, 1000, cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Rows) == 0 || len(page.Rows) > 16 {
			t.Fatalf("a page has %d records of a megabyte", len(page.Rows))
		}
		for _, r := range page.Rows {
			if got := r.Body[size:]; got != strconv.Itoa(next) {
				t.Fatalf("record %s comes where %d should", got, next)
			}
			next--
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if next != -1 {
		t.Errorf("%d records are missing", next+1)
	}
}

func TestBadCursorsAreRefused(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	for _, cursor := range []string{"x", "AAAA", "'; DROP TABLE logs", strings.Repeat("A", 23)} {
		_, err := s.Logs(t.Context(), hour(t, 1), telemetry.LogFilter{}, 10, cursor)
		if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
			t.Errorf("Logs with cursor %q: %v, want an InvalidError", cursor, err)
		}
	}
}

func TestLogFilters(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	texts := []string{
		"GET /api/v1/items/42 200 in 13ms",
		"connection refused to db-1:5432",
		"Connection reset by peer",
		"100% done",
		"1000 done",
		`path C:\temp\new and C:_temp`,
		"it's \"quoted\" text",
		"ÜBER größe straße",
		"timeout after 3000ms calling billing",
		"nul\x00byte",
	}
	var records []*telemetrypb.LogRecord
	for i, text := range texts {
		records = append(records, &telemetrypb.LogRecord{Time: at(-time.Duration(i)), Body: text, Severity: uint32(i * 3)})
	}
	insertLogs(t, s, "a", logFrame(1, "api", records[:5]...), logFrame(1, "o'brien", records[5:]...))

	f := func(filter telemetry.LogFilter, want ...int) {
		t.Helper()
		expected := []string{}
		for _, i := range want {
			expected = append(expected, texts[i])
		}
		diff(t, fmt.Sprintf("%+v", filter), expected, bodies(logs(t, s, hour(t, 1), filter)))
		h, err := s.LogHistogram(t.Context(), hour(t, 1), filter)
		if err != nil {
			t.Fatal(err)
		}
		if h.Total != int64(len(want)) {
			t.Errorf("%+v: histogram of %d, want %d", filter, h.Total, len(want))
		}
	}
	text := func(q string, want ...int) { t.Helper(); f(telemetry.LogFilter{Text: q}, want...) }
	text("", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	text("   ", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	text("connection", 1, 2)
	text("CONNECTION refused", 1)
	text("refused connection", 1)
	text("connect")
	text(`"connect"`, 1, 2)
	text(`"Connection Re"`, 1, 2)
	text(`"refused connection"`)
	text("connection -refused", 2)
	text(`connection -"reset by"`, 1)
	text("-connection", 0, 3, 4, 5, 6, 7, 8, 9)
	text("db-1:5432", 1)
	text("db-1:543")
	text(`"db-1:543"`, 1)
	text("/api/v1/items", 0)
	text("100%", 3)
	text(`"100%"`, 3)
	text(`"0%"`, 3)
	text("%", 3)
	text("\"%\"", 3)
	text("-%", 0, 1, 2, 4, 5, 6, 7, 8, 9)
	text(`C:\temp\new`, 5)
	text(`"C:_temp"`, 5)
	text(`"c:_TEMP"`, 5)
	text(`"C:.temp"`)
	text("it's", 6)
	text(`\"quoted\"`)
	text(`"\"quoted\""`, 6)
	text("über", 7)
	text("GRÖSSE")
	text("GRÖßE", 7)
	text(`"rö"`, 7)
	text("Straße größe", 7)
	text("13ms", 0)
	text("ms")
	text(`') OR 1=1 --`)
	text("{project:UInt32}")
	text("nul", 9)
	text("\"l\x00b\"", 9)
	text("connection absent")

	f(telemetry.LogFilter{Levels: []string{"unknown"}}, 0, 9) // 27 is no severity
	f(telemetry.LogFilter{Levels: []string{"trace", "debug"}}, 1, 2)
	f(telemetry.LogFilter{Levels: []string{"fatal"}}, 7, 8)
	f(telemetry.LogFilter{Services: []string{"api"}}, 0, 1, 2, 3, 4)
	f(telemetry.LogFilter{Services: []string{"o'brien", "none"}}, 5, 6, 7, 8, 9)
	f(telemetry.LogFilter{Services: []string{`\`, "'", "\t", "a\x00", "api') OR 1"}})
	f(telemetry.LogFilter{Text: "connection", Services: []string{"api"}, Levels: []string{"trace"}}, 1)

	var invalid *telemetry.InvalidError
	if _, err := s.Logs(t.Context(), hour(t, 1), telemetry.LogFilter{Levels: []string{"loud"}}, 1, ""); !errors.As(err, &invalid) {
		t.Errorf("unknown level: %v, want an InvalidError", err)
	}
}

func TestLogHistogramCountsEveryStep(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertLogs(t, s, "a",
		logFrame(1, "api",
			&telemetrypb.LogRecord{Time: at(-30 * time.Minute), Severity: 9}, // from is included
			&telemetrypb.LogRecord{Time: at(-30*time.Minute) - 1, Severity: 9},
			&telemetrypb.LogRecord{Time: at(0), Severity: 17},
			&telemetrypb.LogRecord{Time: at(30*time.Second) - 1, Severity: 17},
			&telemetrypb.LogRecord{Time: at(30*time.Minute) - 1, Severity: 0},
			&telemetrypb.LogRecord{Time: at(30 * time.Minute), Severity: 9}, // to is not
		),
		logFrame(1, "web", &telemetrypb.LogRecord{Time: at(0), Severity: 21}))
	h, err := s.LogHistogram(t.Context(), hour(t, 1), telemetry.LogFilter{})
	if err != nil {
		t.Fatal(err)
	}
	want := telemetry.LogHistogram{
		Total: 5, Step: time.Minute,
		Services: []telemetry.ServiceCount{{Service: "api", Count: 4}, {Service: "web", Count: 1}},
	}
	for i := range 60 {
		want.Buckets = append(want.Buckets, telemetry.LogBucket{At: noon.Add(time.Duration(i-30) * time.Minute), Counts: map[string]int64{}})
	}
	want.Buckets[0].Counts["info"] = 1
	want.Buckets[30].Counts["error"] = 2
	want.Buckets[30].Counts["fatal"] = 1
	want.Buckets[59].Counts["unknown"] = 1
	diff(t, "LogHistogram", want, h)
}

func series(name string, kind telemetrypb.MetricKind, fp uint64, labels []*telemetrypb.KeyValue, samples ...point) *telemetrypb.Metric {
	s := &telemetrypb.Series{Fingerprint: fp, Labels: labels}
	for _, one := range samples {
		s.TimesMs, s.Values = append(s.TimesMs, one.ms), append(s.Values, one.value)
	}
	return &telemetrypb.Metric{
		Name: name, Kind: kind, Unit: "s", Description: "what it is", SourceName: "src." + name,
		Series: []*telemetrypb.Series{s},
	}
}

func metricFrame(project uint32, metrics ...*telemetrypb.Metric) *telemetrypb.MetricFrame {
	return &telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{ProjectId: project, ReceivedAt: at(0), Metrics: metrics}}}
}

// point is one sample.
type point struct {
	ms    int64
	value float64
}

func sample(d time.Duration, v float64) point { return point{noon.Add(d).UnixMilli(), v} }

const (
	gauge   = telemetrypb.MetricKind_METRIC_KIND_GAUGE
	counter = telemetrypb.MetricKind_METRIC_KIND_COUNTER
)

func TestMetricsAreListed(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertMetrics(t, s, "a", metricFrame(1,
		series("http_requests_total", counter, 1, pairs("code", "200", "héader", "x'y\\"), sample(-time.Minute, 1), sample(0, 2)),
		series("http_requests_total", counter, 2, pairs("code", "500", "job", "api"), sample(-time.Minute, 1)),
		series("temp_%", gauge, 3, nil, sample(-time.Minute, 1)),
		series("gone", gauge, 4, nil, sample(-5*time.Hour, 1)),
		series("later", gauge, 5, nil, sample(5*time.Hour, 1)),
	))
	requests := telemetry.Metric{
		Name: "http_requests_total", SourceName: "src.http_requests_total", Kind: "counter", Unit: "s", Description: "what it is",
		Series: 2, Labels: []string{"code", "héader", "job"}, LastAt: noon,
	}
	temp := telemetry.Metric{
		Name: "temp_%", SourceName: "src.temp_%", Kind: "gauge", Unit: "s", Description: "what it is",
		Series: 1, LastAt: noon.Add(-time.Minute),
	}
	f := func(part string, limit int, truncated bool, want ...telemetry.Metric) {
		t.Helper()
		got, cut, err := s.Metrics(t.Context(), hour(t, 1), part, limit)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, part, want, got)
		if cut != truncated {
			t.Errorf("%q: truncated %v, want %v", part, cut, truncated)
		}
	}
	f("", 10, false, requests, temp)
	f("", 1, true, requests)
	f("REQ", 10, false, requests)
	f("_%", 10, false, temp)
	f("%_", 10, false)
	f("'", 10, false)
}

func TestMetricRange(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var frames []*telemetrypb.Metric
	// Two counters that grow by 1 and 2 a second, sampled each 15 s; the second begins again at noon.
	for i := range uint64(2) {
		var samples []point
		v := 1000.0
		for at := -10 * time.Minute; at < 10*time.Minute; at += 15 * time.Second {
			if at == 0 && i == 1 {
				v = 0
			}
			v += 15 * float64(i+1)
			samples = append(samples, sample(at, v))
		}
		frames = append(frames, series("c_total", counter, 10+i, pairs("host", fmt.Sprint("h", i), "zone", "z"), samples...))
	}
	insertMetrics(t, s, "a", metricFrame(1, frames...))
	insertMetrics(t, s, "b", metricFrame(1, frames...)) // every sample twice
	insertMetrics(t, s, "g", metricFrame(1,
		series("g", gauge, 20, pairs("host", "h0"), sample(-2*time.Minute, 4), sample(-90*time.Second, 6), sample(time.Minute, 1), sample(5*time.Minute, math.Inf(1))),
		series("g", gauge, 21, pairs("host", "h1"), sample(-2*time.Minute, 10), sample(-time.Minute, math.Float64frombits(0x7ff0000000000002))),
	))

	sc := scope(t, 1, -2*time.Minute, 2*time.Minute)
	f := func(q telemetry.RangeQuery, kind, aggregate string, read int64, want map[string][]float64) {
		t.Helper()
		q.Step = time.Minute
		r, err := s.MetricRange(t.Context(), sc, q)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != kind || r.Aggregate != aggregate || r.Unit != "s" || r.Step != time.Minute || r.Truncated || r.SamplesRead != read {
			t.Errorf("%+v: %+v", q, r)
		}
		got := map[string][]float64{}
		for _, line := range r.Series {
			values := make([]float64, 4)
			for i := range values {
				values[i] = -1
			}
			for _, p := range line.Points {
				values[(p.At-sc.From().UnixMilli())/60000] = p.Value
			}
			got[line.Labels["host"]] = values
		}
		if d := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); d != "" {
			t.Errorf("%+v (-want +got):\n%s", q, d)
		}
	}
	f(telemetry.RangeQuery{Metric: "c_total"}, "counter", "rate", 2*2*48, map[string][]float64{"": {3, 3, 3, 3}})
	f(telemetry.RangeQuery{Metric: "c_total", By: []string{"host"}}, "counter", "rate", 2*2*48, map[string][]float64{"h0": {1, 1, 1, 1}, "h1": {2, 2, 2, 2}})
	f(telemetry.RangeQuery{Metric: "c_total", Aggregate: "count"}, "counter", "count", 2*2*36, map[string][]float64{"": {2, 2, 2, 2}})
	f(telemetry.RangeQuery{Metric: "g"}, "gauge", "avg", 5, map[string][]float64{"": {7.5, 6, 6, 1}})
	f(telemetry.RangeQuery{Metric: "g", Aggregate: "sum"}, "gauge", "sum", 5, map[string][]float64{"": {15, 6, 6, 1}})
	f(telemetry.RangeQuery{Metric: "g", Aggregate: "max", By: []string{"host"}}, "gauge", "max", 5, map[string][]float64{"h0": {6, 6, 6, 1}, "h1": {10, -1, -1, -1}})
	f(telemetry.RangeQuery{Metric: "g", Aggregate: "min", By: []string{"none"}}, "gauge", "min", 5, map[string][]float64{"": {4, 6, 6, 1}})

	if _, err := s.MetricRange(t.Context(), sc, telemetry.RangeQuery{Metric: "it's\\ not\tthere\x00"}); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("an unknown metric: %v, want ErrNotFound", err)
	}
	for _, q := range []telemetry.RangeQuery{
		{}, {Metric: "g", Aggregate: "median"}, {Metric: "g", Step: time.Millisecond}, {Metric: "g", By: make([]string, 11)},
	} {
		var invalid *telemetry.InvalidError
		if _, err := s.MetricRange(t.Context(), sc, q); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v, want an InvalidError", q, err)
		}
	}
}

func TestSamplesAreExact(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	random := rand.New(rand.NewPCG(3, 4))
	values := []float64{0, math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.Pi, 1 << 53, 1<<53 + 2, -(1 << 53)}
	for range 2000 {
		v, err := strconv.ParseFloat(strconv.FormatFloat(random.NormFloat64()*math.Pow10(random.IntN(9)), 'f', random.IntN(10), 64), 64)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v, random.NormFloat64())
	}
	stale := math.Float64frombits(0x7ff0000000000002)
	values = append(values, stale)
	var samples []point
	for i, v := range values {
		samples = append(samples, sample(time.Duration(i)*time.Second, v))
	}
	insertMetrics(t, s, "exact", metricFrame(1, series("exact", telemetrypb.MetricKind_METRIC_KIND_GAUGE, 9, nil, samples...)))
	got := telemetry.SampleValues(t, s, hour(t, 1), 9)
	if len(got) != len(values) {
		t.Fatalf("%d values came back of %d", len(got), len(values))
	}
	for i, v := range values {
		if math.Float64bits(got[i]) != math.Float64bits(v) {
			t.Errorf("%v (%x) came back as %v (%x)", v, math.Float64bits(v), got[i], math.Float64bits(got[i]))
		}
	}
}

func TestMetricNamesAreAnyText(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	for i, name := range []string{`a'b`, `a\b`, `a\'b`, "a\tb", "a\nb", "a\x00b", `{metric:String}`, `%`, "größe", `\N`, `'`} {
		fp := uint64(i + 1)
		insertMetrics(t, s, name, metricFrame(1, series(name, gauge, fp, pairs(name, name), sample(0, float64(fp)))))
		r, err := s.MetricRange(t.Context(), hour(t, 1), telemetry.RangeQuery{Metric: name, By: []string{name}})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if len(r.Series) != 1 || r.Series[0].Points[0].Value != float64(fp) || r.Series[0].Labels[name] != name {
			t.Errorf("%q: %+v", name, r.Series)
		}
	}
}

func TestMetricGroupsAreLimited(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	m := &telemetrypb.Metric{Name: "m", Kind: gauge}
	for i := range 700 {
		m.Series = append(m.Series, &telemetrypb.Series{
			Fingerprint: uint64(i + 1), Labels: pairs("i", fmt.Sprintf("%03d", i%600)), TimesMs: []int64{noon.UnixMilli()}, Values: []float64{float64(i)},
		})
	}
	insertMetrics(t, s, "a", metricFrame(1, m))
	r, err := s.MetricRange(t.Context(), hour(t, 1), telemetry.RangeQuery{Metric: "m", By: []string{"i"}, Aggregate: "max"})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Truncated || len(r.Series) != 50 {
		t.Fatalf("truncated %v, %d lines; want 50 of more", r.Truncated, len(r.Series))
	}
	// The hundred groups of two series have the greatest values; of these the upper half.
	if first := r.Series[0]; first.Labels["i"] != "050" || first.Points[0].Value != 650 {
		t.Errorf("first line %+v", first)
	}
}

func id16(n byte) []byte { return []byte{15: n, 0: 0xe0} }

func event(project uint32, issue uint64, id byte, d time.Duration) *telemetrypb.ErrorEvent {
	return &telemetrypb.ErrorEvent{
		ProjectId: project, ReceivedAt: at(d + time.Second), Time: at(d), EventId: id16(id), IssueId: issue, GroupingVersion: 1,
		Level: "error", Title: "Oops", UserId: fmt.Sprint("u", id%2),
	}
}

func TestEventsComeBackAsTheyWereSent(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte(`{"message":"größer \u0000"}`)
	e := &telemetrypb.ErrorEvent{
		ProjectId: 1, ReceivedAt: at(time.Second), Time: at(0) + 1000, EventId: id16(1), IssueId: math.MaxUint64, GroupingVersion: 3,
		Level: "fatal", Platform: "go", Environment: "prod", Release: "a@1", Type: "T", Value: "line 1\nline '2\x00'", Title: "T: line 1",
		Culprit: "main in main.go", Transaction: "GET /", ServerName: "h1", UserId: "u'1", TraceId: []byte("0123456789abcdef"),
		Tags: pairs("browser", "Fire\\fox", "os", "linux"), PayloadZstd: encoder.EncodeAll(payload, nil),
	}
	broken := event(1, 2, 2, 0)
	broken.PayloadZstd = append([]byte{0x28, 0xb5, 0x2f, 0xfd}, "no frame"...)
	insertErrors(t, s, "a", e, broken)

	got, err := s.Event(t.Context(), hour(t, 1), [16]byte(id16(1)))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "Event", telemetry.Event{
		ID: "e0000000000000000000000000000001", IssueID: math.MaxUint64, Time: noon.Add(1000), ReceivedAt: noon.Add(time.Second),
		Level: "fatal", Platform: "go", Environment: "prod", Release: "a@1", Type: "T", Value: "line 1\nline '2\x00'", Title: "T: line 1",
		Culprit: "main in main.go", Transaction: "GET /", ServerName: "h1", UserID: "u'1", TraceID: "30313233343536373839616263646566",
		Tags: map[string]string{"browser": "Fire\\fox", "os": "linux"}, Payload: payload,
	}, got)
	if _, err := s.Event(t.Context(), hour(t, 1), [16]byte(id16(2))); err == nil {
		t.Error("Event with a broken payload: no error")
	}
	if _, err := s.Event(t.Context(), hour(t, 1), [16]byte(id16(9))); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("an unknown event: %v, want ErrNotFound", err)
	}
	if _, err := s.Event(t.Context(), scope(t, 1, time.Hour, 2*time.Hour), [16]byte(id16(1))); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("an event out of range: %v, want ErrNotFound", err)
	}
}

func TestIssueActivity(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	all := []*telemetrypb.ErrorEvent{
		event(1, 7, 1, -10*time.Minute), event(1, 7, 2, -10*time.Minute), event(1, 7, 3, 0),
		event(1, 8, 4, time.Minute), event(1, 9, 5, -20*time.Minute),
		event(1, 9, 6, -30*time.Minute-1), event(1, 9, 7, 30*time.Minute), // out of range
	}
	insertErrors(t, s, "a", all...)
	insertErrors(t, s, "b", all...) // sent twice by the client

	trend := func(counts map[int]int64) []int64 {
		out := make([]int64, 60)
		for i, n := range counts {
			out[i] = n
		}
		return out
	}
	seven := telemetry.IssueActivity{ID: 7, Events: 3, Users: 2, FirstSeen: noon.Add(-10 * time.Minute), LastSeen: noon, Trend: trend(map[int]int64{20: 2, 30: 1})}
	eight := telemetry.IssueActivity{ID: 8, Events: 1, Users: 1, FirstSeen: noon.Add(time.Minute), LastSeen: noon.Add(time.Minute), Trend: trend(map[int]int64{31: 1})}
	nine := telemetry.IssueActivity{ID: 9, Events: 1, Users: 1, FirstSeen: noon.Add(-20 * time.Minute), LastSeen: noon.Add(-20 * time.Minute), Trend: trend(map[int]int64{10: 1})}
	f := func(ids []uint64, limit, wantTotal int, want ...telemetry.IssueActivity) {
		t.Helper()
		got, total, step, err := s.IssueActivity(t.Context(), hour(t, 1), ids, limit)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, fmt.Sprint(ids), want, got)
		if total != wantTotal || step != time.Minute {
			t.Errorf("%v: total %d, step %s", ids, total, step)
		}
	}
	f(nil, 10, 3, eight, seven, nine)
	f(nil, 1, 3, eight)
	f([]uint64{7, 9, 1000}, 10, 2, seven, nine)
	f([]uint64{}, 10, 0)

	events, err := s.IssueEvents(t.Context(), hour(t, 1), 7, 2)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "IssueEvents", []telemetry.EventSummary{
		{ID: "e0000000000000000000000000000003", Time: noon, Level: "error", UserID: "u1"},
		{ID: "e0000000000000000000000000000002", Time: noon.Add(-10 * time.Minute), Level: "error", UserID: "u0"},
	}, events)
}

func TestIssueTags(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var all []*telemetrypb.ErrorEvent
	for i := range 24 {
		e := event(1, 7, byte(i), 0)
		e.Release, e.Tags = "1.0", pairs("browser", fmt.Sprint("b", i/2), "release", "told twice", "empty", "")
		all = append(all, e)
	}
	for i := range 40 {
		all[0].Tags = append(all[0].Tags, pairs(fmt.Sprintf("z%02d", i), "v")...)
	}
	insertErrors(t, s, "a", all...)
	insertErrors(t, s, "b", all...)
	got, err := s.IssueTags(t.Context(), hour(t, 1), 7)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 30 {
		t.Fatalf("%d tags, want 30: %+v", len(got), got)
	}
	diff(t, "the first", []telemetry.TagDistribution{
		{Key: "level", Values: []telemetry.TagValue{{Value: "error", Count: 24}}},
		{Key: "release", Values: []telemetry.TagValue{{Value: "1.0", Count: 24}}},
	}, got[:2])
	if browser := got[2]; browser.Key != "browser" || len(browser.Values) != 10 || browser.Values[0] != (telemetry.TagValue{Value: "b0", Count: 2}) {
		t.Errorf("browser: %+v", browser)
	}
	if got[3].Key != "z00" || got[29].Key != "z26" {
		t.Errorf("the rest begins with %s and ends with %s", got[3].Key, got[29].Key)
	}
}

func checkin(project uint32, slug string, id byte, status telemetrypb.CheckinStatus, run byte, d time.Duration) *telemetrypb.Checkin {
	c := &telemetrypb.Checkin{ProjectId: project, ReceivedAt: at(d), Time: at(d), Slug: slug, Status: status, CheckinId: id16(id), Source: "ping"}
	if run != 0 {
		c.RunId = id16(run)
	}
	return c
}

const (
	running = telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS
	ok      = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
	failed  = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
)

func TestCheckins(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	full := checkin(1, "backup", 3, failed, 0, -5*time.Minute)
	full.DurationMs, full.ExitCode, full.HasExitCode, full.Body, full.Environment, full.Release = 1500, 3, true, "it's\x00 broken", "prod", "1.0"
	all := []*telemetrypb.Checkin{
		checkin(1, "backup", 1, running, 50, -10*time.Minute), checkin(1, "backup", 2, ok, 50, -9*time.Minute),
		full,
		checkin(1, "backup", 4, running, 51, time.Minute),
		checkin(1, "mail", 5, running, 52, -31*time.Minute), checkin(1, "mail", 6, ok, 52, -29*time.Minute),
		checkin(1, "mail", 7, ok, 0, 30*time.Minute), // out of range
		checkin(1, "gone", 8, ok, 0, -31*time.Minute),
	}
	insertCheckins(t, s, "a", all...)
	insertCheckins(t, s, "b", all...)

	id := func(n int) string { return fmt.Sprintf("e00000000000000000000000000000%02x", n) }
	pair := telemetry.Checkin{ID: id(2), RunID: id(50), Slug: "backup", Time: noon.Add(-9 * time.Minute), StartedAt: noon.Add(-10 * time.Minute), Status: "ok", Duration: time.Minute, HasDuration: true, Source: "ping"}
	single := telemetry.Checkin{
		ID: id(3), Slug: "backup", Time: noon.Add(-5 * time.Minute), StartedAt: noon.Add(-5*time.Minute - 1500*time.Millisecond), Status: "error",
		Duration: 1500 * time.Millisecond, HasDuration: true, ExitCode: 3, HasExitCode: true, Environment: "prod", Release: "1.0", Source: "ping", Message: "it's\x00 broken",
	}
	begun := telemetry.Checkin{ID: id(4), RunID: id(51), Slug: "backup", Time: noon.Add(time.Minute), StartedAt: noon.Add(time.Minute), Status: "in_progress", Source: "ping"}
	mail := telemetry.Checkin{ID: id(6), RunID: id(52), Slug: "mail", Time: noon.Add(-29 * time.Minute), StartedAt: noon.Add(-31 * time.Minute), Status: "ok", Duration: 2 * time.Minute, HasDuration: true, Source: "ping"}

	got, err := s.Checkins(t.Context(), hour(t, 1), "backup", 10)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "Checkins", []telemetry.Checkin{begun, single, pair}, got)
	if got, err = s.Checkins(t.Context(), hour(t, 1), "backup", 2); err != nil {
		t.Fatal(err)
	}
	diff(t, "two Checkins", []telemetry.Checkin{begun, single}, got)

	recent, err := s.RecentCheckins(t.Context(), hour(t, 1), 2)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "RecentCheckins", map[string][]telemetry.Checkin{"backup": {single, begun}, "mail": {mail}}, recent)
}

func TestRecentCheckinsHaveTheBeginningOfMessages(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	c := checkin(1, "backup", 1, ok, 0, 0)
	c.Body = "x" + strings.Repeat("é", 5000) // the 256th byte is the first of two
	insertCheckins(t, s, "a", c)
	recent, err := s.RecentCheckins(t.Context(), hour(t, 1), 60)
	if err != nil {
		t.Fatal(err)
	}
	if want, runs := c.Body[:255], recent["backup"]; len(runs) != 1 || runs[0].Message != want {
		t.Errorf("RecentCheckins: %v, want one message %q", runs, want)
	}
	whole, err := s.Checkins(t.Context(), hour(t, 1), "backup", 60)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) != 1 || whole[0].Message != c.Body {
		t.Error("Checkins have not all of the message")
	}
}

// TestLongMessagesFitIntoReads checks that jobs that say as much as they may leave their runs
// readable, which are more here than the memory of a read.
func TestLongMessagesFitIntoReads(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	long := strings.Repeat("é", 50_000)
	const each = 1500
	for m := range 4 {
		var batch []*telemetrypb.Checkin
		for i := range each {
			c := checkin(1, fmt.Sprintf("job-%d", m), byte(i), ok, 0, time.Duration(i-each)*time.Second)
			c.Body = long
			batch = append(batch, c)
		}
		insertCheckins(t, s, fmt.Sprintf("a%d", m), batch...)
	}
	recent, err := s.RecentCheckins(t.Context(), hour(t, 1), 60)
	if err != nil || len(recent) != 4 {
		t.Errorf("RecentCheckins: %v, %d monitors", err, len(recent))
	}
	for limit, whole := range map[int]bool{100: true, 1000: false} {
		runs, err := s.Checkins(t.Context(), hour(t, 1), "job-0", limit)
		if err != nil || len(runs) != limit {
			t.Errorf("Checkins: %v, %d of %d", err, len(runs), limit)
			continue
		}
		if m := runs[0].Message; (m == long) != whole || !strings.HasPrefix(long, m) || len(m) < 10_000 {
			t.Errorf("of %d runs a message has %d bytes", limit, len(m))
		}
	}
}

func TestRecentCheckinsAreOfTheNewestMonitors(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	const n, most, each = 1010, 1000, 3
	for part := range 10 {
		var all []*telemetrypb.Checkin
		for i := part; i < n; i += 10 {
			for run := range each {
				d := time.Duration(i-n)*time.Second - time.Duration(run)*time.Millisecond
				all = append(all, checkin(1, fmt.Sprint("job-", i), byte(run), ok, 0, d))
			}
		}
		insertCheckins(t, s, strconv.Itoa(part), all...)
	}
	recent, err := s.RecentCheckins(t.Context(), hour(t, 1), 60)
	if err != nil {
		t.Fatal(err)
	}
	if len(recent) != most {
		t.Errorf("runs of %d monitors, want %d", len(recent), most)
	}
	for i := range n {
		runs, want := recent[fmt.Sprint("job-", i)], 0
		if i >= n-most {
			want = each
		}
		if len(runs) != want {
			t.Fatalf("monitor %d has %d runs, want %d", i, len(runs), want)
		}
	}
}

func TestInsertsDoNotWaitForReads(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	release := telemetry.HoldSampleReads(s)
	insertMetrics(t, s, "a", metricFrame(1, series("m", gauge, 1, nil, sample(0, 1))))
	insertLogs(t, s, "a", logFrame(1, "api", &telemetrypb.LogRecord{Time: at(0)}))
	release()
	r, err := s.MetricRange(t.Context(), hour(t, 1), telemetry.RangeQuery{Metric: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if r.SamplesRead != 1 {
		t.Errorf("%d samples, want 1", r.SamplesRead)
	}
}

func TestTablesAreSyncedWhateverTheServerSays(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	for _, table := range []string{"logs", "metric_series", "metric_samples", "error_events", "checkins"} {
		made := telemetry.TableStatement(t, s, table)
		for _, setting := range []string{"fsync_after_insert = 1", "fsync_part_directory = 1"} {
			if !strings.Contains(made, setting) {
				t.Errorf("%s is without %s", table, setting)
			}
		}
	}
}

// fill writes one of each signal for a project.
func fill(t testing.TB, s *telemetry.Store, project uint32) {
	name := fmt.Sprint("of ", project)
	token := name
	insertLogs(t, s, token, logFrame(project, "api", &telemetrypb.LogRecord{Time: at(0), Body: name, Severity: 17}))
	insertMetrics(t, s, token, metricFrame(project, series("m", gauge, 1, pairs("l", name), sample(0, float64(project)))))
	e := event(project, 7, 1, 0)
	e.Tags, e.Value, e.UserId = pairs("tag", name), name, name
	insertErrors(t, s, token, e)
	c := checkin(project, "job", 1, ok, 0, 0)
	c.Body = name
	insertCheckins(t, s, token, c)
}

// TestNoReadSeesAnotherProject asks everything of a project that has nothing, and of one that has
// as much as its neighbour.
func TestNoReadSeesAnotherProject(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	fill(t, s, 1)
	fill(t, s, 2)
	ctx := t.Context()
	reads := map[string]func(sc telemetry.Scope) (any, error){
		"Logs": func(sc telemetry.Scope) (any, error) {
			return s.Logs(ctx, sc, telemetry.LogFilter{Text: "of", Services: []string{"api"}}, 10, "")
		},
		"LogHistogram": func(sc telemetry.Scope) (any, error) {
			h, err := s.LogHistogram(ctx, sc, telemetry.LogFilter{})
			return []any{h.Total, h.Services}, err
		},
		"Metrics": func(sc telemetry.Scope) (any, error) {
			m, _, err := s.Metrics(ctx, sc, "", 10)
			return m, err
		},
		"MetricRange": func(sc telemetry.Scope) (any, error) {
			r, err := s.MetricRange(ctx, sc, telemetry.RangeQuery{Metric: "m", By: []string{"l"}})
			if errors.Is(err, telemetry.ErrNotFound) {
				err = nil
			}
			return r.Series, err
		},
		"IssueActivity": func(sc telemetry.Scope) (any, error) {
			a, total, _, err := s.IssueActivity(ctx, sc, []uint64{7}, 10)
			return []any{a, total}, err
		},
		"IssueEvents": func(sc telemetry.Scope) (any, error) { return s.IssueEvents(ctx, sc, 7, 10) },
		"IssueTags":   func(sc telemetry.Scope) (any, error) { return s.IssueTags(ctx, sc, 7) },
		"Event": func(sc telemetry.Scope) (any, error) {
			e, err := s.Event(ctx, sc, [16]byte(id16(1)))
			if errors.Is(err, telemetry.ErrNotFound) {
				return nil, nil
			}
			return e, err
		},
		"Checkins":       func(sc telemetry.Scope) (any, error) { return s.Checkins(ctx, sc, "job", 10) },
		"RecentCheckins": func(sc telemetry.Scope) (any, error) { return s.RecentCheckins(ctx, sc, 10) },
		"Overview": func(sc telemetry.Scope) (any, error) {
			o, err := s.Overview(ctx, sc)
			return []any{o.Logs.Total, o.Logs.Errors, o.Errors.Events, o.Errors.Users, o.Errors.Issues, len(o.Errors.Top), o.Metrics.Metrics, o.Metrics.Series, o.Metrics.Samples}, err
		},
		"LastReceived": func(sc telemetry.Scope) (any, error) { return s.LastReceived(ctx, sc) },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := func(project uint32) string {
				got, err := read(hour(t, project))
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprintf("%+v", got)
			}
			one, two, none := text(1), text(2), text(3)
			if strings.Contains(one, "of 2") || strings.Contains(two, "of 1") {
				t.Errorf("sees its neighbour:\n%s\n%s", one, two)
			}
			if strings.ReplaceAll(one, "of 1", "of N") != strings.ReplaceAll(strings.ReplaceAll(two, "of 2", "of N"), "Value:2", "Value:1") {
				t.Errorf("projects of equal contents differ:\n%s\n%s", one, two)
			}
			if strings.Contains(none, "of ") || none == one {
				t.Errorf("a project without data has %s", none)
			}
			if _, err := read(telemetry.Scope{}); err == nil {
				t.Error("a read without a scope gave an answer")
			}
			if got, err := read(scope(t, 1, time.Nanosecond, time.Hour)); err != nil || strings.Contains(fmt.Sprintf("%+v", got), "of 1") && name != "Metrics" && name != "MetricRange" {
				t.Errorf("after the only row: %+v, %v", got, err)
			}
		})
	}
}

func TestOverview(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	fill(t, s, 1)
	insertErrors(t, s, "more", event(1, 8, 2, 0), event(1, 8, 3, 0), event(1, 9, 4, 0), event(1, 10, 5, 0), event(1, 11, 6, 0), event(1, 12, 7, 0))
	o, err := s.Overview(t.Context(), hour(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	trend := func(n int64) []int64 { return append(append(make([]int64, 30), n), make([]int64, 29)...) }
	top := o.Errors.Top
	o.Errors.Top = nil
	diff(t, "Overview", telemetry.Overview{
		Step:    time.Minute,
		Logs:    telemetry.LogOverview{Total: 1, Errors: 1, Trend: trend(1), ErrorTrend: trend(1)},
		Errors:  telemetry.ErrorOverview{Events: 7, Users: 3, Issues: 6, Trend: trend(7)},
		Metrics: telemetry.MetricOverview{Metrics: 1, Series: 1, Samples: 1, Trend: trend(1)},
	}, o)
	if len(top) != 5 || top[0].ID != 8 || top[0].Events != 2 {
		t.Errorf("top issues: %+v", top)
	}
}

func TestLastReceived(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	fill(t, s, 1)
	insertMetrics(t, s, "later", metricFrame(1, series("m", gauge, 1, pairs("l", "of 1"), sample(time.Minute, 1))))
	got, err := s.LastReceived(t.Context(), hour(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "LastReceived", map[string]time.Time{"logs": noon, "metrics": noon.Add(time.Minute), "errors": noon, "checkins": noon}, got)
}

// TestTokensStoreOnce inserts blocks twice whose rows lie on many days, and so in many parts.
func TestTokensStoreOnce(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	const days, each = 40, 300 // more than the days that are kept apart
	var (
		records []*telemetrypb.LogRecord
		samples []point
	)
	for i := range days * each {
		d := -time.Duration(i%days) * 24 * time.Hour
		records = append(records, &telemetrypb.LogRecord{Time: at(d) - uint64(i), Body: fmt.Sprint(i)})
		samples = append(samples, sample(d-time.Duration(i)*time.Millisecond, 1))
	}
	sc := scope(t, 1, -100*24*time.Hour, time.Hour)
	count := func() (logs, samples int64) {
		o, err := s.Overview(t.Context(), sc)
		if err != nil {
			t.Fatal(err)
		}
		return o.Logs.Total, o.Metrics.Samples
	}
	insert := func(token string) {
		insertLogs(t, s, token, logFrame(1, "api", records...))
		insertMetrics(t, s, token, metricFrame(1, series("m", gauge, 1, nil, samples...)))
	}
	insert("token")
	// Rows that are older than the table keeps may be gone at any time: the rest stays.
	const kept = 29 * each
	l1, m1 := count()
	if l1 < kept || m1 < kept {
		t.Fatalf("stored %d logs and %d samples, want at least %d", l1, m1, kept)
	}
	insert("token")
	if l2, m2 := count(); l2 > l1 || m2 > m1 {
		t.Errorf("after a repetition %d logs and %d samples, before %d and %d", l2, m2, l1, m1)
	}
	insert("another token")
	if l3, m3 := count(); l3 < 2*kept || m3 < 2*kept {
		t.Errorf("another token stored nothing: %d logs and %d samples", l3, m3)
	}
}

// TestInterruptedInsertIsCompleted repeats an insert after a part of its days was stored, which is
// what a server that stops half-way leaves.
func TestInterruptedInsertIsCompleted(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var frames []*telemetrypb.LogFrame
	for i := range 5 {
		frames = append(frames, logFrame(1, "api", &telemetrypb.LogRecord{Time: at(-time.Duration(i) * 24 * time.Hour), Body: fmt.Sprint(i)}))
	}
	insertLogs(t, s, "token", frames[:2]...)
	insertLogs(t, s, "token", frames...)
	insertLogs(t, s, "token", frames...)
	diff(t, "bodies", []string{"0", "1", "2", "3", "4"}, bodies(logs(t, s, scope(t, 1, -10*24*time.Hour, time.Hour), telemetry.LogFilter{})))
}

func TestBlocksAreReusable(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	b := telemetry.NewLogBlock()
	for i := range 3 {
		name := strings.Repeat(string(rune('a'+i)), i+1)
		b.Reset()
		if b.Rows() != 0 {
			t.Fatalf("%d rows after Reset", b.Rows())
		}
		addLogs(t, b, uint64(i+1), logFrame(1, name, &telemetrypb.LogRecord{Time: at(0), Body: name, Attributes: pairs(name, name)}))
		if b.Rows() != 1 || b.Bytes() <= 0 {
			t.Fatalf("%d rows, %d bytes", b.Rows(), b.Bytes())
		}
		if err := s.InsertLogs(t.Context(), name, b); err != nil {
			t.Fatal(err)
		}
	}
	b.Reset()
	if err := s.InsertLogs(t.Context(), "empty", b); err != nil {
		t.Errorf("an empty block: %v", err)
	}
	diff(t, "bodies", []string{"ccc", "bb", "a"}, bodies(logs(t, s, hour(t, 1), telemetry.LogFilter{})))
	for _, r := range logs(t, s, hour(t, 1), telemetry.LogFilter{}) {
		diff(t, r.Body, map[string]string{r.Body: r.Body}, r.Attributes)
	}
}

func TestDictionariesOfAllWidths(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	b := telemetry.NewLogBlock()
	for _, n := range []int{1, 255, 256, 257, 65535, 65536, 65537, 70000} {
		b.Reset()
		f := logFrame(uint32(n), "")
		f.Batches[0].Groups = nil
		for i := range n {
			f.Batches[0].Groups = append(f.Batches[0].Groups, &telemetrypb.LogGroup{Service: fmt.Sprint("s", i), Records: []*telemetrypb.LogRecord{{Time: at(0)}}})
		}
		addLogs(t, b, 1, f)
		if err := s.InsertLogs(t.Context(), fmt.Sprint(n), b); err != nil {
			t.Fatalf("%d services: %v", n, err)
		}
		for _, i := range []int{0, n / 2, n - 1} {
			rows := logs(t, s, hour(t, uint32(n)), telemetry.LogFilter{Services: []string{fmt.Sprint("s", i)}})
			if len(rows) != 1 || rows[0].ID != fmt.Sprintf("%x", 1<<20+i) {
				t.Errorf("%d services: service %d has %d rows", n, i, len(rows))
			}
		}
	}
}

func TestMigrateIsIdempotentAndConcurrent(t *testing.T) {
	t.Parallel()
	address := storagetest.EngineURL(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := telemetry.Open(t.Context(), address, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for range 2 {
				if err := s.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMigrateMakesTheDatabase(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(storagetest.EngineURL(t))
	if err != nil {
		t.Fatal(err)
	}
	own := *u
	own.Path += "_new`\\'x"
	s, err := telemetry.Open(t.Context(), own.String(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := telemetry.NewLogBlock()
	addLogs(t, b, 1, logFrame(1, "api", &telemetrypb.LogRecord{Time: at(0)}))
	if err := s.InsertLogs(t.Context(), "a", b); err == nil || !telemetry.Retryable(err) {
		t.Errorf("an insert without a database: %v, want an error that is retryable", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.InsertLogs(t.Context(), "a", b); err != nil {
		t.Error(err)
	}
	telemetry.DropDatabase(t, s)
}

func TestOpenRefusesOtherURLs(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "http://127.0.0.1:8123/db", "clickhouse://127.0.0.1:9000", "clickhouse://:%", "postgres://h/db"} {
		if s, err := telemetry.Open(t.Context(), address, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("Open(%q) succeeded", address)
			_ = s.Close()
		}
	}
}

func TestWithoutAServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := telemetry.Open(t.Context(), "clickhouse://u:secret@"+address+"/db", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Ping: %v", err)
	}
	b := telemetry.NewLogBlock()
	addLogs(t, b, 1, logFrame(1, "api", &telemetrypb.LogRecord{Time: at(0)}))
	if err := s.InsertLogs(t.Context(), "a", b); !telemetry.Retryable(err) {
		t.Errorf("InsertLogs: %v, want a retryable error", err)
	}
	if _, err := s.Logs(t.Context(), hour(t, 1), telemetry.LogFilter{}, 1, ""); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("Logs: %v, want ErrUnavailable", err)
	}
	if _, err := s.MetricRange(t.Context(), hour(t, 1), telemetry.RangeQuery{Metric: "m"}); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("MetricRange: %v, want ErrUnavailable", err)
	}
}

func TestCancelledReads(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Logs(ctx, hour(t, 1), telemetry.LogFilter{}, 1, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Logs: %v, want context.Canceled", err)
	}
	b := telemetry.NewLogBlock()
	addLogs(t, b, 1, logFrame(1, "api", &telemetrypb.LogRecord{Time: at(0)}))
	if err := s.InsertLogs(ctx, "a", b); !errors.Is(err, context.Canceled) || !telemetry.Retryable(err) {
		t.Errorf("InsertLogs: %v, want context.Canceled", err)
	}
}

func TestClosedStore(t *testing.T) {
	t.Parallel()
	s, err := telemetry.Open(t.Context(), storagetest.EngineURL(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := telemetry.NewLogBlock()
	addLogs(t, b, 1, logFrame(1, "api", &telemetrypb.LogRecord{Time: at(0)}))
	if err := s.InsertLogs(t.Context(), "a", b); err == nil {
		t.Error("InsertLogs on a closed store succeeded")
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping on a closed store succeeded")
	}
}

// TestReadsAreBounded asks the server what it was told.
func TestReadsAreBounded(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	for name, want := range map[string]string{
		"readonly": "2", "max_memory_usage": "500000000", "max_rows_to_read": "5000000000", "max_result_rows": "50000000",
		"max_result_bytes": "67108864",
	} {
		if got := telemetry.Setting(t, s, hour(t, 1), name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if seconds, err := strconv.Atoi(telemetry.Setting(t, s, hour(t, 1), "max_execution_time")); err != nil || seconds < 1 || seconds > 30 {
		t.Errorf("max_execution_time = %d, %v", seconds, err)
	}
}
