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
	// deadConsumerLife is how long the server keeps what a list leaves behind when its process dies.
	deadConsumerLife = time.Minute
)

// ErrNoDeadLetter says that there is no dead letter of this sequence (any more).
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadLetter is a message that could not be stored. What its header does not say is zero.
type DeadLetter struct {
	// Seq names it among the dead letters; later ones have higher sequences.
	Seq uint64
	// At is when it was put aside.
	At     time.Time
	Signal Signal
	Reason string
	// AcceptedAt and OriginalSeq are its time and sequence in the stream of its signal.
	AcceptedAt  time.Time
	OriginalSeq uint64
	// Bytes is the length of Data.
	Bytes int
	// Data is the frame; nil in lists.
	Data []byte
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
			letter.Bytes, _ = strconv.Atoi(msg.Headers().Get(nats.MsgSize))
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
// within the duplicate window is stored once. Errors are ErrNoDeadLetter and those of Publish; the
// dead letter then stays.
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
	if len(letter.Data) > b.maxBytes {
		return fmt.Errorf("replay dead letter %d: %d bytes are over the limit of %d", seq, len(letter.Data), b.maxBytes)
	}
	// It gets a message of its own: in a group, what was refused once could take its neighbours
	// with it, and nothing would part them afterwards.
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

// id recognises the replay of a dead letter that is replayed again. It names the message that could
// not be stored, so that one which was put aside twice is replayed once. Its project is none, since
// a message can hold frames of several; ids of project 0 are used for nothing else.
func (l DeadLetter) id() id {
	if l.AcceptedAt.IsZero() {
		return newID(0, fmt.Sprintf("replay-dead-%d-%d", l.Seq, l.At.UnixNano()))
	}
	return newID(0, fmt.Sprintf("replay-%s-%d-%d", l.Signal, l.OriginalSeq, l.AcceptedAt.UnixNano()))
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
	letter.Bytes, letter.Data = len(msg.Data), msg.Data
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
		Seq: seq, At: at, Reason: header.Get("Midwatch-Reason"),
		Signal: Signal(strings.TrimPrefix(subject, b.cfg.Prefix+"dead.")),
	}
	// A header that cannot be read leaves zeros: the message is shown all the same.
	letter.OriginalSeq, _ = strconv.ParseUint(header.Get("Midwatch-Sequence"), 10, 64)
	letter.AcceptedAt, _ = time.Parse(time.RFC3339Nano, header.Get("Midwatch-Accepted-At"))
	return letter
}
