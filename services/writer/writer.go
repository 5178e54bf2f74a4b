// Package writer moves telemetry from the bus into ClickHouse, each frame exactly once.
//
// storage/follow hands it batches of messages, again where one was cut off. A batch is inserted
// under a deduplication token made from its range, which ClickHouse stores only if no insert with
// the same token arrived before. What belongs to a batch in SQL (the counts of issues) is changed in
// the transaction that marks it as done. A frame that cannot be stored is put aside on the bus,
// alone; see pipeline for how it is found.
package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/follow"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// Reader is the name under which the writer keeps its place in the streams.
const Reader = "writer"

// maxBatchMessages bounds what batches of tiny messages hold.
const maxBatchMessages = 10_000

// Config bounds a batch.
type Config struct {
	// MaxRows and MaxBytes end a batch; a single message may exceed them.
	MaxRows  int
	MaxBytes int
	// MaxAge is how long the first message of a batch waits for others.
	MaxAge time.Duration
}

// Writer runs one pipeline for each signal.
type Writer struct {
	cfg       Config
	bus       *bus.Bus
	db        *catalog.DB
	store     *telemetry.Store
	log       *slog.Logger
	rows      metric.Int64Counter
	dead      metric.Int64Counter
	lost      metric.Int64Counter
	insertion metric.Float64Histogram
}

// New makes a writer; Run starts it.
func New(cfg Config, b *bus.Bus, db *catalog.DB, store *telemetry.Store, meter metric.Meter, log *slog.Logger) (*Writer, error) {
	w := &Writer{cfg: cfg, bus: b, db: db, store: store, log: log}
	var errs [4]error
	w.rows, errs[0] = meter.Int64Counter("midwatch.writer.rows", metric.WithDescription("Rows stored"))
	w.dead, errs[1] = meter.Int64Counter("midwatch.writer.dead_frames", metric.WithDescription("Frames put aside because they cannot be stored"))
	w.lost, errs[2] = meter.Int64Counter("midwatch.writer.lost_messages", metric.WithDescription("Messages that were gone from the bus before they were stored"))
	w.insertion, errs[3] = meter.Float64Histogram("midwatch.writer.insert.duration", metric.WithUnit("s"), metric.WithDescription("Time of one insert that succeeded"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make writer metrics: %w", err)
	}
	return w, nil
}

// Run stores what arrives until ctx ends, which is its only reason to return. Faults of the bus,
// SQL or ClickHouse are waited out.
func (w *Writer) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range []*sink{w.logs(), w.metrics(), w.errors(), w.checkins()} {
		follower := follow.New(follow.Config{
			Signal: s.signal, Reader: Reader, MaxMessages: maxBatchMessages, MaxBytes: w.cfg.MaxBytes, MaxAge: w.cfg.MaxAge, Outside: true,
		}, w.bus, w.db, w.log)
		group.Go(func() error { return follower.Run(ctx, newPipeline(w, s)) })
		group.Go(func() error { return follower.KeepTrimmed(ctx, s.otherReaders...) })
	}
	return group.Wait()
}
