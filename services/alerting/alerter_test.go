package alerting

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) {
	code := storagetest.Main(m)
	engine := len(os.Args) > 1 && os.Args[1] == "engine"
	if err := goleak.Find(); !engine && code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	stOK    = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
	stError = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
	stStart = telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS
)

// noon is when the tests play: it is in the past, so that nothing that they send is from the future.
var noon = time.Date(2026, time.March, 3, 12, 0, 0, 0, time.UTC)

func newAlerter(t testing.TB, b *bus.Bus, db *catalog.DB) *Alerter {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	a, err := New(b, db, desk.New(desk.Config{}, db, log), noop.NewMeterProvider().Meter(""), log)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// run runs the loop that reads until stop is called. Time passes only where a test says so.
func (a *Alerter) run(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.follow(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("follow: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func checkin(slug string, status telemetrypb.CheckinStatus, at time.Time) *telemetrypb.Checkin {
	ns := uint64(at.UnixNano())
	return &telemetrypb.Checkin{ProjectId: 1, Slug: slug, Status: status, Time: ns, ReceivedAt: ns, Source: "ping"}
}

func publish(t testing.TB, b *bus.Bus, checkins ...*telemetrypb.Checkin) {
	t.Helper()
	frame, err := proto.Marshal(&telemetrypb.CheckinFrame{Checkins: checkins})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), bus.Checkins, 1, "", frame); err != nil {
		t.Fatal(err)
	}
}

func (a *Alerter) await(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		ok, err := a.caughtUp(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the check-ins are not read after 30 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func get(t testing.TB, db *catalog.DB, slug string) catalog.Monitor {
	t.Helper()
	m, err := db.Monitor(t.Context(), 1, slug)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheckinsMakeMonitors(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		b, db := storagetest.Bus(t), storagetest.OpenCatalog(t, cfg)
		a := newAlerter(t, b, db)
		a.run(t)

		created := checkin("created", stOK, noon)
		created.Create = true
		described := checkin("described", stStart, noon)
		described.RunId = slices.Repeat([]byte{7}, 16)
		described.Config = &telemetrypb.MonitorConfig{ScheduleKind: "crontab", Schedule: "30 2 * * *", Timezone: "Europe/Berlin", FailureThreshold: 2}
		bad := checkin("badly-described", stError, noon)
		bad.Config = &telemetrypb.MonitorConfig{ScheduleKind: "crontab", Schedule: "0 0 31 2 *"}
		publish(t, b, created, described, bad, checkin("unknown", stOK, noon))
		publish(t, b, &telemetrypb.Checkin{}, checkin("", stOK, noon))
		if err := b.Publish(t.Context(), bus.Checkins, 1, "", []byte("no frame")); err != nil {
			t.Fatal(err)
		}
		a.await(t)

		monitors, err := db.Monitors(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		want := []catalog.Monitor{
			{
				Project: 1, Slug: "badly-described", Name: "badly-described", CreatedAt: noon,
				Schedule: catalog.Schedule{Kind: "none", FailAfter: 1, RecoverAfter: 1},
				State:    catalog.MonitorState{Status: "failed", Since: noon, LastCheckinAt: noon, Bad: 1},
			},
			{
				Project: 1, Slug: "created", Name: "created", CreatedAt: noon,
				Schedule: catalog.Schedule{Kind: "none", FailAfter: 1, RecoverAfter: 1},
				State:    catalog.MonitorState{Status: "ok", Since: noon, LastCheckinAt: noon},
			},
			{
				Project: 1, Slug: "described", Name: "described", CreatedAt: noon,
				Schedule: catalog.Schedule{
					Kind: "crontab", Value: "30 2 * * *", Timezone: "Europe/Berlin",
					Margin: 30 * time.Minute, MaxRuntime: 30 * time.Minute, FailAfter: 2, RecoverAfter: 1,
				},
				State: catalog.MonitorState{
					Status: "running", Since: noon, LastCheckinAt: noon, LastStartAt: noon,
					NextExpectedAt: time.Date(2026, time.March, 4, 1, 30, 0, 0, time.UTC), DueAt: noon.Add(30 * time.Minute),
				},
			},
		}
		if diff := cmp.Diff(want, monitors, cmpopts.IgnoreFields(catalog.Monitor{}, "UUID"), cmpopts.IgnoreFields(catalog.MonitorState{}, "Runs")); diff != "" {
			t.Errorf("monitors (-want +got):\n%s", diff)
		}

		// The end of the run comes in another batch, with another schedule.
		ended := checkin("described", stOK, noon.Add(time.Minute))
		ended.RunId = described.RunId
		ended.Config = &telemetrypb.MonitorConfig{ScheduleKind: "interval", Schedule: "3600", MarginSeconds: 300, MaxRuntimeSeconds: 60}
		publish(t, b, ended)
		a.await(t)
		m := get(t, db, "described")
		if m.State.Status != "ok" || m.State.LastDuration != time.Minute || !m.State.NextExpectedAt.Equal(noon.Add(61*time.Minute)) {
			t.Errorf("state after the run: %+v", m.State)
		}
		if want := (catalog.Schedule{Kind: "interval", Value: "3600", Margin: 5 * time.Minute, MaxRuntime: time.Minute, FailAfter: 1, RecoverAfter: 1}); m.Schedule != want {
			t.Errorf("schedule is %+v, want %+v", m.Schedule, want)
		}
	})
}

// TestEndOfTheFirstRunOvertakesItsStart is what Sentry's clients do: only the start describes the
// monitor, and it comes last.
func TestEndOfTheFirstRunOvertakesItsStart(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{true, false} {
		for _, end := range []telemetrypb.CheckinStatus{stOK, stError} {
			b, db := storagetest.Bus(t), storagetest.Catalog(t)
			a := newAlerter(t, b, db)
			a.run(t)
			id := slices.Repeat([]byte{9}, 16)
			ended := checkin("nightly", end, noon.Add(10*time.Millisecond))
			ended.RunId, ended.ReceivedAt = id, uint64(noon.Add(20*time.Millisecond).UnixNano())
			other := checkin("another", stOK, noon)
			other.RunId = id
			started := checkin("nightly", stStart, noon)
			started.RunId, started.ReceivedAt = id, uint64(noon.Add(30*time.Millisecond).UnixNano())
			started.Config = &telemetrypb.MonitorConfig{ScheduleKind: "interval", Schedule: "3600", MaxRuntimeSeconds: 60}
			if together {
				publish(t, b, ended, other, started)
			} else {
				publish(t, b, ended, other)
				a.await(t)
				publish(t, b, started)
			}
			a.await(t)
			want := "ok"
			if end == stError {
				want = "failed"
			}
			m := get(t, db, "nightly")
			if m.State.Status != want || m.State.LastDuration != 10*time.Millisecond || !m.State.LastStartAt.IsZero() {
				t.Errorf("together %t: %+v, want %s", together, m.State, want)
			}
			if _, err := db.Monitor(t.Context(), 1, "another"); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("the end of a run made a monitor: %v", err)
			}
		}
	}
}

func TestEarlyEndsAreBounded(t *testing.T) {
	t.Parallel()
	var e early
	n := name{1, "job"}
	for i := range 2 * maxEarly {
		c := checkin("job", stOK, noon.Add(time.Duration(i)*time.Millisecond))
		c.RunId = binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i))
		e.keep(n, c)
	}
	e.keep(n, checkin("job", stOK, noon)) // names no run
	start := checkin("job", stStart, noon)
	start.RunId = e[0].checkin.GetRunId()
	if len(e) != maxEarly || e.take(name{2, "job"}, start) != nil || e.take(n, start) == nil || e.take(n, start) != nil {
		t.Errorf("%d are kept", len(e))
	}
	late := checkin("job", stOK, noon.Add(2*earlyFor))
	late.RunId = start.RunId
	if e.keep(n, late); len(e) != 1 || e.take(n, start) != nil {
		t.Errorf("old ones are kept: %d", len(e))
	}
}

