package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/engine"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// TestTokensOutliveTheServer ends an engine of its own, in two ways, between the repetitions of an
// insert. The store is the same all the time: its connections are dead after each end.
func TestTokensOutliveTheServer(t *testing.T) {
	t.Parallel()
	if os.Getenv("MIDWATCH_TEST_CLICKHOUSE_URL") != "" {
		t.Skip("a server that is not ours cannot be restarted")
	}
	library, binary, err := engine.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(engine.Config{Library: library, Server: binary, Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop := func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	ready, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	if err := e.Ready(ready); err != nil {
		t.Fatal(err)
	}
	restart := func(signal syscall.Signal) {
		t.Helper()
		old := e.PID()
		if err := syscall.Kill(old, signal); err != nil {
			t.Fatal(err)
		}
		for e.PID() == old || e.PID() == 0 {
			if ready.Err() != nil {
				t.Fatal("the engine was not started again")
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := e.Ready(ready); err != nil {
			t.Fatal(err)
		}
	}

	s, err := telemetry.Open(t.Context(), e.URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := telemetry.NewLogBlock()
	for i := range 5 {
		addLogs(t, b, uint64(i), logFrame(1, "api", &telemetrypb.LogRecord{Time: at(-time.Duration(i) * 24 * time.Hour), Body: fmt.Sprint(i)}))
	}
	m := telemetry.NewMetricBlock()
	addMetrics(t, m, metricFrame(1, series("m", gauge, 1, nil, sample(0, 1), sample(-24*time.Hour, 2))))
	insert := func() {
		t.Helper()
		if err := s.InsertLogs(t.Context(), "token", b); err != nil {
			t.Fatal(err)
		}
		if err := s.InsertMetrics(t.Context(), "token", m); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		sc := scope(t, 1, -10*24*time.Hour, time.Hour)
		diff(t, "bodies", []string{"0", "1", "2", "3", "4"}, bodies(logs(t, s, sc, telemetry.LogFilter{})))
		r, err := s.MetricRange(t.Context(), sc, telemetry.RangeQuery{Metric: "m"})
		if err != nil {
			t.Fatal(err)
		}
		if r.SamplesRead != 2 {
			t.Errorf("%d samples, want 2", r.SamplesRead)
		}
	}
	insert()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		check()
		restart(signal)
		check() // over a connection that was alive before
		insert()
	}
	check()
	stop()
	if err := s.InsertLogs(t.Context(), "token", b); !telemetry.Retryable(err) {
		t.Errorf("InsertLogs while the server is down: %v, want a retryable error", err)
	}
}
