package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readAheadBytes bounds what a reader holds in memory before it is asked for it.
	readAheadBytes = 8 << 20
	// maxRemembered bounds the ids that a reader knows; it is reached only by floods of tiny frames.
	maxRemembered = 1 << 20
	// leastRemembered is how many of the newest ids a reader knows beyond the window, for up to
	// longestRemembered. While a stream is full no others come, but clients go on repeating what was
	// stored in part or without their knowledge.
	leastRemembered   = 1 << 16
	longestRemembered = time.Hour
)

// Message is what was accepted together: the frames of one message of the stream, without those
// that are repetitions, so that there may be none. It belongs to the receiver.
type Message struct {
	Seq  uint64
	Time time.Time
	// Size is how many bytes the message has, and so the memory that its frames hold, repetitions
	// included.
	Size   int
	Frames []Frame
}

// Frame is what one publisher gave to Publish.
type Frame struct {
	// Offset is where the frame begins in its message as that was published. It names the frame
	// in every reading, whatever else of the message is a repetition.
	Offset int
	Data   []byte
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
	spans    []span // of the newest message; kept for its memory
}

// Read starts behind the sequence after; 0 reads from the oldest message. The caller stops the
// reader.
func (b *Bus) Read(ctx context.Context, s Signal, after uint64) (*Reader, error) {
	r := &Reader{signal: s, last: after, seen: newMemory(b.cfg.DuplicateWindow, longestRemembered, leastRemembered, maxRemembered)}
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
	return b.learn(ctx, r, start)
}

// learn notes the ids of the messages from start up to where the reader starts.
func (b *Bus) learn(ctx context.Context, r *Reader, start jetstream.OrderedConsumerConfig) error {
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
		size, err := strconv.Atoi(msg.Headers().Get(nats.MsgSize))
		if err != nil {
			return fmt.Errorf("message %d is without its size: %w", meta.Sequence.Stream, err)
		}
		if meta.Sequence.Stream > r.last {
			return nil // the rest was trimmed meanwhile; this one is still to be read, and no repetition of itself
		}
		for _, one := range r.parts(msg.Headers(), size) {
			r.seen.repeats(one.id, meta.Timestamp)
		}
		if meta.Sequence.Stream == r.last {
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
		return r.message(seq, meta.Timestamp, msg.Headers(), msg.Data()), nil
	}
}

// message takes a message apart.
func (r *Reader) message(seq uint64, at time.Time, header nats.Header, data []byte) Message {
	m := Message{Seq: seq, Time: at, Size: len(data)}
	parts := r.parts(header, len(data))
	from := 0
	for _, one := range parts {
		if !r.seen.repeats(one.id, at) {
			if m.Frames == nil {
				m.Frames = make([]Frame, 0, len(parts))
			}
			// The capacity ends with the frame: who appends to one does not write into the next.
			m.Frames = append(m.Frames, Frame{from, data[from : from+one.length : from+one.length]})
		}
		from += one.length
	}
	return m
}

// parts returns the frames of a message of size bytes, until it is called again. Where somebody
// else wrote into the stream the header does not fit, and the whole is one frame that nothing
// repeats: who decodes it will say what it is.
func (r *Reader) parts(header nats.Header, size int) []span {
	var err error
	if r.spans, err = appendSpans(r.spans[:0], header, size); err != nil {
		r.spans = append(r.spans[:0], span{length: size})
	}
	return r.spans
}

// Stop ends the reader.
func (r *Reader) Stop() { r.messages.Stop() }

// memory knows which ids were met within a window of time, and the newest ones for longer.
type memory struct {
	window  time.Duration
	longest time.Duration // for which the least newest ids are known
	least   int
	limit   int          // ids that are known at most
	last    map[id]int64 // when an id was met last, in nanoseconds since 1970
	order   []met        // oldest first; an id that was met again stands in it twice
}

type met struct {
	id id
	at int64
}

func newMemory(window, longest time.Duration, least, limit int) *memory {
	return &memory{window: window, longest: max(longest, window), least: least, limit: limit, last: map[id]int64{}}
}

// repeats reports whether the id was met within the window before at or lately, and notes that it was met.
func (m *memory) repeats(one id, at time.Time) bool {
	if one == (id{}) {
		return false
	}
	now := at.UnixNano()
	begin, longest := now-int64(m.window), now-int64(m.longest)
	old := 0
	for old < len(m.order) && (m.order[old].at < longest || m.order[old].at < begin && len(m.order)-old > m.least || len(m.order)-old >= m.limit) {
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
