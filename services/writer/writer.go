// Package writer moves telemetry from the bus into ClickHouse, each message exactly once.
//
// How: a batch is a range of sequences of one stream. Before it is inserted, the range is written
// down in SQL (a plan); the insert carries a deduplication token made from the range; after it,
// the plan is marked as done. Whoever finds an unfinished plan reads the same range again, which
// makes the same rows, and inserts it with the same token, which ClickHouse stores only if the
// first insert did not arrive. Plans are moved by compare and set, so that of two writers one
// loses and starts over. What belongs to a batch in SQL (the counts of issues) is changed in the
// transaction that marks the plan as done.
package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// Reader is the name under which the writer keeps its place in the streams.
const Reader = "writer"

// Config bounds a batch.
type Config struct {
	// MaxRows and MaxBytes end a batch; a single message may exceed them.
	MaxRows  int
	MaxBytes int
	// MaxAge is how long the first message of a batch waits for others.
	MaxAge time.Duration
}

const (
	trimInterval = 5 * time.Second
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// Writer runs one pipeline for each signal.
type Writer struct {
	cfg       Config
	bus       *bus.Bus
	db        *catalog.DB
	store     *telemetry.Store
	log       *slog.Logger
	rows      metric.Int64Counter
	dead      metric.Int64Counter
	insertion metric.Float64Histogram
}

// New makes a writer; Run starts it.
func New(cfg Config, b *bus.Bus, db *catalog.DB, store *telemetry.Store, meter metric.Meter, log *slog.Logger) (*Writer, error) {
	w := &Writer{cfg: cfg, bus: b, db: db, store: store, log: log}
	var errs [3]error
	w.rows, errs[0] = meter.Int64Counter("midwatch.writer.rows", metric.WithDescription("Rows stored"))
	w.dead, errs[1] = meter.Int64Counter("midwatch.writer.dead_messages", metric.WithDescription("Messages put aside because they cannot be stored"))
	w.insertion, errs[2] = meter.Float64Histogram("midwatch.writer.insert.duration", metric.WithUnit("s"), metric.WithDescription("Time of one insert that succeeded"))
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
		group.Go(func() error { return w.keep(ctx, s) })
		group.Go(func() error { return w.keepTrimmed(ctx, s) })
	}
	return group.Wait()
}

// keep runs one pipeline and starts it over when it fails.
func (w *Writer) keep(ctx context.Context, s *sink) error {
	backoff := firstBackoff
	for {
		began := time.Now()
		err := w.pipe(ctx, s)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, catalog.ErrConflict):
			w.log.Info("another writer is at work", "signal", s.signal)
		default:
			w.log.Warn("writing interrupted", "signal", s.signal, "err", err)
		}
		if time.Since(began) > time.Minute {
			backoff = firstBackoff
		}
		if !pause(ctx, backoff) {
			return nil
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// pipe takes up the stream where its cursor stands and goes on until something fails.
func (w *Writer) pipe(ctx context.Context, s *sink) error {
	origin, err := w.bus.Origin(ctx, s.signal)
	if err != nil {
		return err
	}
	cursor, err := w.db.ReadCursor(ctx, string(s.signal), Reader)
	if err != nil {
		return fmt.Errorf("read the cursor of %s: %w", s.signal, err)
	}
	if cursor.Origin != origin {
		// A new stream: its sequences start anew. The version stays, it guards the row.
		cursor.First, cursor.Last, cursor.Done = 0, 0, true
	}
	after := cursor.Last
	if !cursor.Done {
		after = cursor.First - 1
	}
	reader, err := w.bus.Read(ctx, s.signal, after)
	if err != nil {
		return err
	}
	defer reader.Stop()
	if !cursor.Done {
		if cursor, err = w.replay(ctx, s, reader, cursor); err != nil {
			return err
		}
	}
	for {
		batch, err := w.collect(ctx, s, reader)
		if err != nil {
			return err
		}
		cursor, err = w.db.PlanBatch(ctx, cursor, origin, batch[0].Seq, batch[len(batch)-1].Seq)
		if err != nil {
			return fmt.Errorf("plan a batch of %s: %w", s.signal, err)
		}
		if cursor, err = w.carryOut(ctx, s, cursor, batch); err != nil {
			return err
		}
	}
}

// replay carries out the plan that the cursor holds, from the same messages as the first time.
func (w *Writer) replay(ctx context.Context, s *sink, reader *bus.Reader, cursor catalog.Cursor) (catalog.Cursor, error) {
	backlog, err := w.bus.Backlog(ctx, s.signal)
	if err != nil {
		return cursor, err
	}
	var batch []bus.Message
	s.reset()
	for seq := max(cursor.First, backlog.FirstSeq); seq <= cursor.Last; {
		m, err := reader.Next(ctx)
		if err != nil {
			return cursor, err
		}
		if m.Seq > cursor.Last {
			return cursor, fmt.Errorf("replay %s %d to %d: the stream goes on at %d", s.signal, cursor.First, cursor.Last, m.Seq)
		}
		if err := w.add(ctx, s, m); err != nil {
			return cursor, err
		}
		batch = append(batch, m)
		seq = m.Seq + 1
	}
	w.log.Info("unfinished batch taken up", "signal", s.signal, "first", cursor.First, "last", cursor.Last, "messages", len(batch))
	return w.carryOut(ctx, s, cursor, batch)
}

// collect waits for messages and decodes them until they make a batch.
func (w *Writer) collect(ctx context.Context, s *sink, reader *bus.Reader) ([]bus.Message, error) {
	s.reset()
	first, err := reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	batch := []bus.Message{first}
	if err := w.add(ctx, s, first); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, w.cfg.MaxAge)
	defer cancel()
	for s.rows() < w.cfg.MaxRows && s.bytes() < w.cfg.MaxBytes {
		m, err := reader.Next(waiting)
		if err != nil {
			if ctx.Err() == nil && waiting.Err() != nil {
				break
			}
			return nil, err
		}
		if err := w.add(ctx, s, m); err != nil {
			return nil, err
		}
		batch = append(batch, m)
	}
	return batch, nil
}

