package storagetest

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/cache"
)

// defaultRedisURL is the Redis server that tests use when it answers and MIDWATCH_TEST_REDIS_URL
// names no other.
const defaultRedisURL = "redis://127.0.0.1:6379/0"

// Cache returns a cache of the test's own, in this process. Time passes in it.
func Cache(t testing.TB) *cache.Cache {
	t.Helper()
	return OpenCache(t, cache.Config{})
}

// Caches runs f as a subtest for each kind of server: the embedded one always, Redis where it
// answers. A server that MIDWATCH_TEST_REDIS_URL names must answer.
func Caches(t *testing.T, f func(t *testing.T, cfg cache.Config)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		f(t, cache.Config{})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, redisConfig(t))
	})
}

// OpenCache opens a cache and keeps its clock going until the end of the test.
func OpenCache(t testing.TB, cfg cache.Config) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open the cache: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run the cache: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("close the cache: %v", err)
		}
	})
	return c
}

// redisConfig names keys that no other test has. They expire some day.
func redisConfig(t testing.TB) cache.Config {
	t.Helper()
	cfg := cache.Config{URL: os.Getenv("MIDWATCH_TEST_REDIS_URL"), Prefix: "test:" + rand.Text() + ":"}
	required := cfg.URL != ""
	if !required {
		cfg.URL = defaultRedisURL
	}
	c, err := cache.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open the cache: %v", err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		if required {
			t.Fatalf("MIDWATCH_TEST_REDIS_URL: %v", err)
		}
		t.Skipf("NOT TESTED ON REDIS: no server answers at 127.0.0.1:6379: %v", err)
	}
	return cfg
}