func TestMonitorsAreBounded(t *testing.T) {
	t.Parallel()
	b, db := storagetest.Bus(t), storagetest.Catalog(t)
	a := newAlerter(t, b, db)
	a.run(t)
	var all []*telemetrypb.Checkin
	for i := range catalog.MaxMonitors + 20 {
		c := checkin(fmt.Sprintf("job-%04d", i), stOK, noon)
		c.Create = true
		all = append(all, c)
	}
	publish(t, b, all...)
	a.await(t)
	monitors, err := db.Monitors(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(monitors) != catalog.MaxMonitors {
		t.Errorf("%d monitors, want %d", len(monitors), catalog.MaxMonitors)
	}
}

// countFailures publishes n failures one by one: the monitor's streak then counts how often each of
// them was applied.
func publishFailures(t testing.TB, b *bus.Bus, n int) { publishFailuresFrom(t, b, 0, n) }

func publishFailuresFrom(t testing.TB, b *bus.Bus, first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		c := checkin("job", stError, noon.Add(time.Duration(i)*time.Second))
		c.Create = true
		publish(t, b, c)
	}
}

func TestEachCheckinCountsOnceAcrossRestarts(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		b, db := storagetest.Bus(t), storagetest.OpenCatalog(t, cfg)
		const lives, perLife = 12, 15
		for life := range lives {
			publishFailuresFrom(t, b, life*perLife, perLife)
			// Each life ends somewhere: while it connects, reads, plans or commits.
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(400*time.Millisecond))
			a := newAlerter(t, b, db)
			if err := a.follow(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
		a := newAlerter(t, b, db)
		a.run(t)
		a.await(t)
		const n = lives * perLife
		if m := get(t, db, "job"); m.State.Bad != n || m.State.Status != "failed" {
			t.Errorf("%d failures were counted as %d, status %s", n, m.State.Bad, m.State.Status)
		}
	})
}

