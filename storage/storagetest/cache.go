package storagetest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/midwatch/midwatch/storage/cache"
)

const (
	// redisVariable names a Redis server that tests use instead of the embedded one.
	redisVariable = "MIDWATCH_TEST_REDIS_URL"
	// defaultRedisURL is the one that Caches uses beside the embedded one when it answers.
	defaultRedisURL = "redis://127.0.0.1:6379/0"
)

// Cache returns a cache of the test's own: in this process, or on the server that
// MIDWATCH_TEST_REDIS_URL names. Time passes in it.
func Cache(t testing.TB) *cache.Cache {
	t.Helper()
	return OpenCache(t, CacheConfig(t))
}

// CacheConfig says where a cache of the test's own is.
func CacheConfig(t testing.TB) cache.Config {
	t.Helper()
	if url := os.Getenv(redisVariable); url != "" {
		cfg, err := redisConfig(t, url)
		if err != nil {
			t.Fatalf("%s: %v", redisVariable, err)
		}
		return cfg
	}
	return cache.Config{}
}

// Caches runs f as a subtest for each kind of server: the embedded one, and Redis where it
// answers; only the server that MIDWATCH_TEST_REDIS_URL names when there is one.
func Caches(t *testing.T, f func(t *testing.T, cfg cache.Config)) {
	t.Helper()
	named := os.Getenv(redisVariable) != ""
	if !named {
		t.Run("embedded", func(t *testing.T) {
			t.Parallel()
			f(t, cache.Config{})
		})
	}
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		if named {
			f(t, CacheConfig(t))
			return
		}
		cfg, err := redisConfig(t, defaultRedisURL)
		if err != nil {
			t.Skipf("NOT TESTED ON REDIS: no server answers at 127.0.0.1:6379: %v", err)
		}
		f(t, cfg)
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

// redisConfig names keys that no other test has. They are removed after the test.
func redisConfig(t testing.TB, url string) (cache.Config, error) {
	t.Helper()
	cfg := cache.Config{URL: url, Prefix: "test:" + rand.Text() + ":"}
	c, err := cache.Open(t.Context(), cfg)
	if err != nil {
		return cache.Config{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(c.Ping(ctx), c.Close()); err != nil {
		return cache.Config{}, err
	}
	t.Cleanup(func() {
		if err := removeKeys(cfg); err != nil {
			t.Errorf("remove the keys of the test: %v", err)
		}
	})
	return cfg, nil
}

func removeKeys(cfg cache.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	options, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return errors.New("the URL of Redis is none")
	}
	options.Protocol = 2
	options.DisableIdentity = true
	client := redis.NewClient(options)
	defer client.Close()
	keys := client.Scan(ctx, 0, cfg.Prefix+"*", 1000).Iterator()
	for keys.Next(ctx) {
		if err := client.Del(ctx, keys.Val()).Err(); err != nil {
			return err
		}
	}
	return keys.Err()
}
