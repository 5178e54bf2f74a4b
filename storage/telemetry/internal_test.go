package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ClickHouse/ch-go"
	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

func TestStep(t *testing.T) {
	t.Parallel()
	base := time.Unix(1_700_000_000, 0)
	for _, c := range []struct{ length, want time.Duration }{
		{time.Nanosecond, time.Second},
		{100 * time.Second, time.Second},
		{101 * time.Second, 2 * time.Second},
		{15 * time.Minute, 10 * time.Second},
		{time.Hour, time.Minute},
		{6 * time.Hour, 5 * time.Minute},
		{24 * time.Hour, 15 * time.Minute},
		{7 * 24 * time.Hour, 2 * time.Hour},
		{30 * 24 * time.Hour, 12 * time.Hour},
	} {
		sc, err := NewScope(1, base, base.Add(c.length))
		if err != nil {
			t.Fatal(err)
		}
		if got := Step(sc); got != c.want {
			t.Errorf("Step of %s = %s, want %s", c.length, got, c.want)
		}
	}
	all, err := NewScope(1, time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if n := bucketsOf(all, Step(all)).n; n > 200 {
		t.Errorf("the widest scope has %d steps", n)
	}
}

func TestNewScopeRefuses(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		project  uint32
		from, to time.Time
	}{{0, now, now.Add(1)}, {1, now, now}, {1, now.Add(1), now}, {1, time.Time{}, minTime}, {1, maxTime, maxTime.Add(1)}} {
		var invalid *InvalidError
		if _, err := NewScope(c.project, c.from, c.to); !errors.As(err, &invalid) {
			t.Errorf("NewScope(%v): %v, want an InvalidError", c, err)
		}
	}
}

func TestBucketsCoverTheScope(t *testing.T) {
	t.Parallel()
	f := func(from, to int64, wantFirst int64, wantN int) {
		t.Helper()
		sc, err := NewScope(1, time.Unix(0, from), time.Unix(0, to))
		if err != nil {
			t.Fatal(err)
		}
		b := bucketsOf(sc, time.Second)
		if b.first.UnixNano() != wantFirst || b.n != wantN {
			t.Errorf("[%d, %d): first %d, %d buckets", from, to, b.first.UnixNano(), b.n)
		}
	}
	const s = int64(time.Second)
	f(0, 1, 0, 1)
	f(0, s, 0, 1)
	f(0, s+1, 0, 2)
	f(s-1, s+1, 0, 2)
	f(s, 3*s, s, 2)
}

func TestStorageDay(t *testing.T) {
	t.Parallel()
	const today = 20_000
	received := uint64(today*day + time.Hour)
	for _, c := range []struct {
		at   time.Duration
		want uint16
	}{
		{0, today},
		{-24 * time.Hour, today - 1},
		{24 * time.Hour, today + 1},
		{48 * time.Hour, today + 1},
		{-31 * 24 * time.Hour, today - 30},
		{-32 * 24 * time.Hour, today - 30},
		{-19_000 * 24 * time.Hour, today - 30},
	} {
		if got := storageDay(int64(today*day+c.at), received, 30); got != c.want {
			t.Errorf("storageDay(%s) = %d, want %d", c.at, got, c.want)
		}
	}
	if got := storageDay(int64(3*day), 0, 30); got != 3 {
		t.Errorf("storageDay without a time of receipt = %d, want 3", got)
	}
	if got := storageDay(0, uint64(5*day), 30); got != 0 {
		t.Errorf("storageDay of 1970 = %d, want 0", got)
	}
	if got := storedTime(0, math.MaxUint64); got != maxTime.UnixNano() {
		t.Errorf("storedTime of the end of time = %d", got)
	}
}

func TestSplitStatements(t *testing.T) {
	t.Parallel()
	f := func(text string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, splitStatements(text)); d != "" {
			t.Errorf("splitStatements(%q) (-want +got):\n%s", text, d)
		}
	}
	f("")
	f(" ; -- nothing; \n ;")
	f("a; b", "a", "b")
	f("a ';' b; c", "a ';' b", "c")
	f(`a 'it''s;' "x;" y; c`, `a 'it''s;' "x;" y`, "c")
	f("a `b;c`; d '\\';'", "a `b;c`", "d '\\';'")
	f("a -- b; c\nd", "a \nd")
	f("a /* b; c */ d; e /*", "a   d", "e")
	f("a 'open;", "a 'open;")
}

func FuzzSplitStatements(f *testing.F) {
	for _, s := range []string{"a;b", "'a", "/*", "/**/", "--", "`\\`;", "/*/", "'\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, statement := range splitStatements(s) {
			if strings.TrimSpace(statement) == "" {
				t.Fatalf("splitStatements(%q) has an empty statement", s)
			}
		}
	})
}

