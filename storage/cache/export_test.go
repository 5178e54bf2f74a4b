package cache

import (
	"context"
	"errors"
)

// Exchange does once what Run does each second.
func (u *Usage) Exchange(ctx context.Context) error { return u.exchange(ctx) }

// Counters returns how many are kept.
func (u *Usage) Counters() int {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return len(u.counters)
}

// Keys returns how many keys the server holds.
func (c *Cache) Keys(ctx context.Context) (int64, error) { return c.client.DBSize(ctx).Result() }

// Fill writes n keys into the embedded server.
func (c *Cache) Fill(names func(yield func(string) bool)) error {
	for name := range names {
		if err := c.embedded.Set(name, ""); err != nil {
			return err
		}
	}
	return nil
}

// MaxEmbeddedKeys is the bound on Keys of the embedded server.
const MaxEmbeddedKeys = maxEmbeddedKeys

// Clear removes all keys of the cache's prefix.
func (c *Cache) Clear(ctx context.Context) error {
	keys := c.client.Scan(ctx, 0, c.prefix+"*", 1000).Iterator()
	pipe := c.client.Pipeline()
	for keys.Next(ctx) {
		pipe.Unlink(ctx, keys.Val())
	}
	_, err := pipe.Exec(ctx)
	return errors.Join(keys.Err(), err)
}
