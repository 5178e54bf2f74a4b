package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	exchangeEvery   = time.Second
	exchangeTimeout = 2 * time.Second
	// exchangeChunk is how many counters one pipeline exchanges.
	exchangeChunk = 500

	// How long Redis keeps counts: minutes for whoever looks what is going on, days for a month's
	// bill and the next one.
	keepMinutes = 10 * time.Minute
	keepDays    = 70 * 24 * time.Hour

	// idleAfter is how long a counter is kept that nobody spends from.
	idleAfter = 5 * time.Minute
)

// Usage counts what projects send, over all processes, and holds them to a limit a minute. Each
// process decides by what it has counted itself and by what the others had at the last exchange,
// so that together they can pass the limit by what arrives in about a second.
//
// Without Redis each process goes by its own counts alone. Every process writes its own counts as
// they stand, never a difference: nothing is counted twice when an answer gets lost, and a Redis
// that has lost its memory gets it back. What could not be handed over is kept for the current and
// the last minute and day.
type Usage struct {
	cache   *Cache
	process string // the name of this process among those that count
	limits  map[string]int64
	log     *slog.Logger

	mu       sync.RWMutex // guards the map; a counter is only removed under the write lock
	counters map[usageKey]*counter

	down bool // only for Run: whether Redis has been reported as lost
}

type usageKey struct {
	project uint32
	signal  string
}

// counter is what one project has sent of one signal to this process.
type counter struct {
	mu sync.Mutex
	windows
	// others is what the other processes had counted in this minute, as of the last exchange.
	others int64
}

// windows are the counts that may still have to be handed over.
type windows struct {
	minute, day, lastMinute, lastDay window
}

// window is a count, of which Redis has got a part.
type window struct {
	index       int64 // minutes or days since 1970
	count, told int64
}

// NewUsage returns counters over c. perMinute is how many records of a signal a project may send a
// minute; a signal that is not in it or has 0 is counted but not limited.
func NewUsage(c *Cache, perMinute map[string]int64, log *slog.Logger) *Usage {
	return &Usage{cache: c, process: rand.Text(), limits: maps.Clone(perMinute), log: log, counters: map[usageKey]*counter{}}
}

// Spend counts n records of a project, unless they would take it beyond its limit of this minute:
// then ok is false, nothing is counted, and retryAfter is what is left of the minute. What comes
// first in a minute passes however large it is, or it never would. Spend does no I/O.
func (u *Usage) Spend(project uint32, signal string, n int64) (retryAfter time.Duration, ok bool) {
	if n <= 0 {
		return 0, true
	}
	now := time.Now()
	key := usageKey{project, signal}
	limit := u.limits[signal]
	u.mu.RLock()
	if c := u.counters[key]; c != nil {
		defer u.mu.RUnlock()
		return c.spend(now, n, limit)
	}
	u.mu.RUnlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.counters[key]
	if c == nil {
		c = &counter{}
		u.counters[key] = c
	}
	return c.spend(now, n, limit)
}

func (c *counter) spend(now time.Time, n, limit int64) (retryAfter time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roll(now)
	if used := c.others + c.minute.count; limit > 0 && used > 0 && used+n > limit {
		return now.Truncate(time.Minute).Add(time.Minute).Sub(now), false
	}
	c.minute.count += n
	c.day.count += n
	return 0, true
}

// roll begins the minute and the day of now. The caller holds the lock.
func (c *counter) roll(now time.Time) {
	if minute := minuteOf(now); c.minute.index != minute {
		c.minute, c.lastMinute = window{index: minute}, c.minute
		c.others = 0
	}
	if day := dayOf(now); c.day.index != day {
		c.day, c.lastDay = window{index: day}, c.day
	}
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// Run exchanges counts with Redis each second until ctx ends, and once more then.
func (u *Usage) Run(ctx context.Context) error {
	ticker := time.NewTicker(exchangeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			u.exchangeAndReport(context.WithoutCancel(ctx))
			return nil
		case <-ticker.C:
			u.exchangeAndReport(ctx)
		}
	}
}

// exchangeAndReport says once that Redis is lost, and once that it is back.
func (u *Usage) exchangeAndReport(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, exchangeTimeout, errors.New("redis took too long"))
	defer cancel()
	err := u.exchange(ctx)
	switch {
	case err != nil && !u.down && !errors.Is(err, context.Canceled):
		u.down = true
		u.log.Warn("usage is counted by each process alone: redis does not answer", "err", err)
	case err == nil && u.down:
		u.down = false
		u.log.Info("usage is counted together again")
	}
}

// share is what one counter tells and is told in an exchange.
type share struct {
	key     usageKey
	counter *counter
	windows
	told []told
	all  *redis.MapStringStringCmd // what all have counted in the minute; nil where there is no limit
}

