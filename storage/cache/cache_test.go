package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onBoth runs f on a cache of each kind.
func onBoth(t *testing.T, f func(t *testing.T, c *cache.Cache)) {
	t.Helper()
	t.Parallel()
	storagetest.Caches(t, func(t *testing.T, cfg cache.Config) {
		c := storagetest.OpenCache(t, cfg)
		t.Cleanup(func() {
			if err := c.Clear(context.Background()); err != nil {
				t.Errorf("clear the cache: %v", err)
			}
		})
		f(t, c)
	})
}

func TestAllow(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cache.Cache) {
		f := func(key string, limit int, per time.Duration, want bool) {
			t.Helper()
			ok, after, err := c.Allow(t.Context(), key, limit, per)
			if err != nil || ok != want {
				t.Fatalf("Allow(%s, %d) = %v, %v; want %v", key, limit, ok, err, want)
			}
			if ok && after != 0 || !ok && (after <= 0 || after > per) {
				t.Errorf("Allow(%s, %d) = %v, retry after %s of %s", key, limit, ok, after, per)
			}
		}
		for range 3 {
			f("ann", 3, time.Minute, true)
		}
		f("ann", 3, time.Minute, false)
		f("ann", 3, time.Minute, false)
		f("bob", 3, time.Minute, true)
		f("nobody", 0, time.Minute, false)
		f("ann", 100, time.Minute, true)
		for range 2 { // the second time there is nothing to forget
			if err := c.Forget(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
		}
		f("ann", 1, time.Minute, true)
		f("ann", 1, time.Minute, false)
	})
}

func TestAllowIsExactUnderRaces(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cache.Cache) {
		const callers, limit = 50, 20
		var allowed atomic.Int64
		var wg sync.WaitGroup
		errs := make([]error, callers)
		for i := range callers {
			wg.Go(func() {
				ok, _, err := c.Allow(t.Context(), "door", limit, time.Minute)
				if ok {
					allowed.Add(1)
				}
				errs[i] = err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil || allowed.Load() != limit {
			t.Fatalf("%d of %d were allowed, %v; want %d", allowed.Load(), callers, err, limit)
		}
	})
}

func TestAllowWindowEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := storagetest.OpenCache(t, cache.Config{})
		allow := func(want bool) time.Duration {
			t.Helper()
			ok, after, err := c.Allow(t.Context(), "ann", 1, time.Minute)
			if err != nil || ok != want {
				t.Fatalf("Allow = %v, %v; want %v", ok, err, want)
			}
			return after
		}
		allow(true)
		time.Sleep(20500 * time.Millisecond)
		if after := allow(false); after != 40*time.Second {
			t.Errorf("retry after %s, want 40s", after)
		}
		time.Sleep(30 * time.Second)
		allow(false) // refusals do not make the window longer
		time.Sleep(10 * time.Second)
		allow(true)
		allow(false)
	})
}

// The real server's clock must end windows, too, without anybody driving it.
func TestAllowWindowEndsOnRedis(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cache.Cache) {
		deadline := time.Now().Add(30 * time.Second)
		for n := 0; time.Now().Before(deadline); n++ {
			ok, after, err := c.Allow(t.Context(), "ann", 1, 300*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if ok && n > 0 {
				return
			}
			time.Sleep(after)
		}
		t.Fatal("the window never ended")
	})
}

func TestAllowWithoutRedis(t *testing.T) {
	t.Parallel()
	c := storagetest.OpenCache(t, cache.Config{URL: "redis://127.0.0.1:1/0"})
	if ok, _, err := c.Allow(t.Context(), "ann", 1, time.Minute); ok || err == nil {
		t.Errorf("Allow without Redis = %v, %v; want an error", ok, err)
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("Ping without Redis succeeded")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://127.0.0.1", "redis://user:secret@127.0.0.1:port", "127.0.0.1:6379"} {
		c, err := cache.Open(t.Context(), cache.Config{URL: url})
		if err == nil {
			c.Close()
			t.Errorf("Open(%q) succeeded", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestEmbeddedCacheIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := storagetest.OpenCache(t, cache.Config{})
		if err := c.Fill(func(yield func(string) bool) {
			for i := range cache.MaxEmbeddedKeys + 1 {
				if !yield(fmt.Sprint(i)) {
					return
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if n, err := c.Keys(t.Context()); err != nil || n != 0 {
			t.Errorf("keys = %d, %v; want none", n, err)
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	c := storagetest.Cache(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Allow(b.Context(), "ann", 5, time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}
