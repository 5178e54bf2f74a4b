package evaluate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

// begin is when the tests' telemetry begins: today, so that nothing of it has expired.
var begin = time.Now().UTC().Truncate(24 * time.Hour).Unix()

// sender makes metrics, with time in seconds after begin.
type sender struct {
	metrics []*telemetrypb.Metric
	fp      uint64
}

func (s *sender) add(name string, kind telemetrypb.MetricKind, labels string, from, to, every int64, value func(at int64) float64) {
	s.fp++
	series := &telemetrypb.Series{Fingerprint: s.fp}
	for pair := range strings.FieldsSeq(labels) {
		k, v, _ := strings.Cut(pair, "=")
		series.Labels = append(series.Labels, &telemetrypb.KeyValue{Key: k, Value: v})
	}
	for at := from; at < to; at += every {
		series.TimesMs, series.Values = append(series.TimesMs, (begin+at)*1000), append(series.Values, value(at))
	}
	s.metrics = append(s.metrics, &telemetrypb.Metric{Name: name, Kind: kind, Series: []*telemetrypb.Series{series}})
}

func (s *sender) gauge(name, labels string, from, to, every int64, value func(at int64) float64) {
	s.add(name, telemetrypb.MetricKind_METRIC_KIND_GAUGE, labels, from, to, every, value)
}

func (s *sender) counter(name, labels string, from, to, every int64, value func(at int64) float64) {
	s.add(name, telemetrypb.MetricKind_METRIC_KIND_COUNTER, labels, from, to, every, value)
}

// send stores what was made, and forgets it.
func (s *sender) send(t testing.TB, store *telemetry.Store, project uint32) {
	t.Helper()
	frame, err := proto.Marshal(&telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{
		ProjectId: project, ReceivedAt: uint64(begin) * 1e9, Metrics: s.metrics,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	b := telemetry.NewMetricBlock()
	if err := b.Add(frame); err != nil {
		t.Fatal(err)
	}
	if err := store.InsertMetrics(t.Context(), fmt.Sprint(t.Name(), project, s.fp), b); err != nil {
		t.Fatal(err)
	}
	s.metrics = nil
}

// desk notes the signals that were committed.
type desk struct {
	mu      sync.Mutex
	signals []incident.Signal
	fail    error
}

func (d *desk) Woke() {}

func (d *desk) Apply(_ context.Context, _ *catalog.Tx, _ string, signals []incident.Signal, _ time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	d.signals = append(d.signals, signals...)
	return nil
}

// told are the signals in words, with times in minutes after begin.
func (d *desk) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return tell(d.signals)
}

func tell(signals []incident.Signal) []string {
	out := []string{}
	for _, s := range signals {
		text := fmt.Sprintf("%s %s %s %s", minutes(s.At.Unix()), s.Kind, s.Instance.Key, s.Instance.Severity)
		if s.Section != "" {
			text += " " + s.Section
		}
		if s.Reason != "" {
			text += " " + string(s.Reason)
		}
		if s.Late != "" {
			text += " late"
		}
		out = append(out, text)
	}
	return out
}

// minutes is a time of the test, to the minute that has begun.
func minutes(at int64) string { return fmt.Sprint((at - begin) / 60) }

// world is a catalog with one organisation and project, and a clock that stands still.
type world struct {
	t       testing.TB
	db      *catalog.DB
	store   *telemetry.Store
	org     string
	project uint32
	now     int64
}

func newWorld(t testing.TB, db *catalog.DB, store *telemetry.Store) *world {
	t.Helper()
	in, err := db.Initialise(t.Context(), catalog.Initial{Email: "a@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, db: db, store: store, org: in.Project.OrganisationID, project: in.Project.Number, now: begin}
}

func (w *world) put(r rule.Rule) {
	w.t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.db.PutDocument(w.t.Context(), catalog.Document{Organisation: w.org, Kind: RuleKind, Project: w.project, ID: r.ID, Name: r.Name, Body: body}, catalog.AnyVersion); err != nil {
		w.t.Fatal(err)
	}
}

// logs stores records of a service.
func (w *world) logs(service string, records ...*telemetrypb.LogRecord) {
	w.t.Helper()
	frame, err := proto.Marshal(&telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{
		ProjectId: w.project, ReceivedAt: uint64(begin) * 1e9, Groups: []*telemetrypb.LogGroup{{Service: service, Records: records}},
	}}})
	if err != nil {
		w.t.Fatal(err)
	}
	b := telemetry.NewLogBlock()
	if err := b.Add(1, 0, frame); err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.InsertLogs(w.t.Context(), service, b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) evaluator(replica string, d Desk) *Evaluator {
	w.t.Helper()
	e, err := New(Config{Replica: replica, Clock: func(context.Context) (time.Time, error) { return unix(w.now), nil }},
		w.db, w.store, d, noop.NewMeterProvider().Meter(""), slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// tick lets an evaluator do all that is due now.
func (w *world) tick(e *Evaluator) {
	w.t.Helper()
	if err := e.tick(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	e.running.Wait()
}

// until ticks each so many seconds until a time after begin.
func (w *world) until(e *Evaluator, end, every int64) {
	w.t.Helper()
	for w.now < begin+end {
		w.now += every
		w.tick(e)
	}
}

func seconds(n int64) *rule.Duration { return new(rule.Duration(n)) }
