package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readAheadBytes bounds what a reader holds in memory before it is asked for it.
	readAheadBytes = 8 << 20
	// maxRemembered bounds the ids that a reader knows; it is reached only by floods of tiny frames.
	maxRemembered = 1 << 20
	// leastRemembered is how many of the newest ids a reader knows however old they are. While a
	// stream is full no others come, but clients go on repeating what was stored in part or without
	// their knowledge.
	leastRemembered = 1 << 16
)

// Message is what was accepted, with repeated frames left out, so that Data may be empty. It is a
// frame. Data belongs to the receiver.
type Message struct {
	Seq  uint64
	Time time.Time
	Data []byte
}

// Reader reads one signal's stream in order. It is not safe for concurrent use.
//
// A frame is a repetition if a message before it, within the duplicate window by the stream's
// clock, holds one of the same id. That depends on nothing but the stream, so that a reader which
// starts over at a sequence sees the same messages there as the first time.
type Reader struct {
	signal   Signal
	messages jetstream.MessagesContext
	last     uint64
	seen     *memory
}

// Read starts behind the sequence after; 0 reads from the oldest message. The caller stops the
// reader.
func (b *Bus) Read(ctx context.Context, s Signal, after uint64) (*Reader, error) {
	r := &Reader{signal: s, last: after, seen: newMemory(b.cfg.DuplicateWindow, leastRemembered, maxRemembered)}
	if err := b.remember(ctx, r); err != nil {
		return nil, fmt.Errorf("read %s after %d: %w", s, after, err)
	}
	var err error
	r.messages, err = b.consume(ctx, s, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("read %s after %d: %w", s, after, err)
	}
	return r, nil
}

func (b *Bus) consume(ctx context.Context, s Signal, cfg jetstream.OrderedConsumerConfig) (jetstream.MessagesContext, error) {
	// A reader that cannot be set up again fails, so that its owner decides about another try: the
	// library's own tries have no end and heed no context.
	cfg.MaxResetAttempts = 3
	consumer, err := b.js.OrderedConsumer(ctx, b.stream(s), cfg)
	if err != nil {
		return nil, err
	}
	return consumer.Messages(jetstream.PullMaxBytes(readAheadBytes))
}

// remember learns the ids of the messages up to where the reader starts, from their headers.
func (b *Bus) remember(ctx context.Context, r *Reader) error {
	backlog, err := b.Backlog(ctx, r.signal)
	if err != nil {
		return err
	}
	if r.last == 0 || r.last < backlog.FirstSeq || r.last > backlog.LastSeq {
		return nil // nothing that was before it is still there
	}
	stream, err := b.js.Stream(ctx, b.stream(r.signal))
	if err != nil {
		return err
	}
	newest, err := stream.GetMsg(ctx, r.last)
	if err != nil {
		return fmt.Errorf("find message %d: %w", r.last, err)
	}
	// From the begin of the window, or as many messages back as ids are known at least.
	from := newest.Time.Add(-b.cfg.DuplicateWindow)
	start := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from, HeadersOnly: true}
	back := max(backlog.FirstSeq, r.last-min(r.last, leastRemembered)+1)
	oldest, err := stream.GetMsg(ctx, back)
	if err != nil {
		return fmt.Errorf("find message %d: %w", back, err)
	}
	if oldest.Time.Before(from) {
		start = jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: back, HeadersOnly: true}
	}
	messages, err := b.consume(ctx, r.signal, start)
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			continue
		}
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		parts, err := spans(msg.Headers(), -1)
		if err != nil {
			return fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
		}
		for _, one := range parts {
			r.seen.repeats(one.id, meta.Timestamp)
		}
		if meta.Sequence.Stream >= r.last {
			return nil
		}
	}
}

// Next waits for the next message until ctx ends. Sequences rise; a gap means that the stream
// no longer has what was there.
func (r *Reader) Next(ctx context.Context) (Message, error) {
	for {
		msg, err := r.messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return Message{}, ctx.Err()
			}
			if errors.Is(err, jetstream.ErrNoHeartbeat) {
				continue // the consumer is being set up again after a lost connection
			}
			return Message{}, fmt.Errorf("read %s after %d: %w", r.signal, r.last, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return Message{}, fmt.Errorf("read %s after %d: %w", r.signal, r.last, err)
		}
		seq := meta.Sequence.Stream
		if seq <= r.last {
			continue
		}
		r.last = seq
		data := msg.Data()
		parts, err := spans(msg.Headers(), len(data))
		if err != nil {
			// Somebody else wrote into the stream: who decodes the data will say so.
			parts = []span{{length: len(data)}}
		}
		return Message{Seq: seq, Time: meta.Timestamp, Data: r.keep(data, parts, meta.Timestamp)}, nil
	}
}

// keep moves the frames that are no repetitions together, in place.
func (r *Reader) keep(data []byte, parts []span, at time.Time) []byte {
	kept, from := 0, 0
	for _, one := range parts {
		if !r.seen.repeats(one.id, at) {
			if kept != from {
				copy(data[kept:], data[from:from+one.length])
			}
			kept += one.length
		}
		from += one.length
	}
	return data[:kept]
}

// Stop ends the reader.
func (r *Reader) Stop() { r.messages.Stop() }

// memory knows which ids were met within a window of time, and the newest ones without it.
type memory struct {
	window time.Duration
	least  int          // newest ids that are known in any case
	limit  int          // ids that are known at most
	last   map[id]int64 // when an id was met last, in nanoseconds since 1970
	order  []met        // oldest first; an id that was met again stands in it twice
}

type met struct {
	id id
	at int64
}

func newMemory(window time.Duration, least, limit int) *memory {
	return &memory{window: window, least: least, limit: limit, last: map[id]int64{}}
}

// repeats reports whether the id was met within the window before at or lately, and notes that it was met.
func (m *memory) repeats(one id, at time.Time) bool {
	if one == (id{}) {
		return false
	}
	now := at.UnixNano()
	begin := now - int64(m.window)
	old := 0
	for old < len(m.order) && (m.order[old].at < begin && len(m.order)-old > m.least || len(m.order)-old >= m.limit) {
		if gone := m.order[old]; m.last[gone.id] == gone.at {
			delete(m.last, gone.id)
		}
		old++
	}
	m.order = m.order[old:]
	_, known := m.last[one]
	m.last[one] = now
	m.order = append(m.order, met{one, now})
	return known
}