func TestMigrationsAreInOrder(t *testing.T) {
	t.Parallel()
	steps, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if len(step.statements) == 0 {
			t.Errorf("%s is empty", step.name)
		}
		for _, statement := range step.statements {
			if !strings.Contains(statement, "IF NOT EXISTS") && !strings.Contains(statement, "IF EXISTS") && !strings.HasPrefix(statement, "ALTER TABLE") {
				t.Errorf("%s is not idempotent: %s", step.name, statement)
			}
		}
	}
	for _, name := range []string{"2_a.sql", "x.sql", "0002_a.sql"} {
		if _, err := migrations(fstest.MapFS{"migrations/" + name: &fstest.MapFile{}}); err == nil {
			t.Errorf("a first migration of the name %s was taken", name)
		}
	}
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, true},
		{context.DeadlineExceeded, true},
		{&ch.Exception{Code: 252}, true},
		{&ch.Exception{Code: codeMemory}, true},
		{&ch.Exception{Code: 236}, true},
		{&clickhouse.Exception{Code: codeUnknownTable}, true},
		{&ch.Exception{Code: 27}, false},
		{&ch.Exception{Code: 117}, false},
		{&ch.Exception{Code: 131}, false},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("insert: %w", err)
		}
		if got := Retryable(err); got != c.want {
			t.Errorf("Retryable(%v) = %v", c.err, got)
		}
	}
}

func TestReadErrorsHaveTheirTypes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for code, want := range map[int32]string{159: "time", 241: "bytes of memory", 158: "rows", 307: "rows", 396: "rows"} {
		var limit *LimitError
		if err := readError(ctx, "read", &clickhouse.Exception{Code: code}); !errors.As(err, &limit) || limit.Limit != want {
			t.Errorf("code %d: %v, want a LimitError of %s", code, err, want)
		}
	}
	if err := readError(ctx, "read", &clickhouse.Exception{Code: 202}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an overloaded server: %v", err)
	}
	if err := readError(ctx, "read", &clickhouse.Exception{Code: 62}); errors.Is(err, ErrUnavailable) {
		t.Errorf("a syntax error: %v", err)
	}
	late, cancel := context.WithTimeoutCause(ctx, 0, errReadTimeout)
	defer cancel()
	var limit *LimitError
	if err := readError(late, "read", io.EOF); !errors.As(err, &limit) || limit.Limit != "time" {
		t.Errorf("a read that took too long: %v", err)
	}
	gone, leave := context.WithCancel(ctx)
	leave()
	if err := readError(gone, "read", io.EOF); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
	if err := readError(ctx, "read", fmt.Errorf("scan: %w", &LimitError{Limit: "series"})); !errors.As(err, &limit) || limit.Limit != "series" {
		t.Errorf("a limit of ours: %v", err)
	}
}

func TestSeriesMemory(t *testing.T) {
	t.Parallel()
	const first = 1_000_000_000
	m := newSeriesMemory(4)
	key := func(i int) seriesKey { return seriesKey{fp: uint64(i), project: 1, day: 1} }
	if m.fresh(key(1), first, first) {
		t.Error("an unknown series is fresh")
	}
	m.note(key(1), first, first)
	for _, c := range []struct {
		first, last int64
		want        bool
	}{
		{first, first, true},
		{first, first + seriesRefreshMS - 1, true},
		{first, first + seriesRefreshMS, false},
		{first - 1, first, false},
	} {
		if got := m.fresh(key(1), c.first, c.last); got != c.want {
			t.Errorf("fresh(%d, %d) = %v", c.first-first, c.last-first, got)
		}
	}
	m.note(key(1), first+seriesRefreshMS, first+seriesRefreshMS)
	if !m.fresh(key(1), first, first+2*seriesRefreshMS-1) {
		t.Error("a series that was noted again is not fresh")
	}
	for i := range 100 {
		m.note(key(i+10), first, first)
	}
	if n := len(m.young) + len(m.old); n > 4 {
		t.Errorf("remembers %d series, want at most 4", n)
	}
	if !m.fresh(key(109), first, first) || m.fresh(key(1), first, first) {
		t.Error("forgets the new instead of the old")
	}
}