// add decodes a message into the sink; one that cannot be decoded is put aside.
func (w *Writer) add(ctx context.Context, s *sink, m bus.Message) error {
	if err := s.add(m.Seq, m.Data); err != nil {
		return w.putAside(ctx, s, m, err)
	}
	return nil
}

func (w *Writer) putAside(ctx context.Context, s *sink, m bus.Message, reason error) error {
	w.log.Error("message cannot be stored", "signal", s.signal, "seq", m.Seq, "err", reason)
	if err := w.bus.Dead(ctx, s.signal, m, reason.Error()); err != nil {
		return err
	}
	w.dead.Add(ctx, 1, metric.WithAttributes(attribute.String("signal", string(s.signal))))
	return nil
}

// carryOut inserts what the sink holds and marks the plan as done.
func (w *Writer) carryOut(ctx context.Context, s *sink, cursor catalog.Cursor, batch []bus.Message) (catalog.Cursor, error) {
	token := fmt.Sprintf("%s-%d-%d-%d", s.signal, cursor.Origin, cursor.First, cursor.Last)
	err := w.insert(ctx, s, token)
	if err != nil && ctx.Err() == nil && !telemetry.Retryable(err) {
		err = w.insertEach(ctx, s, token, batch)
	}
	if err != nil {
		return cursor, err
	}
	next, err := w.db.FinishBatch(ctx, cursor, func(tx *catalog.Tx) error { return s.apply(ctx, tx) })
	if err != nil {
		return cursor, fmt.Errorf("finish the batch %s: %w", token, err)
	}
	return next, nil
}

// insertEach is for a batch that ClickHouse refuses for good: each message has its own try, and
// those that are refused again are put aside. Afterwards the sink holds the messages that were
// stored, for the changes in SQL.
func (w *Writer) insertEach(ctx context.Context, s *sink, token string, batch []bus.Message) error {
	var stored []bus.Message
	for _, m := range batch {
		s.reset()
		if s.add(m.Seq, m.Data) != nil {
			continue // put aside when the batch was collected
		}
		err := w.insert(ctx, s, fmt.Sprintf("%s-%d", token, m.Seq))
		switch {
		case err == nil:
			stored = append(stored, m)
		case ctx.Err() != nil || telemetry.Retryable(err):
			return err
		default:
			if err := w.putAside(ctx, s, m, err); err != nil {
				return err
			}
		}
	}
	s.reset()
	for _, m := range stored {
		if err := s.add(m.Seq, m.Data); err != nil {
			return fmt.Errorf("decode message %d again: %w", m.Seq, err)
		}
	}
	return nil
}

// insert tries until ClickHouse has the rows, refuses them, or ctx ends.
func (w *Writer) insert(ctx context.Context, s *sink, token string) error {
	if s.rows() == 0 {
		return nil
	}
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		began := time.Now()
		err := s.insert(ctx, token)
		if err == nil {
			signal := metric.WithAttributes(attribute.String("signal", string(s.signal)))
			w.rows.Add(ctx, int64(s.rows()), signal)
			w.insertion.Record(ctx, time.Since(began).Seconds(), signal)
			return nil
		}
		if ctx.Err() != nil || !telemetry.Retryable(err) {
			return err
		}
		w.log.Warn("insert will be tried again", "signal", s.signal, "batch_id", token, "rows", s.rows(), "err", err)
		if !pause(ctx, backoff) {
			return ctx.Err()
		}
	}
}

// keepTrimmed trims the stream every few seconds, whatever the pipeline does: a stream that is full
// brings no messages, and a ClickHouse that is down finishes no batch.
func (w *Writer) keepTrimmed(ctx context.Context, s *sink) error {
	for warned := false; pause(ctx, trimInterval); {
		err := w.trim(ctx, s)
		if err != nil && ctx.Err() == nil && !warned {
			w.log.Warn("stream not trimmed", "signal", s.signal, "err", err)
		}
		warned = err != nil
	}
	return nil
}

// trim lets the bus forget what every reader of the stream has done.
func (w *Writer) trim(ctx context.Context, s *sink) error {
	origin, err := w.bus.Origin(ctx, s.signal)
	if err != nil {
		return err
	}
	done := uint64(math.MaxUint64)
	for _, reader := range append([]string{Reader}, s.otherReaders...) {
		cursor, err := w.db.ReadCursor(ctx, string(s.signal), reader)
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
	return w.bus.Trim(ctx, s.signal, done)
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
