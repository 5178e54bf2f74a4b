package writer_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/writer"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

const project = 7

// bench is a set of real parts with a writer that can be started and stopped.
type bench struct {
	t     *testing.T
	bus   *bus.Bus
	db    *catalog.DB
	store *telemetry.Store
	url   string // of the store
	at    time.Time
}

func newBench(t *testing.T) *bench {
	url := storagetest.EngineURL(t)
	return &bench{t, storagetest.Bus(t), storagetest.Catalog(t), storagetest.OpenTelemetry(t, url), url, time.Now().UTC().Truncate(time.Second)}
}

// start runs a writer until stop is called.
func (b *bench) start() (stop func()) {
	b.t.Helper()
	w, err := writer.New(writer.Config{MaxRows: 40, MaxBytes: 1 << 20, MaxAge: 20 * time.Millisecond},
		b.bus, b.db, b.store, noop.NewMeterProvider().Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) logFrame(from, n int) *telemetrypb.LogFrame {
	group := &telemetrypb.LogGroup{Service: "test"}
	for i := from; i < from+n; i++ {
		at := uint64(b.at.Add(time.Duration(i) * time.Millisecond).UnixNano())
		group.Records = append(group.Records, &telemetrypb.LogRecord{Time: at, ObservedTime: at, Severity: 9, Body: fmt.Sprintf("record %d", i)})
	}
	return &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{ProjectId: project, ReceivedAt: uint64(b.at.UnixNano()), Groups: []*telemetrypb.LogGroup{group}}}}
}

