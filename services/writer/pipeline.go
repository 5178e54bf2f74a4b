package writer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/follow"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// pipeline stores the batches of one signal.
//
// A batch that ClickHouse refuses for good is narrowed down to the frames that it refuses:
//
//   - A batch of several messages is handed back (follow.ErrRefused), and half of it comes as a
//     batch of its own, with a token of its own. That is written down in SQL before it is tried, so
//     that after a crash the larger batch is never tried again.
//   - A message is halved by its frames, each piece with a token made from the message's and the
//     offset of its first frame and of the frame behind its last. After a crash the message comes
//     again, with the same frames at the same offsets, and is halved in the same places: pieces
//     that were stored are recognised by their tokens, the others are stored now, and the dead
//     letters have the ids that they had. For this a verdict must stay what it was between the
//     crash and the repetition: if ClickHouse took the whole now (since its tables were altered
//     meanwhile), the pieces that it took before would be there twice. At most that one message
//     is.
//
// Both rest on a refused insert storing nothing at all. That is so: it is one block, which is
// checked as a whole before any of it is written, and no table feeds a view that could fail later.
// A table remembers the newest 1000 tokens, each as often as it touches days. A message brings at most
// 512 pieces that are stored between others that are not.
type pipeline struct {
	*Writer
	sink   *sink
	signal metric.MeasurementOption

	undecoded []deadFrame // of the batch
	refused   []deadFrame // by ClickHouse, of the batch
	stored    int         // rows of the batch
}

// deadFrame is a frame that cannot be stored.
type deadFrame struct {
	message bus.Message
	frame   bus.Frame
	reason  error
}

func newPipeline(w *Writer, s *sink) *pipeline {
	return &pipeline{Writer: w, sink: s, signal: metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", string(s.signal))))}
}

// Begin is follow's.
func (p *pipeline) Begin() {
	p.sink.reset()
	p.undecoded, p.refused, p.stored = nil, nil, 0
}

// Add decodes a message.
func (p *pipeline) Add(m bus.Message) (full bool) {
	for _, f := range m.Frames {
		if err := p.sink.add(m.Seq, f.Offset, f.Data); err != nil {
			p.undecoded = append(p.undecoded, deadFrame{m, f, err})
		}
	}
	return p.sink.rows() >= p.cfg.MaxRows || p.sink.bytes() >= p.cfg.MaxBytes
}

// Store inserts what was added, and puts aside what cannot be stored once it is clear that the batch
// will not come again in another size.
func (p *pipeline) Store(ctx context.Context, b follow.Batch) error {
	p.refused, p.stored = nil, 0
	err := p.insert(ctx, b.Token())
	if p.isRefusal(ctx, err) {
		if len(b.Messages) > 1 {
			return fmt.Errorf("%w: %w", follow.ErrRefused, err)
		}
		err = p.narrow(ctx, b.Token(), b.Messages[0], err)
	}
	if err != nil {
		return err
	}
	for _, d := range slices.Concat(p.undecoded, p.refused) {
		p.log.Error("frame cannot be stored", "signal", p.sink.signal, "seq", d.message.Seq, "offset", d.frame.Offset, "err", d.reason)
		if err := p.bus.Dead(ctx, p.sink.signal, d.message, d.frame, d.reason.Error()); err != nil {
			return err
		}
	}
	return nil
}

// Commit makes the sink's changes in SQL.
func (p *pipeline) Commit(ctx context.Context, tx *catalog.Tx) error { return p.sink.apply(ctx, tx) }

// Done counts.
func (p *pipeline) Done(ctx context.Context, b follow.Batch) {
	p.rows.Add(ctx, int64(p.stored), p.signal)
	if n := len(p.undecoded) + len(p.refused); n > 0 {
		p.dead.Add(ctx, int64(n), p.signal)
	}
	if n := b.Lost(); n > 0 {
		p.lost.Add(ctx, int64(n), p.signal)
	}
}

// isRefusal reports whether an insert failed for good.
func (p *pipeline) isRefusal(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !telemetry.Retryable(err)
}

// narrow stores those frames of a refused message that are not refused themselves. Afterwards the
// sink holds them, for the changes in SQL.
func (p *pipeline) narrow(ctx context.Context, token string, m bus.Message, refusal error) error {
	kept, err := p.halve(ctx, token, m, m.Frames, refusal, nil)
	if err != nil {
		return err
	}
	p.fill(m, kept)
	return nil
}

// halve tries both halves of frames of m that were refused together, and appends to kept those that
// were stored. Where the halves lie depends on the message alone: frames that cannot be decoded take
// part, and bring no rows.
func (p *pipeline) halve(ctx context.Context, token string, m bus.Message, frames []bus.Frame, refusal error, kept []bus.Frame) ([]bus.Frame, error) {
	if len(frames) == 1 {
		p.refused = append(p.refused, deadFrame{m, frames[0], refusal})
		return kept, nil
	}
	middle := len(frames) / 2
	for _, half := range [...][]bus.Frame{frames[:middle], frames[middle:]} {
		p.fill(m, half)
		last := half[len(half)-1]
		err := p.insert(ctx, fmt.Sprintf("%s-%d-%d", token, half[0].Offset, last.Offset+len(last.Data)))
		switch {
		case err == nil:
			kept = append(kept, half...)
		case !p.isRefusal(ctx, err):
			return nil, err
		default:
			if kept, err = p.halve(ctx, token, m, half, err, kept); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

// fill has the sink hold some frames of a message. Those that cannot be decoded were noted by Add.
func (p *pipeline) fill(m bus.Message, frames []bus.Frame) {
	p.sink.reset()
	for _, f := range frames {
		_ = p.sink.add(m.Seq, f.Offset, f.Data)
	}
}

// insert tries until ClickHouse has the rows of the sink, refuses them, or ctx ends.
func (p *pipeline) insert(ctx context.Context, token string) error {
	if p.sink.rows() == 0 {
		return nil
	}
	for backoff := (follow.Backoff{}); ; {
		began := time.Now()
		err := p.sink.insert(ctx, token)
		if err == nil {
			p.stored += p.sink.rows()
			p.insertion.Record(ctx, time.Since(began).Seconds(), p.signal)
			return nil
		}
		if ctx.Err() != nil || !telemetry.Retryable(err) {
			return err
		}
		p.log.Warn("insert will be tried again", "signal", p.sink.signal, "batch_id", token, "rows", p.sink.rows(), "err", err)
		if !backoff.Wait(ctx) {
			return ctx.Err()
		}
	}
}
