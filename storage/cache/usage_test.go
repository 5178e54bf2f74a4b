package cache_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/storagetest"
)

var quiet = slog.New(slog.DiscardHandler)

// safeBuffer is a log that can be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// run runs u until the returned function is called.
func run(t *testing.T, u *cache.Usage) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestSpend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := cache.NewUsage(storagetest.OpenCache(t, cache.Config{}), map[string]int64{"logs": 100, "errors": 0}, quiet)
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute + 45*time.Second)))
		f := func(project uint32, signal string, n int64, want bool) {
			t.Helper()
			after, ok := u.Spend(project, signal, n)
			if ok != want {
				t.Fatalf("Spend(%d, %s, %d) = %v, want %v", project, signal, n, ok, want)
			}
			if ok && after != 0 || !ok && after != 15*time.Second {
				t.Errorf("Spend(%d, %s, %d) = retry after %s", project, signal, n, after)
			}
		}
		f(1, "logs", 60, true)
		f(1, "logs", 41, false)
		f(1, "logs", 40, true)
		f(1, "logs", 1, false)
		f(1, "logs", 0, true)
		f(1, "logs", -5, true)
		f(2, "logs", 1000, true) // the first of a minute
		f(2, "logs", 1, false)
		f(1, "errors", 1<<40, true)
		f(1, "errors", 1, true)
		f(1, "unheard of", 1<<40, true)
		time.Sleep(15 * time.Second)
		f(1, "logs", 100, true)
	})
}

func TestUsageIsSharedBetweenProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := storagetest.OpenCache(t, cache.Config{})
		limits := map[string]int64{"logs": 100}
		one, two := cache.NewUsage(c, limits, quiet), cache.NewUsage(c, limits, quiet)
		time.Sleep(time.Until(time.Now().Truncate(24 * time.Hour).Add(24*time.Hour - 90*time.Second)))
		stopOne := run(t, one)
		run(t, two)
		spend := func(u *cache.Usage, n int64, want bool) {
			t.Helper()
			if _, ok := u.Spend(1, "logs", n); ok != want {
				t.Fatalf("Spend(%d) = %v, want %v", n, ok, want)
			}
		}
		minute := func(ago time.Duration, want int64) {
			t.Helper()
			if got, err := one.Minute(t.Context(), 1, "logs", time.Now().Add(-ago)); err != nil || got != want {
				t.Fatalf("Minute = %d, %v; want %d", got, err, want)
			}
		}
		day := func(at time.Time, want int64) {
			t.Helper()
			if got, err := two.Day(t.Context(), 1, "logs", at); err != nil || got != want {
				t.Fatalf("Day = %d, %v; want %d", got, err, want)
			}
		}
		today := time.Now()
		spend(one, 70, true)
		spend(two, 20, true)
		time.Sleep(2500 * time.Millisecond)
		minute(0, 90)
		spend(two, 20, false)
		spend(two, 10, true)
		time.Sleep(2 * time.Second)
		spend(one, 1, false)
		minute(0, 100)
		day(today, 100)

		time.Sleep(time.Minute) // the last minute of the day
		spend(one, 50, true)
		time.Sleep(time.Until(today.Truncate(24 * time.Hour).Add(24*time.Hour - time.Millisecond)))
		spend(two, 50, true)
		time.Sleep(time.Millisecond) // midnight: what was just counted has not been handed over
		spend(two, 7, true)
		time.Sleep(2500 * time.Millisecond)
		minute(time.Minute, 100)
		minute(0, 7)
		day(today, 200)
		day(time.Now(), 7)

		spend(one, 3, true)
		stopOne() // hands over what there is
		day(time.Now(), 10)

		time.Sleep(8 * time.Minute)
		minute(8*time.Minute, 10)
		time.Sleep(4 * time.Minute)
		minute(12*time.Minute, 0)
		day(time.Now(), 10)
		if n := two.Counters(); n != 0 {
			t.Errorf("%d counters are kept of projects that send nothing", n)
		}
		spend(two, 100, true)
	})
}

func TestUsageExchange(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cache.Cache) {
		one, two := cache.NewUsage(c, map[string]int64{"logs": 1000}, quiet), cache.NewUsage(c, map[string]int64{"logs": 1000}, quiet)
		const projects = 700 // more than one pipeline takes
		now := time.Now()
		for project := range uint32(projects) {
			one.Spend(project, "logs", 300)
			two.Spend(project, "logs", 600)
			two.Spend(project, "metrics", 5)
		}
		for range 2 { // the second time there is nothing new
			for _, u := range []*cache.Usage{one, two, one} {
				if err := u.Exchange(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, project := range []uint32{0, projects - 1} {
			for signal, want := range map[string]int64{"logs": 900, "metrics": 5} {
				if got, err := one.Day(t.Context(), project, signal, now); err != nil || got != want {
					t.Errorf("Day(%d, %s) = %d, %v; want %d", project, signal, got, err, want)
				}
			}
			if now.Truncate(time.Minute) != time.Now().Truncate(time.Minute) {
				continue // a new minute knows nothing of the old one
			}
			if _, ok := one.Spend(project, "logs", 101); ok {
				t.Errorf("project %d may send 1001 of 1000", project)
			}
			if _, ok := one.Spend(project, "logs", 100); !ok {
				t.Errorf("project %d may not send 1000 of 1000", project)
			}
		}
	})
}

func TestUsageGoesOnWithoutRedis(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close() // nobody answers there
	var out safeBuffer
	c := storagetest.OpenCache(t, cache.Config{URL: "redis://" + address})
	u := cache.NewUsage(c, map[string]int64{"logs": 10}, slog.New(slog.NewTextHandler(&out, nil)))
	stop := run(t, u)
	for range 5 {
		if _, ok := u.Spend(1, "metrics", 1_000_000); !ok {
			t.Fatal("what has no limit was refused")
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(out.String(), "level=WARN") {
		if time.Now().After(deadline) {
			t.Fatal("nobody was told that Redis is lost")
		}
		time.Sleep(20 * time.Millisecond)
	}
	for range 3 {
		if err := u.Exchange(t.Context()); err == nil {
			t.Fatal("Exchange without Redis succeeded")
		}
	}
	stop()
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines were logged, want 1:\n%s", lines, out.String())
	}
}

func TestSpendDoesNotAllocate(t *testing.T) {
	u := cache.NewUsage(storagetest.Cache(t), map[string]int64{"logs": 1 << 40}, quiet)
	signal := string([]byte("logs"))
	u.Spend(1, signal, 1)
	if n := testing.AllocsPerRun(1000, func() { u.Spend(1, signal, 10) }); n != 0 {
		t.Errorf("Spend allocates %v times, want 0", n)
	}
}

func BenchmarkSpend(b *testing.B) {
	u := cache.NewUsage(storagetest.Cache(b), map[string]int64{"logs": 1 << 60}, quiet)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u.Spend(1, "logs", 10)
		}
	})
}