func (b *bench) publish(s bus.Signal, frame proto.Message) {
	b.t.Helper()
	data, err := proto.Marshal(frame)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.bus.Publish(b.t.Context(), s, project, "", data); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) scope() telemetry.Scope {
	b.t.Helper()
	scope, err := telemetry.NewScope(project, b.at.Add(-time.Hour), b.at.Add(time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	return scope
}

func (b *bench) countLogs() int64 {
	b.t.Helper()
	h, err := b.store.LogHistogram(b.t.Context(), b.scope(), telemetry.LogFilter{})
	if err != nil {
		b.t.Fatal(err)
	}
	return h.Total
}

// awaitDone waits until the writer has finished everything up to the newest message.
func (b *bench) awaitDone(s bus.Signal) {
	b.t.Helper()
	backlog, err := b.bus.Backlog(b.t.Context(), s)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for {
		c, err := b.db.ReadCursor(ctx, string(s), writer.Reader)
		if err != nil {
			b.t.Fatal(err)
		}
		if c.Done && c.Last >= backlog.LastSeq {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("the cursor stands at %+v, the stream at %d", c, backlog.LastSeq)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestEveryMessageIsStoredOnceOverRestarts(t *testing.T) {
	b := newBench(t)
	const messages, rows = 60, 5
	for i := range messages {
		b.publish(bus.Logs, b.logFrame(i*rows, rows))
		if i%15 == 0 {
			b.start()() // a writer that is stopped wherever it happens to be
		}
	}
	stop := b.start()
	defer stop()
	b.awaitDone(bus.Logs)
	if n := b.countLogs(); n != messages*rows {
		t.Fatalf("%d rows, want %d", n, messages*rows)
	}
}

func TestTwoWritersStoreOnce(t *testing.T) {
	b := newBench(t)
	defer b.start()()
	defer b.start()()
	const messages, rows = 80, 5
	for i := range messages {
		b.publish(bus.Logs, b.logFrame(i*rows, rows))
	}
	b.awaitDone(bus.Logs)
	if n := b.countLogs(); n != messages*rows {
		t.Fatalf("%d rows, want %d", n, messages*rows)
	}
}

// TestBatchThatWasInsertedButNotFinishedIsNotStoredAgain is a crash between insert and mark: the
// plan and the rows of another life are there, the mark is not.
func TestBatchThatWasInsertedButNotFinishedIsNotStoredAgain(t *testing.T) {
	b := newBench(t)
	for i := range 6 {
		b.publish(bus.Logs, b.logFrame(i*5, 5))
	}
	origin, err := b.bus.Origin(t.Context(), bus.Logs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.db.PlanBatch(t.Context(), catalog.Cursor{Stream: string(bus.Logs), Reader: writer.Reader}, origin, 1, 4); err != nil {
		t.Fatal(err)
	}
	block := telemetry.NewLogBlock()
	for i := range 4 {
		frame, err := proto.Marshal(b.logFrame(i*5, 5))
		if err != nil {
			t.Fatal(err)
		}
		if err := block.Add(uint64(i+1), 0, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.store.InsertLogs(t.Context(), fmt.Sprintf("logs-%d-1-4", origin), block); err != nil {
		t.Fatal(err)
	}
	defer b.start()()
	b.awaitDone(bus.Logs)
	if n := b.countLogs(); n != 30 {
		t.Fatalf("%d rows, want 30", n)
	}
}

// TestAResolvedIssueRegressesByTheEventsThatAreLater is what the writer makes of the releases of one issue
// that come in one batch, before and after it was resolved.
func TestAResolvedIssueRegressesByTheEventsThatAreLater(t *testing.T) {
	b := newBench(t)
	send := func(issue uint64, release string, seconds int) *telemetrypb.ErrorEvent {
		at := uint64(b.at.Add(time.Duration(seconds) * time.Second).UnixNano())
		return &telemetrypb.ErrorEvent{
			ProjectId: project, ReceivedAt: at, Time: at, EventId: []byte(fmt.Sprintf("event %d %07d", issue, seconds)), IssueId: issue, Title: "boom", Release: release,
		}
	}
	status := func() string {
		issues, err := b.db.Issues(t.Context(), project, []uint64{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for id := uint64(1); id <= 2; id++ {
			i := issues[id]
			all = append(all, fmt.Sprintf("%s %d %q", i.Status(), i.Count, i.RegressedRelease))
		}
		return strings.Join(all, ", ")
	}
	store := func(events ...*telemetrypb.ErrorEvent) {
		b.publish(bus.Errors, &telemetrypb.ErrorFrame{Events: events})
		stop := b.start()
		b.awaitDone(bus.Errors)
		stop()
	}
	store(send(1, "1.0", -60), send(2, "1.0", -60), send(2, "1.1", -50))
	if _, err := b.db.ResolveIssues(t.Context(), project, []uint64{1, 2}, catalog.Resolution{At: b.at, Release: "1.1"}); err != nil {
		t.Fatal(err)
	}
	store(send(1, "1.0", 10), send(1, "1.1", -5), send(2, "1.0", 20))
	if got, want := status(), `resolved 3 "", resolved 3 ""`; got != want {
		t.Errorf("after late events and those of an old release: %s, want %s", got, want)
	}
	store(send(1, "1.2", 30), send(1, "1.0", 40), send(2, "1.0", 50))
	if got, want := status(), `regressed 5 "1.2", resolved 4 ""`; got != want {
		t.Errorf("after an event of a newer release: %s, want %s", got, want)
	}
}

func TestIssuesCountEachEventOnce(t *testing.T) {
	b := newBench(t)
	const events = 40
	for i := range events {
		b.publish(bus.Errors, &telemetrypb.ErrorFrame{Events: []*telemetrypb.ErrorEvent{{
			ProjectId: project, ReceivedAt: uint64(b.at.UnixNano()), Time: uint64(b.at.Add(time.Duration(i) * time.Second).UnixNano()),
			EventId: []byte(fmt.Sprintf("event %010d", i)), IssueId: uint64(1 + i%2), Level: "error",
			Title: "boom", Type: "Error", Value: strings.Repeat("x", i), Release: fmt.Sprintf("r%02d", i),
		}}})
		if i%10 == 0 {
			b.start()()
		}
	}
	stop := b.start()
	defer stop()
	b.awaitDone(bus.Errors)
	issues, err := b.db.Issues(t.Context(), project, []uint64{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	for id := uint64(1); id <= 2; id++ {
		issue := issues[id]
		if issue.Count != events/2 {
			t.Errorf("issue %d counts %d events, want %d", id, issue.Count, events/2)
		}
		first, last := fmt.Sprintf("r%02d", id-1), fmt.Sprintf("r%02d", events-3+int(id))
		if issue.FirstRelease != first || issue.LastRelease != last {
			t.Errorf("issue %d was seen from %s to %s, want %s to %s", id, issue.FirstRelease, issue.LastRelease, first, last)
		}
	}
}