func TestFoldRuns(t *testing.T) {
	t.Parallel()
	base := time.Unix(1_700_000_000, 0).UTC()
	sc, err := NewScope(1, base, base.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	const (
		start = telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS
		ok    = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
		fail  = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
		note  = telemetrypb.CheckinStatus_CHECKIN_STATUS_LOG
	)
	type row struct {
		minute int
		status telemetrypb.CheckinStatus
		run    string
	}
	f := func(want string, rows ...row) {
		t.Helper()
		var stored []checkinRow
		for i, r := range rows {
			c := checkinRow{status: r.status, run: r.run}
			c.ID, c.Status, c.Time = fmt.Sprint(i), statusName(r.status), base.Add(time.Duration(r.minute)*time.Minute)
			stored = append([]checkinRow{c, c}, stored...) // each twice, newest first
		}
		var got []string
		for _, c := range foldRuns(stored, sc) {
			s := fmt.Sprintf("%s@%d", c.Status, int(c.Time.Sub(base)/time.Minute))
			if c.HasDuration {
				s += fmt.Sprintf("(%d)", int(c.Duration/time.Minute))
			}
			got = append(got, s)
		}
		if d := strings.Join(got, " "); d != want {
			t.Errorf("%v: %s, want %s", rows, d, want)
		}
	}
	f("")
	f("ok@1 error@2", row{1, ok, ""}, row{2, fail, ""})
	f("ok@2(1)", row{1, start, ""}, row{2, ok, ""})
	f("in_progress@1 ok@3(1) ok@4", row{1, start, ""}, row{2, start, ""}, row{3, ok, ""}, row{4, ok, ""})
	f("ok@3(2)", row{1, start, "a"}, row{3, ok, "a"})
	f("ok@1(0)", row{1, ok, "a"}, row{1, start, "a"}) // in the same moment, and the end came first
	f("ok@3(2) in_progress@4", row{1, start, "a"}, row{3, ok, "a"}, row{4, start, "a"})
	f("ok@3(2) error@9(5)", row{1, start, "a"}, row{3, ok, "a"}, row{4, start, "a"}, row{9, fail, "a"})
	f("error@2(1) ok@3(3)", row{0, start, "a"}, row{1, start, "b"}, row{2, fail, "b"}, row{3, ok, "a"})
	f("ok@5(4)", row{1, start, "a"}, row{3, start, "a"}, row{5, ok, "a"})
	f("log@2 ok@3(2)", row{1, start, "a"}, row{2, note, "a"}, row{3, ok, "a"})
	f("ok@0(9)", row{-9, start, "a"}, row{0, ok, "a"})
	f("", row{-9, start, "a"}, row{-8, ok, "a"}, row{60, ok, ""})
	f("in_progress@59", row{59, start, "a"})
}

func benchmarkLogFrame(records int) *telemetrypb.LogFrame {
	batch := &telemetrypb.LogBatch{ProjectId: 1, ReceivedAt: 1_700_000_000_000_000_000}
	for i := range 8 {
		g := &telemetrypb.LogGroup{Service: fmt.Sprint("service-", i), Resource: []*telemetrypb.KeyValue{{Key: "host.name", Value: "h1"}}}
		for j := range records / 8 {
			g.Records = append(g.Records, &telemetrypb.LogRecord{
				Time: uint64(1_700_000_000_000_000_000 + j), Severity: 9, SeverityText: "info",
				Body:    fmt.Sprintf("GET /api/v1/items/%d 200 in %dms", j, i),
				TraceId: make([]byte, 16),
				Attributes: []*telemetrypb.KeyValue{
					{Key: "host", Value: "h07"},
					{Key: "status", Value: "200"},
					{Key: "duration_ms", Value: fmt.Sprint(j)},
					{Key: "user_id", Value: fmt.Sprint(j * 7)},
					{Key: "region", Value: "eu-west-1"},
					{Key: "version", Value: "1.2.0"},
				},
			})
		}
		batch.Groups = append(batch.Groups, g)
	}
	return &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{batch}}
}

