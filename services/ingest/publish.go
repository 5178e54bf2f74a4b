package ingest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/series"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

// requestID names a request by what it says: 32 hex digits, equal for a client's repetition of
// the same bytes to the same route and project.
func requestID(project uint32, route string, body []byte) string {
	h := sha256.New()
	var head [8]byte
	binary.BigEndian.PutUint32(head[:4], project)
	binary.BigEndian.PutUint32(head[4:], uint32(len(route)))
	h.Write(head[:])
	h.Write([]byte(route))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// uniqueID names a request whose repetition cannot be told from a second request of the same
// words. It still lets one publication be repeated safely.
func uniqueID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// publishLogs stores the groups of one request, in as many messages as bus.TargetFrameBytes
// asks for. The same groups are always cut in the same places, so that with the same request id a
// repetition stores only what is missing. On an error some messages may be stored. Errors wrap
// errTooLarge where one record does not fit into a message; others are for Server.retryable.
func (s *Server) publishLogs(ctx context.Context, project catalog.Project, requestID string, groups []*telemetrypb.LogGroup) error {
	accepted := 0
	for _, g := range groups {
		accepted += len(g.Records)
	}
	p := s.packer(bus.Logs, project.Number, project.Retention.Logs, cutOf(requestID, accepted))
	for _, g := range groups {
		p.openGroup(func(b []byte) []byte { return appendLogGroup(b, g) })
		for _, r := range g.Records {
			p.item = appendLogRecord(p.item[:0], r)
			if err := p.add(ctx, fieldGroupRecords); err != nil {
				return err
			}
		}
	}
	return p.flush(ctx)
}

// cutOf names the way in which a request is cut into frames. What is too old to be accepted may have
// become more between a request and its repetition, which then is cut elsewhere: its frames must not
// be taken for those of the first try, or what lies between the cuts would be lost.
func cutOf(requestID string, accepted int) string { return requestID + "-" + strconv.Itoa(accepted) }

// publishMetrics is publishLogs for metrics, every series of which fits into a message.
func (s *Server) publishMetrics(ctx context.Context, project catalog.Project, requestID string, set *series.Set) error {
	p := frameBuffers.Get().(*[]byte)
	frames := set.Frames(project.Number, project.Retention.Metrics, s.bus.TargetFrameBytes())
	for n := 0; ; n++ {
		frame := frames.Next((*p)[:0], time.Now())
		if len(frame) == 0 {
			frameBuffers.Put(p)
			return nil
		}
		*p = frame
		if err := s.publish(ctx, bus.Metrics, project.Number, cutOf(requestID, set.Samples()), n, frame); err != nil {
			return err // the frame may still be on its way: its buffer is not used again
		}
	}
}

// frameBuffers are for frames of up to about bus.TargetMessageBytes.
var frameBuffers = sync.Pool{New: func() any { return new([]byte) }}

// publish stores frame n of a request.
func (s *Server) publish(ctx context.Context, signal bus.Signal, project uint32, requestID string, n int, frame []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.PublishTimeout, errors.New("the buffer did not store the message in time"))
	defer cancel()
	return s.bus.Publish(ctx, signal, project, requestID+"-"+strconv.Itoa(n), frame)
}

// publishErrors stores the events of one request. The events have their project and times
// already, and every string in them is valid UTF-8.
func (s *Server) publishErrors(ctx context.Context, project catalog.Project, requestID string, events []*telemetrypb.ErrorEvent) error {
	for _, e := range events {
		e.RetentionDays = uint32(project.Retention.Errors)
	}
	return publishEach(ctx, s.packer(bus.Errors, project.Number, 0, cutOf(requestID, len(events))), events)
}

// publishCheckins stores the check-ins of one request. They have their project and times already,
// and every string in them is valid UTF-8.
func (s *Server) publishCheckins(ctx context.Context, project catalog.Project, requestID string, checkins []*telemetrypb.Checkin) error {
	for _, c := range checkins {
		c.RetentionDays = uint32(project.Retention.Checkins)
	}
	return publishEach(ctx, s.packer(bus.Checkins, project.Number, 0, cutOf(requestID, len(checkins))), checkins)
}

