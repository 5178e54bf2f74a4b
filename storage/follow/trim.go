package follow

import (
	"context"
	"fmt"
	"math"
	"time"
)

const trimInterval = 5 * time.Second

// KeepTrimmed lets the bus forget, every few seconds until ctx ends, what this reader and the others
// that are named have done. It has a clock of its own, whatever the batches do: a stream that is full
// brings no messages, and a store that is down finishes no batch.
func (f *Follower) KeepTrimmed(ctx context.Context, others ...string) error {
	readers := append([]string{f.cfg.Reader}, others...)
	for warned := false; pause(ctx, trimInterval); {
		err := f.trim(ctx, readers)
		if err != nil && ctx.Err() == nil && !warned {
			f.log.Warn("stream not trimmed", "err", err)
		}
		warned = err != nil
	}
	return nil
}

// trim lets the bus forget what the slowest reader has done. One that has not been anywhere in this
// life of the stream still wants all of it.
func (f *Follower) trim(ctx context.Context, readers []string) error {
	origin, err := f.bus.Origin(ctx, f.cfg.Signal)
	if err != nil {
		return err
	}
	done := uint64(math.MaxUint64)
	for _, reader := range readers {
		cursor, err := f.db.ReadCursor(ctx, string(f.cfg.Signal), reader)
		if err != nil {
			return fmt.Errorf("read the cursor of %s: %w", reader, err)
		}
		switch {
		case cursor.Origin != origin || cursor.First == 0:
			return nil
		case cursor.Done:
			done = min(done, cursor.Last)
		default:
			done = min(done, cursor.First-1)
		}
	}
	if done == 0 {
		return nil
	}
	return f.bus.Trim(ctx, f.cfg.Signal, done)
}