func BenchmarkLogBlockAdd(b *testing.B) {
	const rows = 8000
	f := marshalFrame(b, benchmarkLogFrame(rows))
	block := NewLogBlock()
	b.ReportAllocs()
	for b.Loop() {
		block.Reset()
		if err := block.Add(1, 0, f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

// benchmarkMetricFrame has a sample of each of some series, twenty to a metric.
func benchmarkMetricFrame(t testing.TB, series int) []byte {
	t.Helper()
	batch := &telemetrypb.MetricBatch{ProjectId: 1, ReceivedAt: 1_700_000_000_000_000_000}
	for i := range series {
		if i%20 == 0 {
			batch.Metrics = append(batch.Metrics, &telemetrypb.Metric{Name: fmt.Sprintf("http_requests_%d_total", i/20), Kind: telemetrypb.MetricKind_METRIC_KIND_COUNTER})
		}
		m := batch.Metrics[i/20]
		m.Series = append(m.Series, &telemetrypb.Series{
			Fingerprint: uint64(i+1) * 0x9e3779b97f4a7c15,
			Labels: []*telemetrypb.KeyValue{
				{Key: "code", Value: "200"},
				{Key: "handler", Value: fmt.Sprint("/api/v1/items/", i%17)},
				{Key: "instance", Value: "10.0.0.1:9090"},
				{Key: "job", Value: "shop"},
				{Key: "method", Value: "GET"},
				{Key: "pod", Value: "shop-5d9c7b8f6-0001"},
				{Key: "region", Value: "eu-west-1"},
			},
			TimesMs: []int64{1_700_000_000_000}, Values: []float64{float64(i)},
		})
	}
	return marshalFrame(t, &telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{batch}})
}

func marshalFrame(t testing.TB, f proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// BenchmarkMetricBlockAdd decodes frames into a block of 50,000 rows, each of another series.
func BenchmarkMetricBlockAdd(b *testing.B) {
	const rows = 50_000
	f := benchmarkMetricFrame(b, rows)
	block := NewMetricBlock()
	b.ReportAllocs()
	var began, ended syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &began); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		block.Reset()
		if err := block.Add(f); err != nil {
			b.Fatal(err)
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ended); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(ended.Utime.Nano()+ended.Stime.Nano()-began.Utime.Nano()-began.Stime.Nano())/float64(b.N)/rows, "cpu-ns/row")
}

// TestAddDoesNotAllocate holds the hot path to what a reused block has already.
func TestAddDoesNotAllocate(t *testing.T) {
	logs, metrics := marshalFrame(t, benchmarkLogFrame(800)), benchmarkMetricFrame(t, 800)
	l, m := NewLogBlock(), NewMetricBlock()
	if n := testing.AllocsPerRun(20, func() {
		l.Reset()
		if err := l.Add(1, 0, logs); err != nil {
			t.Fatal(err)
		}
	}); n > 20 {
		t.Errorf("LogBlock.Add of 800 rows allocates %v times", n)
	}
	if n := testing.AllocsPerRun(20, func() {
		m.Reset()
		if err := m.Add(metrics); err != nil {
			t.Fatal(err)
		}
	}); n > 50 { // the names of 40 metrics
		t.Errorf("MetricBlock.Add of 800 rows allocates %v times", n)
	}
}

// TestRowsOfAMessageHaveIDsOfTheirOwn adds frames of the smallest records that there are, as they
// lie in a message, each to a block of its own, as where a message is parted.
func TestRowsOfAMessageHaveIDsOfTheirOwn(t *testing.T) {
	b := NewLogBlock()
	last := rowID(7, 0) - 1
	for offset, rows := 0, 1; offset < 512<<10; rows = 2*rows + 1 {
		f := &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{Groups: []*telemetrypb.LogGroup{{Records: make([]*telemetrypb.LogRecord, rows)}}}}}
		for i := range rows {
			f.Batches[0].Groups[0].Records[i] = &telemetrypb.LogRecord{}
		}
		b.Reset()
		if err := b.Add(7, offset, marshalFrame(t, f)); err != nil {
			t.Fatal(err)
		}
		b.number()
		for _, id := range b.id {
			if id <= last || id >= rowID(8, 0) {
				t.Fatalf("id %x after %x", id, last)
			}
			last = id
		}
		offset += 2 * rows // an empty record is a tag and a length
	}
}

func TestRowsAreNumberedAsTheyLie(t *testing.T) {
	b := NewLogBlock()
	add := func(seq uint64, project uint32, times ...uint64) {
		g := &telemetrypb.LogGroup{}
		for _, at := range times {
			g.Records = append(g.Records, &telemetrypb.LogRecord{Time: at})
		}
		f := &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{ProjectId: project, Groups: []*telemetrypb.LogGroup{g}}}}
		if err := b.Add(seq, 0, marshalFrame(t, f)); err != nil {
			t.Fatal(err)
		}
	}
	add(5, 2, 30, 10)
	add(6, 1, 20, 40)
	add(7, 2, 20, 10)
	b.number()
	base := rowID(5, 0)
	want := chproto.ColUInt64{base + 5, base + 2, base, base + 1, base + 4, base + 3}
	if d := cmp.Diff(want, b.id); d != "" {
		t.Errorf("ids (-want +got):\n%s", d)
	}
}

// TestLargeResourcesAreNotKept has senders that name as large a resource as intake takes, each time
// another one, of characters that are longest in JSON.
func TestLargeResourcesAreNotKept(t *testing.T) {
	b := NewLogBlock()
	for i := range 100 {
		f := &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{Groups: []*telemetrypb.LogGroup{{
			Resource: []*telemetrypb.KeyValue{{Key: fmt.Sprint(i), Value: strings.Repeat("\x01", 64<<10)}},
			Records:  []*telemetrypb.LogRecord{{Time: 1}},
		}}}}}
		b.Reset()
		if err := b.Add(uint64(i), 0, marshalFrame(t, f)); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for fields, packed := range b.resources {
		kept += len(fields) + len(packed)
	}
	if kept > 4<<20 {
		t.Errorf("%d bytes of resources are kept", kept)
	}
}
