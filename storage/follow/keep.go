package follow

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// soundAfter is how long a loop has to run to start over soon again.
	soundAfter = time.Minute
	// conflictPause is how long a replica steps back that finds another one at work.
	conflictPause = time.Second
)

// Keep runs a loop until ctx ends, and starts it over when it fails, with pauses between failures.
// A loop that fails with catalog.ErrConflict has met another replica that does its work.
func Keep(ctx context.Context, log *slog.Logger, loop func(context.Context) error) error {
	var backoff Backoff
	for {
		began := time.Now()
		err := loop(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > soundAfter {
			backoff = Backoff{}
		}
		if errors.Is(err, catalog.ErrConflict) {
			log.Debug("another replica is at work")
			pause(ctx, conflictPause)
			continue
		}
		log.Warn("interrupted, will be taken up again", "err", err)
		backoff.Wait(ctx)
	}
}

// Backoff spaces attempts that fail: 100 ms after the first, then twice as long each time, up to
// 10 s. The zero value is ready.
type Backoff struct{ last time.Duration }

// Wait waits for the next attempt; false when ctx ended.
func (b *Backoff) Wait(ctx context.Context) bool {
	b.last = min(max(2*b.last, firstBackoff), maxBackoff)
	return pause(ctx, b.last)
}

// pause waits with some jitter, so that replicas do not move in step; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
