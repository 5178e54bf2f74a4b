// Package cache shares what processes must agree on quickly and may lose: how often somebody may
// do something, and how much a project has sent. It lives in Redis, or inside the process.
package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	dialTimeout    = 2 * time.Second
	commandTimeout = time.Second

	// clockStep is how often the embedded server ages its keys.
	clockStep = time.Second
	// maxEmbeddedKeys is how many keys the embedded server may hold: some 40 MB. When there are
	// more it forgets all of them, which is what callers must expect of Redis, too.
	maxEmbeddedKeys = 200_000
)

// Config says where the cache is.
type Config struct {
	// URL of a Redis server (redis://… or rediss://…), or empty for one in this process.
	URL string
	// Prefix is put before the names of all keys, so that several can share a server.
	Prefix string
}

// Cache is a connection to Redis. It is safe for concurrent use.
type Cache struct {
	client   *redis.Client
	embedded *miniredis.Miniredis // nil when Redis is elsewhere
	prefix   string
}

// Open prepares the connection. A server that does not answer is no error: what is in it can be lost at
// any time, so callers go on without it, and Ping tells.
func Open(_ context.Context, cfg Config) (*Cache, error) {
	c := &Cache{prefix: cfg.Prefix}
	options := &redis.Options{Addr: "embedded"}
	if cfg.URL != "" {
		var err error
		if options, err = redis.ParseURL(cfg.URL); err != nil {
			return nil, errors.New("open cache: the URL of Redis must have the form redis://user:password@host:port/database") // the cause may show the password
		}
	} else {
		c.embedded = miniredis.NewMiniRedis()
		options.Dialer = func(context.Context, string, string) (net.Conn, error) {
			conn, err := c.embedded.Dial()
			if err != nil {
				return nil, err
			}
			return newEagerConn(conn), nil
		}
	}
	// The client's own lines on standard error say again what its callers are told.
	logging.Disable()
	options.ClientName = "midwatch"
	options.Protocol = 2 // the only one that everything which calls itself Redis speaks
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	options.ContextTimeoutEnabled = true
	options.DialTimeout = dialTimeout
	options.ReadTimeout = commandTimeout
	options.WriteTimeout = commandTimeout
	options.PoolTimeout = commandTimeout
	options.MaxRetries = -1 // counting is not to be done twice
	options.DialerRetries = 1
	c.client = redis.NewClient(options)
	return c, nil
}

// Ping reports whether Redis answers.
func (c *Cache) Ping(ctx context.Context) error {
	if err := c.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping the cache: %w", err)
	}
	return nil
}

// Run keeps time for the embedded server until ctx ends; keys do not expire there without it.
func (c *Cache) Run(ctx context.Context) error {
	if c.embedded == nil {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(clockStep)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			c.embedded.FastForward(now.Sub(last))
			last = now
			if n, err := c.client.DBSize(ctx).Result(); err == nil && n > maxEmbeddedKeys {
				c.embedded.FlushAll()
			}
		}
	}
}

// Close ends the connections, and the embedded server with all that it knows.
func (c *Cache) Close() error {
	err := c.client.Close()
	if c.embedded != nil {
		c.embedded.Close()
	}
	return err
}

// Allow counts one more attempt under key and reports whether it is within limit attempts in a
// window of length per, which begins with the first attempt. When it is not, retryAfter is what is
// left of the window. Attempts that were refused count, but do not make the window longer. On an
// error the answer is no, and whether to go on without one is up to the caller.
//
// The window is fixed: around its end twice the limit can pass in less than per. In return an
// attempt costs one round trip of three plain commands, and no clock but Redis' matters.
func (c *Cache) Allow(ctx context.Context, key string, limit int, per time.Duration) (ok bool, retryAfter time.Duration, err error) {
	if limit < 1 || per < time.Millisecond {
		return false, per, nil
	}
	key = c.prefix + "allow:" + key
	tx := c.client.TxPipeline()
	tx.SetNX(ctx, key, 0, per)
	count := tx.Incr(ctx, key) // keeps the end of the window
	left := tx.PTTL(ctx, key)
	if _, err := tx.Exec(ctx); err != nil {
		return false, 0, fmt.Errorf("count an attempt: %w", err)
	}
	if count.Val() <= int64(limit) {
		return true, 0, nil
	}
	return false, max(left.Val(), time.Millisecond), nil
}

// Forget makes the attempts under key undone.
func (c *Cache) Forget(ctx context.Context, key string) error {
	if err := c.client.Del(ctx, c.prefix+"allow:"+key).Err(); err != nil {
		return fmt.Errorf("forget attempts: %w", err)
	}
	return nil
}
