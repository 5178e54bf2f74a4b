package bus

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// groupQueue is how many frames of a signal wait to be published at most; more callers wait.
	groupQueue = 4096
	// groupLoops is how many messages of a signal are on their way at once: while one is synced
	// the next is filled, so that a group is as large as the disk is slow and nobody waits for a
	// timer.
	groupLoops = 2
	// groupParts bounds the frames of a message, and so its header.
	groupParts = 1024
	// publishTimeout bounds how long one message may take.
	publishTimeout = 10 * time.Second

	// partsHeader names the frames of a message: for each its id and its length.
	partsHeader = "Midwatch-Parts"
	// maxHeaderBytes is room for partsHeader with groupParts frames in base64.
	maxHeaderBytes = 64 << 10
)

// id recognises a frame that is published again; the zero id is none.
type id [16]byte

// newID makes an id from a project and what its publisher calls the frame. Projects are kept
// apart, so that none can make another's frame look like a repetition.
func newID(project uint32, name string) id {
	if name == "" {
		return id{}
	}
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, project))
	h.Write([]byte(name))
	return id(h.Sum(nil)[:len(id{})])
}

// part is one frame on its way. Whoever publishes it waits for done.
type part struct {
	id    id
	frame []byte
	done  chan error
}

// Publish stores a frame of one project. It returns nil only once the frame is durable. The name
// recognises a repetition within the duplicate window, which readers then leave out; an empty name
// never does. The frame must not be changed before Publish returns. Errors are ErrFull and
// ErrUnavailable, wrapped, or say that the frame is too large.
func (b *Bus) Publish(ctx context.Context, s Signal, project uint32, name string, frame []byte) error {
	if len(frame) > b.maxBytes {
		return fmt.Errorf("publish %s: a frame of %d bytes is over the limit of %d", s, len(frame), b.maxBytes)
	}
	p := &part{newID(project, name), frame, make(chan error, 1)}
	select {
	case b.groups[s] <- p:
	case <-ctx.Done():
		return fmt.Errorf("publish %s: %w: %w", s, ErrUnavailable, context.Cause(ctx))
	case <-b.life.Done():
		return fmt.Errorf("publish %s: %w: closed", s, ErrUnavailable)
	}
	// From here on the frame is in other hands: its owner waits for the end even when ctx ends,
	// which publishTimeout bounds.
	select {
	case err := <-p.done:
		return err
	case <-b.life.Done():
	}
	select {
	case err := <-p.done:
		return err
	default:
		return fmt.Errorf("publish %s: %w: closed", s, ErrUnavailable)
	}
}

// publishGroups takes what waits, as much as fits into one message, and publishes it.
func (b *Bus) publishGroups(s Signal, queue <-chan *part) {
	var next *part // did not fit into the message before
	for {
		group := make([]*part, 0, 8)
		size := 0
		if next == nil {
			select {
			case next = <-queue:
			case <-b.life.Done():
				return
			}
		}
		for next != nil && (len(group) == 0 || size+len(next.frame) <= b.targetBytes && len(group) < groupParts) {
			group = append(group, next)
			size += len(next.frame)
			select {
			case next = <-queue:
			default:
				next = nil
			}
		}
		err := b.publishGroup(s, group, size)
		for _, p := range group {
			p.done <- err
		}
	}
}

func (b *Bus) publishGroup(s Signal, group []*part, size int) error {
	if err := b.room(size); err != nil {
		return fmt.Errorf("publish %s: %w", s, err)
	}
	msg := nats.NewMsg(b.subject(s))
	names := make([]byte, 0, len(group)*(len(id{})+3))
	msg.Data = group[0].frame
	if len(group) > 1 {
		msg.Data = make([]byte, 0, size)
	}
	for _, p := range group {
		names = append(names, p.id[:]...)
		names = binary.AppendUvarint(names, uint64(len(p.frame)))
		if len(group) > 1 {
			msg.Data = append(msg.Data, p.frame...)
		}
	}
	msg.Header.Set(partsHeader, base64.RawStdEncoding.EncodeToString(names))
	ctx, cancel := context.WithTimeout(b.life, publishTimeout)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, msg)
	return publishError(s, err)
}

// span is one frame of a message: its id and how many bytes it takes.
type span struct {
	id     id
	length int
}

var errParts = errors.New("the header does not describe the message")

// appendSpans appends what the header says of the frames of a message of size bytes.
func appendSpans(out []span, header nats.Header, size int) ([]span, error) {
	names, err := base64.RawStdEncoding.DecodeString(header.Get(partsHeader))
	if err != nil {
		return out, fmt.Errorf("%w: %w", errParts, err)
	}
	for len(names) > 0 {
		if len(names) < len(id{}) {
			return out, errParts
		}
		one := span{id: id(names[:len(id{})])}
		length, n := binary.Uvarint(names[len(id{}):])
		if n <= 0 || length > uint64(size) {
			return out, errParts
		}
		one.length = int(length)
		size -= one.length
		names = names[len(id{})+n:]
		out = append(out, one)
	}
	if size != 0 {
		return out, errParts
	}
	return out, nil
}