func publishEach[M proto.Message](ctx context.Context, p *packer, messages []M) error {
	for _, m := range messages {
		var err error
		if p.item, err = (proto.MarshalOptions{}).MarshalAppend(p.item[:0], m); err != nil {
			return fmt.Errorf("encode one of the %s: %w", p.signal, err)
		}
		if err := p.add(ctx, fieldFrameItems); err != nil {
			return err
		}
	}
	return p.flush(ctx)
}

// packer writes frames of up to about bus.TargetFrameBytes. The frames of logs have two levels
// above the item, a batch and a group that shares what its items have in common; the others have
// the items directly.
type packer struct {
	server  *Server
	signal  bus.Signal
	project uint32
	days    int // for how long what a batch holds is kept
	id      string
	sent    int // messages so far

	items int // in the open frame
	frame []byte
	batch []byte // the encoded fields of the batch; of the frame, where there are no groups
	spare int    // how much shorter than the longest its head is
	head  []byte // what the items of the open group share
	group []byte // the encoded fields of the open group: head and items; empty while it has none
	item  []byte
}

func (s *Server) packer(signal bus.Signal, project uint32, days int, requestID string) *packer {
	p := &packer{server: s, signal: signal, project: project, days: days, id: requestID}
	p.begin(time.Now())
	return p
}

// grouped reports whether the frames have batches and groups.
func (p *packer) grouped() bool { return p.signal == bus.Logs }

// begin starts a frame.
func (p *packer) begin(now time.Time) {
	p.items = 0
	p.batch = p.batch[:0]
	if p.grouped() {
		p.batch = appendUint(p.batch, fieldBatchProject, uint64(p.project))
		p.batch = appendFixed(p.batch, fieldBatchReceived, uint64(now.UnixNano()))
		p.batch = appendUint(p.batch, fieldBatchRetention, uint64(p.days))
		p.spare = maxBatchHead - len(p.batch)
	}
}

// maxBatchHead is the length of the longest head of a batch.
const maxBatchHead = 6 + 9 + 6

// openGroup begins a group whose shared fields are written by head.
func (p *packer) openGroup(head func([]byte) []byte) {
	p.closeGroup()
	p.head = head(p.head[:0])
}

func (p *packer) closeGroup() {
	if len(p.group) > 0 {
		p.batch = appendBytes(p.batch, fieldBatchGroups, p.group)
		p.group = p.group[:0]
	}
}

// add puts p.item under a field of the open group, or of the frame where there are no groups. It
// sends what there is if the item would make the message larger than it should be.
func (p *packer) add(ctx context.Context, field protowire.Number) error {
	const overhead = 32 // tags and lengths
	if n, limit := len(p.head)+len(p.item)+2*overhead, p.server.bus.MaxFrameBytes(); n > limit {
		// No repetition of it would fit.
		return fmt.Errorf("%w: one of the %s has %d bytes, the limit is %d", errTooLarge, p.signal, n, limit)
	}
	if p.size()+len(p.item)+overhead > p.server.bus.TargetFrameBytes() {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	p.items++
	if !p.grouped() {
		p.batch = appendBytes(p.batch, field, p.item)
		return nil
	}
	if len(p.group) == 0 {
		p.group = append(p.group, p.head...)
	}
	p.group = appendBytes(p.group, field, p.item)
	return nil
}

// size is about that of the open frame. For how long its batch is kept is no part of it: that may
// change between a request and its repetition, which is to be cut in the same places.
func (p *packer) size() int {
	if len(p.group) == 0 {
		return p.spare + len(p.batch) + len(p.head)
	}
	return p.spare + len(p.batch) + len(p.group)
}

// flush sends what there is, if there is anything.
func (p *packer) flush(ctx context.Context) error {
	if p.items == 0 {
		return nil
	}
	p.closeGroup()
	frame := p.batch
	if p.grouped() {
		p.frame = appendBytes(p.frame[:0], fieldFrameItems, p.batch)
		frame = p.frame
	}
	if err := p.server.publish(ctx, p.signal, p.project, p.id, p.sent, frame); err != nil {
		return err
	}
	p.sent++
	p.begin(time.Now())
	return nil
}