func TestEachCheckinCountsOnceWithTwoReplicas(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		b := storagetest.Bus(t)
		first := newAlerter(t, b, storagetest.OpenCatalog(t, cfg))
		second := newAlerter(t, b, storagetest.OpenCatalog(t, cfg))
		first.run(t)
		second.run(t)
		const n = 200
		publishFailures(t, b, n)
		first.await(t)
		if m := get(t, first.db, "job"); m.State.Bad != n {
			t.Errorf("%d failures were counted as %d", n, m.State.Bad)
		}
	})
}

func TestUnfinishedBatchIsTakenUp(t *testing.T) {
	t.Parallel()
	b, db := storagetest.Bus(t), storagetest.Catalog(t)
	publishFailures(t, b, 10)
	origin, err := b.Origin(t.Context(), bus.Checkins)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.PlanBatch(t.Context(), catalog.Cursor{Stream: "checkins", Reader: Reader}, origin, 1, 4); err != nil {
		t.Fatal(err)
	}
	a := newAlerter(t, b, db)
	if ok, err := a.caughtUp(t.Context()); err != nil || ok {
		t.Fatalf("caughtUp = %v, %v before anything was read", ok, err)
	}
	a.run(t)
	a.await(t)
	if m := get(t, db, "job"); m.State.Bad != 10 {
		t.Errorf("10 failures were counted as %d", m.State.Bad)
	}
}

func TestUnfinishedBatchThatIsGone(t *testing.T) {
	t.Parallel()
	b, db := storagetest.Bus(t), storagetest.Catalog(t)
	publishFailures(t, b, 10)
	// A batch reaches further than the stream does: the rest of it was never stored.
	origin, err := b.Origin(t.Context(), bus.Checkins)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.PlanBatch(t.Context(), catalog.Cursor{Stream: "checkins", Reader: Reader}, origin, 5, 12); err != nil {
		t.Fatal(err)
	}
	a := newAlerter(t, b, db)
	a.run(t)
	a.await(t)
	if m := get(t, db, "job"); m.State.Bad != 6 {
		t.Errorf("6 failures were counted as %d", m.State.Bad)
	}
}

func TestNewStreamIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{"done": true, "unfinished": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, db := storagetest.Bus(t), storagetest.Catalog(t)
			const anotherOrigin = 42
			cursor, err := db.PlanBatch(t.Context(), catalog.Cursor{Stream: "checkins", Reader: Reader}, anotherOrigin, 900, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if done {
				if _, err := db.FinishBatch(t.Context(), cursor, nil); err != nil {
					t.Fatal(err)
				}
			}
			publishFailures(t, b, 5)
			a := newAlerter(t, b, db)
			a.run(t)
			a.await(t)
			if m := get(t, db, "job"); m.State.Bad != 5 {
				t.Errorf("5 failures were counted as %d", m.State.Bad)
			}
		})
	}
}

func TestTimePasses(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		b := storagetest.Bus(t)
		first := newAlerter(t, b, storagetest.OpenCatalog(t, cfg))
		second := newAlerter(t, b, storagetest.OpenCatalog(t, cfg))
		first.run(t)
		const n = 230 // more than one transaction takes
		var all []*telemetrypb.Checkin
		for i := range n {
			c := checkin(fmt.Sprintf("job-%03d", i), stOK, noon)
			c.Config = &telemetrypb.MonitorConfig{ScheduleKind: "interval", Schedule: "600", MarginSeconds: 120}
			all = append(all, c)
		}
		publish(t, b, all...)
		first.await(t)

		// Both replicas let time pass at once, again and again.
		pass := func(now time.Time) {
			t.Helper()
			var group sync.WaitGroup
			for _, a := range []*Alerter{first, second} {
				group.Go(func() {
					if err := a.pass(t.Context(), now); err != nil {
						t.Errorf("pass: %v", err)
					}
				})
			}
			group.Wait()
		}
		check := func(now time.Time, status string, bad int) {
			t.Helper()
			pass(now)
			monitors, err := first.db.Monitors(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(monitors) != n {
				t.Fatalf("%d monitors, want %d", len(monitors), n)
			}
			for _, m := range monitors {
				if m.State.Status != status || m.State.Bad != bad {
					t.Fatalf("at %s %s is %s with %d missed, want %s with %d", now, m.Slug, m.State.Status, m.State.Bad, status, bad)
				}
			}
		}
		check(noon.Add(10*time.Minute-1), "ok", 0)
		check(noon.Add(10*time.Minute), "late", 0)
		check(noon.Add(12*time.Minute), "missed", 1)
		check(noon.Add(12*time.Minute), "missed", 1)
		check(noon.Add(22*time.Minute), "missed", 2)
	})
}