type told struct {
	window
	answer *redis.IntCmd
}

// exchange tells what was counted here and learns what others have counted.
func (u *Usage) exchange(ctx context.Context) error {
	shares := u.collect(time.Now())
	for chunk := range slices.Chunk(shares, exchangeChunk) {
		if err := u.tell(ctx, chunk); err != nil {
			return fmt.Errorf("exchange usage: %w", err)
		}
	}
	return nil
}

// collect notes what there is to exchange and forgets counters that are of no use any more.
func (u *Usage) collect(now time.Time) []share {
	var shares []share
	var idle []usageKey
	u.mu.RLock()
	for key, c := range u.counters {
		c.mu.Lock()
		s := share{key: key, counter: c, windows: c.windows}
		c.mu.Unlock()
		switch {
		case s.news() || s.minute.index == minuteOf(now) && u.limits[key.signal] > 0:
			shares = append(shares, s)
		case minuteOf(now)-s.minute.index > int64(idleAfter/time.Minute):
			idle = append(idle, key)
		}
	}
	u.mu.RUnlock()
	if len(idle) > 0 {
		u.forget(idle)
	}
	return shares
}

// news says whether there is anything that Redis does not know.
func (w *windows) news() bool {
	return w.minute.news() || w.day.news() || w.lastMinute.news() || w.lastDay.news()
}

func (w *window) news() bool { return w.count != w.told }

func (u *Usage) forget(keys []usageKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, key := range keys {
		if !u.counters[key].news() { // nobody came meanwhile
			delete(u.counters, key)
		}
	}
}

func (u *Usage) tell(ctx context.Context, shares []share) error {
	pipe := u.cache.client.Pipeline()
	for i := range shares {
		s := &shares[i]
		put := func(w window, key string, keep time.Duration) {
			if w.news() {
				s.told = append(s.told, told{w, pipe.HSet(ctx, key, u.process, w.count)})
				pipe.Expire(ctx, key, keep)
			}
		}
		put(s.lastMinute, u.minuteKey(s.key, s.lastMinute.index), keepMinutes)
		put(s.minute, u.minuteKey(s.key, s.minute.index), keepMinutes)
		put(s.lastDay, u.dayKey(s.key, s.lastDay.index), keepDays)
		put(s.day, u.dayKey(s.key, s.day.index), keepDays)
		if u.limits[s.key.signal] > 0 {
			s.all = pipe.HGetAll(ctx, u.minuteKey(s.key, s.minute.index))
		}
	}
	_, err := pipe.Exec(ctx)
	for i := range shares { // after an error, too: some may have been answered
		u.settle(&shares[i])
	}
	return err
}

// settle notes what Redis has got and what the others have counted.
func (u *Usage) settle(s *share) {
	c := s.counter
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range s.told {
		if t.answer.Err() != nil {
			continue
		}
		for _, w := range []*window{&c.minute, &c.lastMinute, &c.day, &c.lastDay} {
			if w.index == t.index { // it may have become the last one meanwhile, or be gone
				w.told = t.count
			}
		}
	}
	if s.all == nil || s.all.Err() != nil || c.minute.index != s.minute.index {
		return
	}
	c.others = 0
	for process, count := range s.all.Val() {
		if process != u.process {
			c.others += number(count)
		}
	}
}

// number is a count as it is stored; what is none counts nothing.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Day returns what all processes have counted on the day of t (UTC), as far as they have handed it
// over. Days are kept for 70 days.
func (u *Usage) Day(ctx context.Context, project uint32, signal string, t time.Time) (int64, error) {
	return u.read(ctx, u.dayKey(usageKey{project, signal}, dayOf(t)))
}

// Minute is Day for the minute of t. Minutes are kept for 10 minutes.
func (u *Usage) Minute(ctx context.Context, project uint32, signal string, t time.Time) (int64, error) {
	return u.read(ctx, u.minuteKey(usageKey{project, signal}, minuteOf(t)))
}

func (u *Usage) read(ctx context.Context, key string) (int64, error) {
	counts, err := u.cache.client.HVals(ctx, key).Result()
	if err != nil {
		return 0, fmt.Errorf("read usage: %w", err)
	}
	var total int64
	for _, count := range counts {
		total += number(count)
	}
	return total, nil
}

func (u *Usage) minuteKey(k usageKey, minute int64) string { return u.key(k, "", minute) }

func (u *Usage) dayKey(k usageKey, day int64) string { return u.key(k, "day:", day) }

func (u *Usage) key(k usageKey, kind string, index int64) string {
	return u.cache.prefix + "usage:" + strconv.FormatUint(uint64(k.project), 10) + ":" + k.signal + ":" + kind + strconv.FormatInt(index, 10)
}
