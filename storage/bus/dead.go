package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// MaxDeadLetters is how many DeadLetters returns at most.
	MaxDeadLetters = 1000

	// deadTimeout bounds one operation on the dead letters.
	deadTimeout = 30 * time.Second
	// maxReasonBytes is how much of a reason is kept.
	maxReasonBytes = 4 << 10
	// deadHeaderBytes is room for the header of a dead letter.
	deadHeaderBytes = maxReasonBytes + 1<<10
	// deadConsumerLife is how long the server keeps what a list leaves behind when its process dies.
	deadConsumerLife = time.Minute
)

// ErrNoDeadLetter says that there is no dead letter of this sequence (any more).
var ErrNoDeadLetter = errors.New("no such dead letter")

// ErrNotReplayable says that a dead letter is too large to be published again, or not all there.
// Only what others wrote into a stream is so.
var ErrNotReplayable = errors.New("the dead letter cannot be replayed")

// The header of a dead letter.
const (
	reasonHeader   = "Midwatch-Reason"
	sequenceHeader = "Midwatch-Sequence"
	offsetHeader   = "Midwatch-Offset"
	acceptedHeader = "Midwatch-Accepted-At"
	// lengthHeader is only there where the frame did not fit, and says how long it was.
	lengthHeader = "Midwatch-Length"
)

// DeadLetter is a frame that could not be stored. What its header does not say is zero.
type DeadLetter struct {
	// Seq names it among the dead letters; later ones have higher sequences.
	Seq uint64
	// At is when it was put aside.
	At     time.Time
	Signal Signal
	Reason string
	// AcceptedAt and OriginalSeq are the time and sequence of its message in the stream of its
	// signal, and Offset where it began there.
	AcceptedAt  time.Time
	OriginalSeq uint64
	Offset      int
	// Bytes is the length of the frame.
	Bytes int
	// Data is the frame, or its beginning where all of it did not fit; nil in lists.
	Data []byte
}

// Dead keeps a frame of a message that cannot be stored, with the reason, where an operator finds
// it. The same frame is kept once within the duplicate window.
//
// What does not fit into a message together with the header of a dead letter is cut. No frame of
// Publish is that long, unless the server allows less than MaxMessageBytes: it is for what others
// wrote into the stream, which would otherwise be refused for ever and stop its readers.
func (b *Bus) Dead(ctx context.Context, s Signal, m Message, f Frame, reason string) error {
	if err := b.room(len(f.Data)); err != nil {
		return fmt.Errorf("keep dead frame %d of message %d of %s: %w", f.Offset, m.Seq, s, err)
	}
	msg := nats.NewMsg(b.cfg.Prefix + "dead." + string(s))
	msg.Data = f.Data
	if len(reason) > maxReasonBytes {
		reason = strings.ToValidUTF8(reason[:maxReasonBytes], "")
	}
	msg.Header.Set(reasonHeader, reason)
	msg.Header.Set(sequenceHeader, strconv.FormatUint(m.Seq, 10))
	msg.Header.Set(offsetHeader, strconv.Itoa(f.Offset))
	msg.Header.Set(acceptedHeader, m.Time.UTC().Format(time.RFC3339Nano))
	if limit := max(int(b.nc.MaxPayload())-deadHeaderBytes, 0); len(f.Data) > limit {
		msg.Data = f.Data[:limit]
		msg.Header.Set(lengthHeader, strconv.Itoa(len(f.Data)))
	}
	id := fmt.Sprintf("%s-%d-%d-%d", s, m.Seq, f.Offset, m.Time.UnixNano())
	if _, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id)); err != nil {
		return fmt.Errorf("keep dead frame %d of message %d of %s: %w", f.Offset, m.Seq, s, err)
	}
	return nil
}

// DeadLetters returns the dead letters behind the sequence after, oldest first and without their
// data. limit is 1 to MaxDeadLetters.
func (b *Bus) DeadLetters(ctx context.Context, after uint64, limit int) (letters []DeadLetter, err error) {
	if after == math.MaxUint64 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	consumer, err := b.js.CreateConsumer(ctx, b.deadStream(), jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true, MemoryStorage: true,
		InactiveThreshold: deadConsumerLife,
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer func() {
		// Where this fails the server forgets the consumer by itself.
		_ = b.js.DeleteConsumer(context.WithoutCancel(ctx), b.deadStream(), consumer.CachedInfo().Name)
	}()
	limit = min(max(limit, 1), MaxDeadLetters)
	for pending := consumer.CachedInfo().NumPending; pending > 0 && len(letters) < limit; {
		batch, err := consumer.FetchNoWait(limit - len(letters))
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		got := false
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return nil, fmt.Errorf("list dead letters: %w", err)
			}
			got, pending = true, meta.NumPending
			letter := b.deadLetter(meta.Sequence.Stream, meta.Timestamp, msg.Subject(), msg.Headers())
			if letter.Bytes == 0 {
				letter.Bytes, _ = strconv.Atoi(msg.Headers().Get(nats.MsgSize))
			}
			letters = append(letters, letter)
		}
		if err := batch.Error(); err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		if got {
			continue
		}
		// Dropped meanwhile, or the server is slow: it knows which.
		info, err := consumer.Info(ctx)
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		pending = info.NumPending
	}
	return letters, nil
}