// TestTimeStandsStill is vector C7: check-ins that wait on the bus are not missed.
func TestTimeStandsStill(t *testing.T) {
	t.Parallel()
	b, db := storagetest.Bus(t), storagetest.Catalog(t)
	a := newAlerter(t, b, db)
	stop := a.run(t)
	// Due since long: as soon as time may pass, it is missed.
	c := checkin("job", stOK, noon)
	c.Config = &telemetrypb.MonitorConfig{ScheduleKind: "interval", Schedule: "600"}
	publish(t, b, c)
	a.await(t)
	stop()
	publish(t, b, checkin("job", stOK, noon.Add(10*time.Minute)))
	if ok, err := a.caughtUp(t.Context()); err != nil || ok {
		t.Fatalf("caughtUp = %v, %v while a check-in waits", ok, err)
	}
	a.run(t)
	a.await(t)
	if m := get(t, db, "job"); m.State.Status != "ok" || !m.State.NextExpectedAt.Equal(noon.Add(20*time.Minute)) {
		t.Errorf("state after catching up: %+v", m.State)
	}
}

// TestRun has the clock run for real.
func TestRun(t *testing.T) {
	t.Parallel()
	b, db := storagetest.Bus(t), storagetest.Catalog(t)
	a := newAlerter(t, b, db)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	c := checkin("job", stOK, time.Now().Add(-time.Hour))
	c.Config = &telemetrypb.MonitorConfig{ScheduleKind: "interval", Schedule: "60"}
	publish(t, b, c)
	deadline := time.Now().Add(30 * time.Second)
	for {
		if m, err := db.Monitor(t.Context(), 1, "job"); err == nil && m.State.Status == "missed" && m.State.DueAt.After(time.Now().Add(-settle-2*tickInterval)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not missed after 30 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestUnreadableScheduleStopsNothing(t *testing.T) {
	t.Parallel()
	b, db := storagetest.Bus(t), storagetest.Catalog(t)
	due := noon.Add(-time.Hour)
	for _, m := range []catalog.Monitor{
		{Project: 1, Slug: "abolished", Schedule: catalog.Schedule{Kind: "crontab", Value: "* * * * *", Timezone: "Atlantis/Capital"}},
		{Project: 1, Slug: "sound", Schedule: catalog.Schedule{Kind: "crontab", Value: "* * * * *"}},
	} {
		m.State = catalog.MonitorState{Status: "ok", LastCheckinAt: due, NextExpectedAt: due, DueAt: due}
		if _, err := db.CreateMonitor(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	a := newAlerter(t, b, db)
	if err := a.pass(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	if m := get(t, db, "abolished"); m.State.Status != "ok" || !m.State.DueAt.IsZero() {
		t.Errorf("state without a schedule that can be read: %+v", m.State)
	}
	if m := get(t, db, "sound"); m.State.Status != "missed" {
		t.Errorf("state of the sound one: %+v", m.State)
	}
}

func TestScheduleOfRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*telemetrypb.MonitorConfig{
		"kind":      {ScheduleKind: "solar", Schedule: "1"},
		"zone":      {ScheduleKind: "crontab", Schedule: "* * * * *", Timezone: "Mars/Olympus"},
		"interval":  {ScheduleKind: "interval", Schedule: "1"},
		"margin":    {ScheduleKind: "interval", Schedule: "60", MarginSeconds: 4_000_000_000},
		"runtime":   {ScheduleKind: "interval", Schedule: "60", MaxRuntimeSeconds: 4_000_000_000},
		"threshold": {ScheduleKind: "interval", Schedule: "60", FailureThreshold: 4_000_000_000},
	} {
		if got, err := scheduleOf(c); err == nil {
			t.Errorf("%s: scheduleOf = %+v, want an error", name, got)
		}
	}
}

func TestNotesAreRare(t *testing.T) {
	t.Parallel()
	var n notes
	job := name{1, "job"}
	if !n.first(job, noon) || n.first(job, noon.Add(59*time.Minute)) || !n.first(job, noon.Add(time.Hour)) {
		t.Error("a note is not made once an hour")
	}
	for i := range 3 * maxNotes {
		n.first(name{2, fmt.Sprint(i)}, noon)
	}
	if len(n.at) > maxNotes {
		t.Errorf("%d notes are kept", len(n.at))
	}
}
