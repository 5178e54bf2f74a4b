package evaluate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

// maxMarks bounds how many looks at a stream are remembered, one a second: a writer that is further
// behind than the oldest of them is as far behind as that.
const maxMarks = 2 * 3600

// Watermark knows up to which time everything that was accepted can be read. What the bus held at one
// look is readable once the writer has passed it; so the watermark of a signal is the newest look whose
// last message the writer has done. Before the first look it is zero.
//
// What is accepted reaches the bus before it is acknowledged, so a look misses nothing that a sender
// may count on.
type Watermark struct {
	bus    *bus.Bus
	db     *catalog.DB
	reader string

	mu    sync.Mutex
	marks map[bus.Signal][]mark
	at    map[bus.Signal]time.Time
}

// mark is a look at a stream.
type mark struct {
	at     time.Time
	origin int64
	last   uint64
}

// NewWatermark follows the writer, which keeps its places under the name reader.
func NewWatermark(b *bus.Bus, db *catalog.DB, reader string) *Watermark {
	return &Watermark{bus: b, db: db, reader: reader, marks: map[bus.Signal][]mark{}, at: map[bus.Signal]time.Time{}}
}

// Look moves the watermark of a signal on. now is the time before which everything that is on the bus
// now was accepted.
func (w *Watermark) Look(ctx context.Context, s bus.Signal, now time.Time) error {
	backlog, err := w.bus.Backlog(ctx, s)
	if err != nil {
		return err
	}
	origin, err := w.bus.Origin(ctx, s)
	if err != nil {
		return err
	}
	cursor, err := w.db.ReadCursor(ctx, string(s), w.reader)
	if err != nil {
		return fmt.Errorf("read the cursor of the %s: %w", s, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	marks := w.marks[s]
	if len(marks) > 0 && marks[0].origin != origin {
		marks = nil
	}
	marks = append(marks, mark{now, origin, backlog.LastSeq})
	done := uint64(0)
	switch {
	case cursor.Origin != origin:
	case cursor.Done:
		done = cursor.Last
	case cursor.First > 0:
		done = cursor.First - 1
	}
	passed := 0
	for passed < len(marks) && marks[passed].last <= done {
		passed++
	}
	if passed > 0 {
		w.at[s] = marks[passed-1].at
		marks = slices.Delete(marks, 0, passed)
	}
	if len(marks) > maxMarks {
		marks = slices.Delete(marks, maxMarks/2, maxMarks/2+1) // coarser, never wrong
	}
	w.marks[s] = marks
	return nil
}

// At is the watermark of what rules of a source read.
func (w *Watermark) At(s rule.Source) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[signalOf(s)]
}

func signalOf(s rule.Source) bus.Signal {
	switch s {
	case rule.Logs:
		return bus.Logs
	case rule.Errors:
		return bus.Errors
	}
	return bus.Metrics
}