// DeadLetter returns one dead letter with its data, or ErrNoDeadLetter.
func (b *Bus) DeadLetter(ctx context.Context, seq uint64) (DeadLetter, error) {
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.deadStream())
	if err != nil {
		return DeadLetter{}, fmt.Errorf("find the dead letters: %w", err)
	}
	return b.getDead(ctx, stream, seq)
}

// Replay publishes the frame of a dead letter to the stream of its signal again, and removes the
// dead letter once that is durable. A replay that was cut short between the two and is repeated
// within the duplicate window is stored once. Errors are ErrNoDeadLetter, ErrNotReplayable and those
// of Publish; the dead letter then stays.
func (b *Bus) Replay(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.deadStream())
	if err != nil {
		return fmt.Errorf("find the dead letters: %w", err)
	}
	letter, err := b.getDead(ctx, stream, seq)
	if err != nil {
		return err
	}
	if _, known := b.groups[letter.Signal]; !known {
		return fmt.Errorf("replay dead letter %d: there is no signal %q", seq, letter.Signal)
	}
	if letter.Bytes > b.maxBytes || len(letter.Data) < letter.Bytes {
		return fmt.Errorf("replay dead letter %d: %w: %d bytes, of which %d are kept", seq, ErrNotReplayable, letter.Bytes, len(letter.Data))
	}
	// It gets a message of its own: what was refused once may be refused again, and would have to
	// be parted from its neighbours again.
	frame := &part{id: letter.id(), frame: letter.Data}
	if err := b.publishGroup(letter.Signal, []*part{frame}, len(letter.Data)); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", seq, err)
	}
	if err := b.removeDead(ctx, stream, seq); err != nil && !errors.Is(err, ErrNoDeadLetter) {
		return fmt.Errorf("dead letter %d is replayed and not removed: %w", seq, err)
	}
	return nil
}

// Drop removes a dead letter for good, or returns ErrNoDeadLetter.
func (b *Bus) Drop(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.deadStream())
	if err != nil {
		return fmt.Errorf("find the dead letters: %w", err)
	}
	return b.removeDead(ctx, stream, seq)
}

// id recognises the replay of a dead letter that is replayed again. It names the frame that could
// not be stored, so that one which was put aside twice is replayed once. Its project is none, since
// nothing here knows it; ids of project 0 are used for nothing else.
func (l DeadLetter) id() id {
	if l.AcceptedAt.IsZero() {
		return newID(0, fmt.Sprintf("replay-dead-%d-%d", l.Seq, l.At.UnixNano()))
	}
	return newID(0, fmt.Sprintf("replay-%s-%d-%d-%d", l.Signal, l.OriginalSeq, l.Offset, l.AcceptedAt.UnixNano()))
}

func (b *Bus) deadStream() string { return b.cfg.Prefix + "DEAD" }

func (b *Bus) getDead(ctx context.Context, stream jetstream.Stream, seq uint64) (DeadLetter, error) {
	if seq == 0 { // no sequence, and no question to the server
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", seq, ErrNoDeadLetter)
	}
	msg, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", seq, ErrNoDeadLetter)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	letter := b.deadLetter(msg.Sequence, msg.Time, msg.Subject, msg.Header)
	letter.Bytes, letter.Data = max(letter.Bytes, len(msg.Data)), msg.Data
	return letter, nil
}

func (b *Bus) removeDead(ctx context.Context, stream jetstream.Stream, seq uint64) error {
	if seq == 0 {
		return fmt.Errorf("drop dead letter %d: %w", seq, ErrNoDeadLetter)
	}
	err := stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The library does not say in a way for programs why: look whether there is anything to remove.
	if _, lookErr := b.getDead(ctx, stream, seq); errors.Is(lookErr, ErrNoDeadLetter) {
		return fmt.Errorf("drop dead letter %d: %w", seq, ErrNoDeadLetter)
	}
	return fmt.Errorf("drop dead letter %d: %w", seq, err)
}

// deadLetter reads what Dead wrote.
func (b *Bus) deadLetter(seq uint64, at time.Time, subject string, header nats.Header) DeadLetter {
	letter := DeadLetter{
		Seq: seq, At: at, Reason: header.Get(reasonHeader),
		Signal: Signal(strings.TrimPrefix(subject, b.cfg.Prefix+"dead.")),
	}
	// A header that cannot be read leaves zeros: the frame is shown all the same. Bytes stays zero
	// where the frame is whole, and is then the caller's to tell.
	letter.OriginalSeq, _ = strconv.ParseUint(header.Get(sequenceHeader), 10, 64)
	letter.Offset, _ = strconv.Atoi(header.Get(offsetHeader))
	letter.Bytes, _ = strconv.Atoi(header.Get(lengthHeader))
	letter.AcceptedAt, _ = time.Parse(time.RFC3339Nano, header.Get(acceptedHeader))
	return letter
}
